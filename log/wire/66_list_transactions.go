package wire

import (
	"context"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// ListTransactions: versions 0 to 2 (KIP-664). v1 filters by how long a transaction
// is open (KIP-994), v2 by a regular expression (RE2) for the id.

func handleListTransactions(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ListTransactionsRequest)
	resp := r.response().(*kmsg.ListTransactionsResponse)
	var pattern *regexp.Regexp
	if p := req.TransactionalIDPattern; p != nil && *p != "" {
		var err error
		if pattern, err = regexp.Compile("^(?:" + *p + ")$"); err != nil {
			resp.ErrorCode = codeInvalidRegularExpression
			return resp, nil
		}
	}
	known := broker.TransactionStates()
	for _, name := range req.StateFilters {
		if !slices.Contains(known, name) {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, name)
		}
	}
	duration := int64(-1)
	if req.Version >= 1 {
		duration = req.DurationFilterMillis
	}
	for _, t := range s.b.Transactions() {
		switch {
		case len(req.StateFilters) > 0 && !slices.Contains(req.StateFilters, t.State),
			len(req.ProducerIDFilters) > 0 && !slices.Contains(req.ProducerIDFilters, int64(t.Producer.ID)),
			duration >= 0 && r.arrived.UnixMilli()-t.StartMS <= duration,
			pattern != nil && !pattern.MatchString(t.TransactionalID),
			!r.may(acl.OpDescribe, acl.TypeTransactionalID, t.TransactionalID):
			continue
		}
		resp.TransactionStates = append(resp.TransactionStates, kmsg.ListTransactionsResponseTransactionState{
			TransactionalID: t.TransactionalID, ProducerID: int64(t.Producer.ID), TransactionState: t.State,
		})
	}
	return resp, nil
}
