package kafka

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// What went wrong with a leader is told as it is; only one that was given up because
// others lead says so.
func TestAnErrorOfALeaderIsNotTakenForAnotherLeader(t *testing.T) {
	l := served(t)
	if _, err := l.Ensure(t.Context(), []logclient.TopicSpec{{Name: "in", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	opened, err := l.Writer(t.Context(), "w", logclient.WriterConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	w := opened.(*writer)
	if err := w.Append(record.TopicPartition{Topic: "in"}, &record.View{Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	parcels := w.pack(w.dirty)
	w.dirty, w.buffered = nil, 0 // as send does
	f := &flight{w: w, ident: w.ident, parcels: parcels, done: make(chan struct{})}
	const nobody = 99
	if err := f.send(t.Context(), nobody, parcels); err == nil || errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("a broker that is not there: %v", err)
	}
}
