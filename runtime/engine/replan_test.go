package engine_test

import (
	"context"
	"testing"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// lateTopic is a log on which somebody else makes a topic between the look at what
// is there and the making of what is missing.
type lateTopic struct {
	logclient.Log
	spec *logclient.TopicSpec
}

func (l *lateTopic) Ensure(ctx context.Context, specs []logclient.TopicSpec) ([]logclient.TopicInfo, error) {
	if s := l.spec; s != nil {
		l.spec = nil
		if _, err := l.Log.Ensure(ctx, []logclient.TopicSpec{*s}); err != nil {
			return nil, err
		}
	}
	return l.Log.Ensure(ctx, specs)
}

// A topic of the user that comes into being while a program starts has the
// number of partitions that it has.
func TestATopicMadeByAnotherDuringTheStartIsTakenAsItIs(t *testing.T) {
	in := lines(500, 3)
	w := newWorld()
	b := w.backing()
	b.Log = &lateTopic{Log: w.log, spec: &logclient.TopicSpec{Name: "out", Partitions: 7}}
	e, err := engine.NewOn(countProgram(t), config(in, 3, 2), b)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	infos, err := w.log.Describe(t.Context(), []string{"out", "lines"})
	if err != nil || infos[0].Partitions != 7 || infos[1].Partitions != 3 {
		t.Fatalf("%+v, %v: want the 7 partitions that out has, and 3 of lines", infos, err)
	}
	same(t, output(t, w.log, "out"), fold(in))
}
