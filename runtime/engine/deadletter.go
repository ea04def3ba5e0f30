package engine

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// maxReason bounds the reason that a dead letter carries, in bytes; a record
// whose value does not fit into the log keeps its first keptBytes.
const (
	maxReason = 2 << 10
	keptBytes = 64 << 10
)

// letter is a record on its way to the dead letters.
type letter struct {
	stage, kind string
	reason      string
	topic       string           // where it stood, or was to go
	partition   record.Partition // -1: nowhere yet
	offset      record.Offset    // of the record; only with a partition
	attempts    int
}

// view makes the dead letter of a record. Headers of an earlier life as a dead
// letter go: each has those of its own once.
func (l *letter) view(app string, v record.View) *record.View {
	hs := make([]record.Header, 0, 8+len(v.Headers))
	add := func(key, value string) { hs = append(hs, record.Header{Key: key, Value: []byte(value)}) }
	add(connectors.HeaderReason, shortened(l.reason))
	add(connectors.HeaderStage, l.stage)
	add(connectors.HeaderKind, l.kind)
	add(connectors.HeaderApp, app)
	add(connectors.HeaderTopic, l.topic)
	if l.partition >= 0 {
		add(connectors.HeaderPartition, strconv.FormatInt(int64(l.partition), 10))
		add(connectors.HeaderOffset, strconv.FormatInt(int64(l.offset), 10))
	}
	add(connectors.HeaderTimestamp, strconv.FormatInt(time.Now().UnixMilli(), 10))
	add(connectors.HeaderAttempts, strconv.Itoa(max(l.attempts, 1)))
	for _, h := range v.Headers {
		if !ownHeader(h.Key) {
			hs = append(hs, h)
		}
	}
	v.Headers = hs
	return &v
}

// ownHeader reports whether a header belongs to dead letters and their retry.
func ownHeader(key string) bool {
	switch key {
	case connectors.HeaderReason, connectors.HeaderStage, connectors.HeaderKind, connectors.HeaderApp, connectors.HeaderTopic, connectors.HeaderPartition,
		connectors.HeaderOffset, connectors.HeaderTimestamp, connectors.HeaderAttempts, connectors.HeaderTruncated, connectors.HeaderRetryFor:
		return true
	}
	return false
}

func shortened(reason string) string {
	if len(reason) > maxReason {
		reason = reason[:maxReason] + "..."
	}
	return strings.ToValidUTF8(reason, "?")
}

// putAside appends a dead letter to the open transaction. One that is too large
// for the log, with the headers that it got, loses the end of its value, and
// says so; where it stood in a topic, the whole of it is still there.
func putAside(w logclient.Writer, app string, v record.View, l letter) error {
	tp := record.TopicPartition{Topic: plan.DeadLettersTopic(app)}
	full := l.view(app, v)
	err := w.Append(tp, full)
	var large *logclient.RecordTooLargeError
	if !errors.As(err, &large) {
		return err
	}
	size := strconv.Itoa(len(v.Value))
	v.Value = v.Value[:min(len(v.Value), keptBytes)]
	v.Key = v.Key[:min(len(v.Key), keptBytes)]
	v.Headers = nil
	cut := l.view(app, v)
	cut.Headers = append(cut.Headers, record.Header{Key: connectors.HeaderTruncated, Value: []byte(size)})
	return w.Append(tp, cut)
}

// Kinds of stages, and the stage of records that do not decode.
const (
	kindSource  = "source"
	kindSink    = "sink"
	decodeStage = "decode"
)
