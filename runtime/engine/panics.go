package engine

import (
	"errors"
	"sync"

	"github.com/millstream-io/millstream/runtime/internal/task"
)

// maxPanics is how often a record is processed again under OnPanic "retry".
const maxPanics = 10

// panics are the records at which functions of the program have panicked since
// the start. What they say counts for tasks that are built after it: a worker
// goes back to its last commit after each panic. It may be used from any goroutine.
type panics struct {
	mu   sync.Mutex
	seen map[coordinates]panicked
}

type coordinates struct {
	topic     string
	partition int32
	offset    int64
}

type panicked struct {
	reason string
	times  int
	aside  bool
	keep   bool
}

// takes reports whether the run goes on after an error of a worker: a panic at a
// record, and action says so. It notes what becomes of the record.
func (p *panics) takes(action string, err error) bool {
	var pe *task.PanicError
	if action == "stop" || !errors.As(err, &pe) || pe.Topic == "" {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[coordinates]panicked{}
	}
	at := coordinates{pe.Topic, pe.Partition, pe.Offset}
	s := p.seen[at]
	s.times++
	s.reason, s.aside, s.keep = pe.Error(), action != "retry", action == "dead-letter"
	p.seen[at] = s
	return action != "retry" || s.times <= maxPanics
}

// poisoned is task.Config.Poisoned: nil as long as nothing is put aside.
func (p *panics) poisoned() func(string, int32, int64) (string, bool, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seen {
		if s.aside {
			return p.at
		}
	}
	return nil
}

func (p *panics) at(topic string, partition int32, offset int64) (reason string, aside, keep bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seen[coordinates{topic, partition, offset}]
	return s.reason, s.aside, s.keep
}
