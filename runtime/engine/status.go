package engine

import (
	"sync"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// status is what an engine tells of itself. Its methods may be called from any
// goroutine; they never call out.
type status struct {
	mu     sync.Mutex
	phase  Phase
	err    error
	totals Totals
	change chan struct{} // closed at the next change of a task
}

func (s *status) init() {
	s.phase = PhaseNew
	s.change = make(chan struct{})
}

// changed is closed once some task's status has changed since the call.
func (s *status) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change
}

func (s *status) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.change)
	s.change = make(chan struct{})
}

func (s *status) setPhase(p Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = p
}

func (s *status) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.err = PhaseStopped, err
	if err != nil {
		s.phase = PhaseFailed
	}
}

func (s *status) count(f func(t *Totals)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.totals)
}

func (s *status) committed()    { s.count(func(t *Totals) { t.Commits++ }) }
func (s *status) aborted()      { s.count(func(t *Totals) { t.Aborts++ }) }
func (s *status) checkpointed() { s.count(func(t *Totals) { t.Checkpoints++ }) }
func (s *status) rebuilt()      { s.count(func(t *Totals) { t.Rebuilt++ }) }
func (s *status) restored(n, bytes int64) {
	s.count(func(t *Totals) { t.Restored, t.RestoredBytes = t.Restored+n, t.RestoredBytes+bytes })
}
func (s *status) stoodBy(n, bytes int64) {
	s.count(func(t *Totals) { t.StandbyRecords, t.StandbyBytes = t.StandbyRecords+n, t.StandbyBytes+bytes })
}
func (s *status) deadLettered(n int64) { s.count(func(t *Totals) { t.DeadLettered += n }) }

func (s *status) taskCommitted(p *plan.Plan, c task.Counts, inputs []task.Processed) {
	s.count(func(t *Totals) {
		for _, in := range inputs {
			t.RecordsIn += in.Records
		}
		for topic, v := range c.Out {
			if kindOf(p, topic) == plan.External {
				t.RecordsOut += v.Records
			}
		}
		for _, n := range c.Late {
			t.Late += n
		}
		for _, n := range c.Dropped {
			t.Dropped += n
		}
		t.DeadLettered += c.DeadLettered
		t.ChangelogRecords += c.Changelog
	})
}

func kindOf(p *plan.Plan, topic string) plan.TopicKind {
	for i := range p.Topics {
		if p.Topics[i].Name == topic {
			return p.Topics[i].Kind
		}
	}
	return plan.External
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// State is a snapshot for people and for HTTP.
func (e *Engine) State() Snapshot {
	s := &e.status
	s.mu.Lock()
	out := Snapshot{
		Name: e.topo.Name, Phase: s.phase, Error: text(s.err), Workers: len(e.workers), Totals: s.totals,
	}
	s.mu.Unlock()
	for _, src := range e.sources {
		out.Sources = append(out.Sources, src.state.source())
	}
	for _, snk := range e.sinks {
		out.Sinks = append(out.Sinks, snk.state.sink())
	}
	for _, w := range e.workers {
		out.Tasks = append(out.Tasks, e.taskSnapshots(w)...)
	}
	out.Tasks = append(out.Tasks, e.replays.snapshots()...)
	out.Standbys = e.standbys.snapshots()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		out.Totals.StateBytes = e.db.SizeBytes()
	}
	return out
}

func (e *Engine) taskSnapshots(w *worker) (out []TaskSnapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range w.ids {
		st := w.statuses[id]
		ts := TaskSnapshot{ID: id.String(), Phase: TaskRunning, Worker: w.n, StreamTimeMS: st.streamTime, Checkpoint: st.checkpoint, Positions: []Position{}}
		for _, p := range st.processed {
			ts.Positions = append(ts.Positions, Position{
				Topic: p.Partition.Topic, Partition: int32(p.Partition.Partition), Offset: int64(p.Next), Lag: st.lag[p.Partition],
			})
		}
		e.mu.Lock()
		r, ok := e.readers[id]
		e.mu.Unlock()
		if ok {
			for i, store := range e.plan.Subs[id.Sub].Stores {
				entries, bytes := r.Sizes(i)
				ts.Stores = append(ts.Stores, StoreSnapshot{Name: store.Spec.Called(), OverlayEntries: entries, OverlayBytes: bytes})
			}
		}
		out = append(out, ts)
	}
	return out
}
