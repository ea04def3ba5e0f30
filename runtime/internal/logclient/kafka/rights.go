package kafka

import (
	"context"
	"errors"
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// attempt is what a request was for, so that a refusal can be told as the right that
// is missing: op is that on the topic; on the group it is Read, on the transactional
// id Write.
type attempt struct{ op, topic, group, id string }

// denied makes an error of an access control list say what it takes; other errors
// stay as they are.
func (l *Log) denied(err error, a attempt) error {
	if err == nil {
		return nil
	}
	var told *logclient.RightsError
	var missing logclient.Right
	switch {
	case errors.As(err, &told):
		return err
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		missing = logclient.Right{Operation: a.op, Resource: "topic", Name: a.topic}
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		missing = logclient.Right{Operation: "Read", Resource: "group", Name: a.group}
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		missing = logclient.Right{Operation: "Write", Resource: "transactional-id", Name: a.id}
		if app, _, is := strings.Cut(a.id, "@"); is { // of several ids of one application (engine/ids.go): ask for all at once
			missing.Name, missing.Prefixed = app, true
		}
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		missing = logclient.Right{Operation: "IdempotentWrite", Resource: "cluster"}
	default:
		return err
	}
	return l.lacks(err, missing)
}

func (l *Log) lacks(err error, missing ...logclient.Right) *logclient.RightsError {
	logclient.SortRights(missing)
	return &logclient.RightsError{User: l.principal(), Servers: strings.Join(l.cfg.Seeds, ","), Missing: missing, Err: err}
}

// principal is who the brokers take this client for, as far as it knows.
func (l *Log) principal() string {
	switch {
	case l.cfg.User != "":
		return "User:" + l.cfg.User
	case l.cfg.TLS != nil:
		return "User:NAME" // of the certificate, by the brokers' rules
	}
	return "User:ANONYMOUS"
}

// The bits of authorized operations (KIP-430).
const (
	mayRead   = 1 << 3
	mayWrite  = 1 << 4
	mayDelete = 1 << 6
)

// CheckRights implements logclient.RightsChecker.
func (l *Log) CheckRights(ctx context.Context, uses []logclient.TopicUse) error {
	if err := l.enter(ctx); err != nil || len(uses) == 0 {
		return err
	}
	var missing []logclient.Right
	err := again(ctx, func() error {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation, req.IncludeTopicAuthorizedOperations = false, true
		wants := map[string]logclient.TopicUse{}
		for _, u := range uses {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(u.Topic)
			req.Topics = append(req.Topics, t)
			wants[u.Topic] = u
		}
		resp, err := req.RequestWith(ctx, l.cl)
		if err != nil {
			return err
		}
		missing = missing[:0]
		for _, t := range resp.Topics {
			if t.Topic != nil {
				missing = append(missing, lacking(wants[*t.Topic], kerr.ErrorForCode(t.ErrorCode), t.AuthorizedOperations)...)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return l.failed(ctx, "ask for the rights on topics", err)
	case len(missing) > 0:
		return l.lacks(nil, missing...)
	}
	return nil
}

// lacking are the rights that an answer does not have. Who may not even know of a
// topic (Describe, which Read and Write imply) has none of them.
func lacking(u logclient.TopicUse, err error, may int32) (missing []logclient.Right) {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		may = 0
	case err != nil || may == math.MinInt32: // not there yet, or the broker does not tell
		return nil
	}
	for _, w := range []struct {
		wanted bool
		bit    int32
		op     string
	}{{u.Read, mayRead, "Read"}, {u.Write, mayWrite, "Write"}, {u.Delete, mayDelete, "Delete"}} {
		if w.wanted && may&w.bit == 0 {
			missing = append(missing, logclient.Right{Operation: w.op, Resource: "topic", Name: u.Topic})
		}
	}
	if len(missing) == 0 && err != nil {
		missing = append(missing, logclient.Right{Operation: "Describe", Resource: "topic", Name: u.Topic})
	}
	return missing
}
