package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
)

// picky is a sink that fails at first, and never takes one of the records.
type picky struct {
	mu      sync.Mutex
	fail    int // so many Writes fail
	refuses string
	got     map[string]int
}

func (p *picky) Open(context.Context, connectors.SourceContext) error { return nil }
func (p *picky) Close() error                                         { return nil }

func (p *picky) Write(_ context.Context, records []connectors.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail > 0 {
		p.fail--
		return errors.New("not yet")
	}
	for i, r := range records {
		if string(r.Key) == p.refuses {
			return &connectors.RecordError{Index: i, Err: errors.New("never")}
		}
		p.got[string(r.Key)]++
	}
	return nil
}

func TestASinkGetsEveryResultAndPutsAsideWhatItRefuses(t *testing.T) {
	in := lines(1000, 6)
	want := fold(in)
	p := &picky{fail: 2, got: map[string]int{}}
	for k := range want {
		p.refuses = max(p.refuses, k)
	}
	w := newWorld()
	cfg := config(in, 3, 2)
	cfg.Sinks = []engine.Sink{{Name: "out", Topic: "out", Sink: p}}
	e := run(t, w, countProgram(t), cfg)
	for k := range want {
		if n := p.got[k]; (n != 1) != (k == p.refuses) {
			t.Errorf("%s was written %d times", k, n)
		}
	}
	dead := w.log.Records(record.TopicPartition{Topic: "app.dead-letters"})
	if len(dead) != 1 || string(dead[0].Key) != p.refuses || string(dead[0].Headers[0].Value) != "never" {
		t.Errorf("dead letters %v, want the one that was refused, with the reason", dead)
	}
	if s := e.State(); s.Sinks[0].Records != int64(len(want)-1) || s.Totals.DeadLettered != 1 {
		t.Errorf("%+v", s.Sinks)
	}
	// A restart has nothing to write again.
	w.log = w.log.Reopen()
	again := &picky{got: map[string]int{}}
	cfg = config(in, 3, 2)
	cfg.Sinks = []engine.Sink{{Name: "out", Topic: "out", Sink: again}}
	run(t, w, countProgram(t), cfg)
	if len(again.got) != 0 {
		t.Errorf("%d records were written again after a graceful end", len(again.got))
	}
}
