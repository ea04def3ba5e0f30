package streamstest

import (
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/processor"
)

// DeadLetter is a record that could not be used, or that came too late where
// the operator keeps those.
type DeadLetter struct {
	Reason    string
	Stage     string // the connector or operator; "decode"
	Topic     string // where the record stood; empty if a commit or a closing window made it
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Time      time.Time
	Headers   []processor.Header // all of them
}

// DeadLetters are all committed dead letters, oldest first.
func (w *world) DeadLetters() (letters []DeadLetter) {
	w.t.Helper()
	topic := plan.DeadLettersTopic(w.topo.Name)
	for p := range w.Partitions(topic) {
		_, err := w.read(record.TopicPartition{Topic: topic, Partition: record.Partition(p)}, 0, func(v *record.View) error {
			letters = append(letters, deadLetter(v))
			return nil
		})
		if err != nil {
			w.fatal("read %s: %v", topic, err)
		}
	}
	return letters
}

func deadLetter(v *record.View) DeadLetter {
	l := DeadLetter{Key: clone(v.Key), Value: clone(v.Value), Time: at(v.Timestamp)}
	number := func(b []byte) int64 {
		n, _ := strconv.ParseInt(string(b), 10, 64)
		return n
	}
	for _, h := range v.Headers {
		l.Headers = append(l.Headers, processor.Header{Key: strings.Clone(h.Key), Value: clone(h.Value)})
		switch h.Key {
		case connectors.HeaderReason:
			l.Reason = string(h.Value)
		case connectors.HeaderStage:
			l.Stage = string(h.Value)
		case connectors.HeaderTopic:
			l.Topic = string(h.Value)
		case connectors.HeaderPartition:
			l.Partition = int32(number(h.Value))
		case connectors.HeaderOffset:
			l.Offset = number(h.Value)
		}
	}
	return l
}

// clone copies bytes; null stays null.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
