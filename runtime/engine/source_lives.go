package engine

import (
	"context"
	"errors"
	"time"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// A source may begin and end several times in one run. Where several instances
// run the application, the group deals out the unit `sources`, and its owner runs
// the sources that keep a position; ephemeral ones run in every instance. One
// time from beginning to end is a life:
//
//	       start                 halt: last commit, Close
//	(none) -----> goroutine, run ------------------------> (none), and again
//	                     \______ end of input, or stop: ended for this run
//
// Two instances may both think for a moment that a source is theirs: one of them
// was silent past its session. Each opens the one transactional id of the source
// before it reads where to go on, so of two lives at once only the later can
// commit, and it goes on after all that the earlier has committed.

// fencedWait is how long a source that was fenced waits at least: by then the
// group has told an instance that is no longer a member, and the source stays with
// its new owner instead of being taken to and fro.
const fencedWait = time.Second

// startConnectors starts sinks, and the sources that were assigned before.
func (e *Engine) startConnectors(work context.Context) {
	for _, s := range e.sources {
		s.allow(work)
	}
	for _, s := range e.sinks {
		s.start(work)
	}
}

// sourcesAssigned starts the sources that shall run now, and stops those that
// shall not: owned says whether those that keep a position are this instance's.
// Those that it stops have made their last commit and are closed when it returns,
// unless work ends before. One goroutine calls it.
func (e *Engine) sourcesAssigned(work context.Context, owned bool) {
	for _, s := range e.sources {
		if !owned && !ephemeral(&s.cfg) {
			s.halt()
		}
	}
	limit, cancel := context.WithTimeout(work, stopTimeout)
	defer cancel()
	for _, s := range e.sources {
		if owned || ephemeral(&s.cfg) {
			s.want(work)
			continue
		}
		// Whoever is stuck may still read from the other side: it cannot be started
		// again here, and another process begins with it after its group session.
		if err := await(limit, work, s.gate.out()); err != nil && work.Err() == nil {
			e.fail(s.gate.leaveBehind(&s.state, "source "+s.cfg.Name, nothing))
			return
		}
	}
}

// stopSources ends the sources for this run; ended says when each has.
func (e *Engine) stopSources() {
	for _, s := range e.sources {
		s.stop()
	}
}

// want asks for a life: at once on a cluster, where tasks may be restored for long
// meanwhile; else once allow was called.
func (s *sourceRunner) want(work context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = true
	if s.e.clustered() {
		s.allowed = true
	}
	s.begin(work)
}

func (s *sourceRunner) allow(work context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = true
	s.begin(work)
}

// begin starts a life, if there shall be one and is none; the lock is held.
func (s *sourceRunner) begin(work context.Context) {
	if !s.wanted || !s.allowed || s.stopped || s.cancel != nil || isDone(s.ended) {
		return
	}
	ctx, cancel := context.WithCancel(work)
	s.cancel, s.finished = cancel, false
	leave := s.gate.enter()
	go func() { // awaited by its gate only: a connector may never return
		defer leave()
		err := s.run(ctx)
		s.over(ctx, err)
		if err != nil {
			s.e.fail(err)
		}
	}()
}

// halt asks the life under way to end: another instance goes on.
func (s *sourceRunner) halt() {
	s.mu.Lock()
	s.wanted = false
	idle := s.cancel == nil && !isDone(s.ended)
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Unlock()
	if idle {
		s.state.elsewhere()
	}
}

// stop is halt for the rest of the run.
func (s *sourceRunner) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.cancel != nil {
		s.cancel()
		return
	}
	s.close()
}

// over is the end of a life.
func (s *sourceRunner) over(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	halted := ctx.Err() != nil && !s.wanted && !s.stopped && !s.finished
	s.cancel()
	s.cancel = nil
	switch {
	case err != nil:
		s.state.end(err) // a failure is not an end: who waits gets it from work
	case halted:
		s.state.elsewhere()
	default:
		s.state.end(nil)
		s.close()
	}
}

// close says that nothing follows from the source in this run; the lock is held.
func (s *sourceRunner) close() {
	if !isDone(s.ended) {
		close(s.ended)
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// fenced reports whether a source or sink goes on after it was fenced: on a cluster
// that says only that somebody else has opened its transactional id, because the
// source is theirs now, or because this instance seemed gone. The group knows.
func (e *Engine) fenced(err error) bool {
	return e.clustered() && errors.Is(err, logclient.ErrFenced)
}

// outlasting is ctx, but it ends only some time after ctx: for what is brought to
// its end before everything ends.
func outlasting(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return lasting, func() { stop(); cancel() }
}
