package engine_test

import (
	"context"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// takenForGone is a log on which another instance opens a transactional id whenever
// this one is about to commit under it, until it has done so often enough.
type takenForGone struct {
	logclient.Log
	id    logclient.TxnID
	times int
}

func (l *takenForGone) Writer(ctx context.Context, id logclient.TxnID, cfg logclient.WriterConfig) (logclient.Writer, error) {
	w, err := l.Log.Writer(ctx, id, cfg)
	if err != nil || id != l.id {
		return w, err
	}
	return &fencedWriter{w, l}, nil
}

type fencedWriter struct {
	logclient.Writer
	log *takenForGone
}

func (w *fencedWriter) Commit(ctx context.Context, in logclient.Positions, g logclient.Generation) (map[record.TopicPartition]logclient.OffsetEpoch, error) {
	if w.log.times > 0 {
		w.log.times--
		other, err := w.log.Log.Writer(ctx, w.log.id, logclient.WriterConfig{})
		if err != nil {
			return nil, err
		}
		defer other.Close()
	}
	return w.Writer.Commit(ctx, in, g)
}

// An instance that comes back while others are ending what its last life has left
// starts all the same: they know of it when it has joined the group.
func TestAnInstanceThatIsTakenForGoneWhileItStartsStarts(t *testing.T) {
	in := lines(500, 3)
	w := newWorld()
	b := w.backing()
	b.Instance = "one"
	log := &takenForGone{Log: w.log, id: "app-@one@start", times: 3}
	b.Log = log
	e, err := engine.NewOn(countProgram(t), config(in, 3, 2), b)
	if err != nil {
		t.Fatal(err)
	}
	if log.times != 0 {
		t.Fatalf("fenced %d times less than planned: nothing is tested", log.times)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, output(t, w.log, "out"), fold(in))
}
