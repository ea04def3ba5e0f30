package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
)

func TestNewWithoutATopologyIsAnError(t *testing.T) {
	_, err := engine.New(nil, engine.Config{Log: "embedded:" + t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "the topology is nil") {
		t.Errorf("New: %v", err)
	}
	if _, err = engine.NewOn(nil, engine.Config{}, newWorld().backing()); err == nil || !strings.Contains(err.Error(), "the topology is nil") {
		t.Errorf("NewOn: %v", err)
	}
}

// A Write that speaks of records it did not have is not tried again: nobody
// knows what it acknowledged, and the next attempt would say the same.
func TestAnErrorOfASinkThatContradictsItselfEndsTheRun(t *testing.T) {
	no := errors.New("no")
	for _, wrong := range []error{
		&connectors.RecordError{Index: 3, Err: no}, &connectors.RecordError{Index: -1, Err: no},
		&connectors.PartialError{Done: 3, Err: no}, &connectors.PartialError{Done: -1, Err: no},
		&connectors.WriteError{Again: []int{7}, Err: no},
	} {
		writes := 0
		s := &scripted{write: func(context.Context, []connectors.Record) error { writes++; return wrong }, limits: connectors.Limits{MaxRecords: 3}}
		sinkRun(t, 3, engine.Sink{Sink: s}, engine.Hooks{}, func(_ context.Context, w *world, _ *engine.Engine, end func() error) {
			advance(time.Minute)
			var mistake *engine.ConnectorMistakeError
			err := end()
			if !errors.As(err, &mistake) || !errors.Is(err, no) || !strings.HasPrefix(err.Error(), "sink sink: in-0 offset 0: a mistake in the connector: ") {
				t.Errorf("%#v: %v, expected the run to end with a *ConnectorMistakeError that names the sink", wrong, err)
			}
			if at := committed(w.log); at != 0 || writes != 1 {
				t.Errorf("%#v: offsets to %d are committed after %d writes, expected 0 after 1", wrong, at, writes)
			}
		})
	}
}

// Times that no calendar can say do not reach the log's times, nor a task.
func TestASourcesRecordsOfImpossibleTimesBecomeDeadLetters(t *testing.T) {
	const first, last = int64(-62135596800000), int64(253402300799999)
	at := func(value string, ms int64) connectors.Out {
		o := out(value, 0)
		o.Timestamp = ms
		return o
	}
	own := at("own reason", last+1)
	own.DeadLetter = "no line"
	w := newWorld()
	cfg := engine.Config{Bounded: true, Sinks: []engine.Sink{{Name: "sink", Topic: "in", Sink: &seen{}}}, Sources: []engine.Source{given(
		at("first", first), at("early", first-1), at("now", record.NoTimestamp), at("last", last), at("late", last+1), own, at("end", 1<<63-1))}}
	began := time.Now().UnixMilli()
	run(t, w, passing(t, "else"), cfg)
	var values []string
	for _, r := range w.log.Records(record.TopicPartition{Topic: "in"}) {
		values = append(values, string(r.Value))
	}
	if got := strings.Join(values, " "); got != "first now last" {
		t.Errorf("the topic has %q, expected those of the years 1 to 9999", got)
	}
	want := map[string]string{"early": "-62135596800001 ms", "late": "253402300800000 ms", "own reason": "no line", "end": "9223372036854775807 ms"}
	letters := deadLetters(t, w.log, engine.DeadLetterFilter{})
	for _, l := range letters {
		if reason := want[string(l.Value)]; reason == "" || !strings.Contains(l.Reason, reason) || l.Kind != "source" {
			t.Errorf("%s: dead letter of a %s because of %q, expected %q", l.Value, l.Kind, l.Reason, reason)
		}
		if l.Timestamp.UnixMilli() < began {
			t.Errorf("%s: the dead letter's own time is %v, expected now", l.Value, l.Timestamp)
		}
	}
	if len(letters) != len(want) {
		t.Errorf("%d dead letters, expected %d", len(letters), len(want))
	}
}

// For an embedded log the directory is the log: nobody shall remove it because
// of a message that sounds as if it held only what can be made again.
func TestARefusedProgramIsToldWhatRemovingTheDirectoryTakes(t *testing.T) {
	err := &engine.ChangedError{App: "app", Changes: []string{"a was 1, is 2"}}
	if text := err.Error(); !strings.Contains(text, "removing the directory deletes the log in it") {
		t.Error(text)
	}
}
