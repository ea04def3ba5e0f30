package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// sinkRunner runs one sink connector on a goroutine of its own: what is
// committed in its topic goes out (sink_write.go), then its offsets are
// committed in the group "<app>-sink-<name>", with the dead letters, in one
// transaction. A restart writes again what came after the last commit. Which
// partitions it has is told in sink_group.go.
type sinkRunner struct {
	e     *Engine
	cfg   Sink
	state connectorState
	info  logclient.TopicInfo

	reader   logclient.Reader
	writer   logclient.Writer
	resumed  bool                 // the reader stands where the positions are
	others   []logclient.Instance // of the group, this one among them
	departed departed
	told     chan struct{} // there is news

	limits  connectors.Limits
	retry   retrier
	polled  polled
	left    []connectors.Record                     // scratch of write: the records in its hands, and
	tries   []int                                   // how often each was tried
	aside   []asideRecord                           // to become dead letters at the commit
	next    logclient.Positions                     // written, to be committed
	due     time.Time                               // of the commit; zero if there is nothing to commit
	last    map[record.TopicPartition]record.Offset // where it ends, once it drains
	ended   chan struct{}
	gate    gate
	drained bool // everything was written that was there

	mu        sync.Mutex
	draining  bool
	stopping  bool
	interrupt context.CancelFunc
	committed map[record.TopicPartition]record.Offset // of those in owned, once they are known
	owned     []record.TopicPartition                 // in order
	tenure    *tenure                                 // replaced by the sink's goroutine only
	member    logclient.Member                        // likewise
	unfollow  func()                                  // likewise
	adopted   bool                                    // owned is of this membership
	news      *logclient.Assignment                   // not adopted yet
	refused   error                                   // by the group
}

func newSinkRunner(e *Engine, c Sink) *sinkRunner {
	s := &sinkRunner{
		e: e, cfg: c, info: e.connected[c.Topic], retry: retrier{policy: c.Retry},
		ended: make(chan struct{}), gate: newGate(), committed: map[record.TopicPartition]record.Offset{},
		told: make(chan struct{}, 1), tenure: newTenure(context.Background()),
	}
	s.state.init(c.Name, c.Topic)
	s.state.publish = func() {
		if h := e.cfg.Hooks.SinkState; h != nil {
			h(s.state.sink())
		}
	}
	return s
}

// drain makes the sink end once everything is written that its topic holds now.
func (s *sinkRunner) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.interrupt != nil {
		s.interrupt()
	}
}

// positions are the committed offsets.
func (s *sinkRunner) positions() map[record.TopicPartition]record.Offset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.committed)
}

// start runs the sink until it has ended.
func (s *sinkRunner) start(work context.Context) {
	s.mu.Lock()
	s.renew(work)
	s.mu.Unlock()
	leave := s.gate.enter()
	go func() { // awaited by its gate only: a connector may never return
		defer leave()
		if err := s.run(work); err != nil {
			s.e.fail(err)
		}
	}()
}

// run works until the sink has drained, is stopped, or work is done. Errors of the
// connector are tried again as its policy says; those of the log, which are no
// fault of the connector, from the last commit on for as long as it takes.
func (s *sinkRunner) run(work context.Context) (err error) {
	defer func() {
		if err != nil {
			s.state.end(err)
		} else {
			s.finished()
			close(s.ended) // a failure is not an end: who waits gets it from work
		}
	}()
	defer func() {
		if closed := s.gate.call("sink "+s.cfg.Name, s.cfg.Sink.Close); closed != nil {
			s.e.logger.Warn("close sink", "sink", s.cfg.Name, "err", closed)
		}
	}()
	defer s.leaveGroup()
	over := func() bool { return work.Err() != nil || s.isStopping() }
	if err := s.open(work); err != nil || over() {
		return err
	}
	log := retrier{policy: logRetry}
	for {
		err := s.once(work, &log)
		s.close()
		var mine *connectorError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &mine):
			return err
		case over():
			return nil
		case s.deleted(err):
			continue
		}
		if s.final(err) {
			return fmt.Errorf("sink %s: %w", s.cfg.Name, err)
		}
		wait, _ := log.failed(time.Now(), err)
		s.e.logger.Warn("sink goes back to its last commit", "sink", s.cfg.Name, "err", err)
		s.state.retrying(err, log.attempts, wait)
		if !pause(s.tenure.wait, wait) && over() {
			return nil
		}
	}
}

// final reports whether an error of the log ends the run. Where the group itself
// refuses the member, another process has its name; a member that the group has
// forgotten joins anew.
func (s *sinkRunner) final(err error) bool {
	_, refused := s.heard()
	if refused != nil {
		s.leaveGroup()
	}
	class := logclient.Classify(err)
	return class == logclient.ClassFatal || class == logclient.ClassFenced && (refused != nil || !s.e.fenced(err))
}

// connectorError is an error of a connector itself that ends the run.
type connectorError struct{ err error }

func (e *connectorError) Error() string { return e.err.Error() }
func (e *connectorError) Unwrap() error { return e.err }

// deleted reports whether retention has taken records away before the sink
// could write them; begin passes over them and says so.
func (s *sinkRunner) deleted(err error) bool {
	var gone *logclient.OffsetOutOfRangeError
	return errors.As(err, &gone) && gone.Offset < gone.Start
}

// open opens the connector, trying again as its policy says.
func (s *sinkRunner) open(work context.Context) error {
	sc := s.e.connectorContext(s.cfg.Name, s.info, s.e.logger.With("sink", s.cfg.Name))
	for {
		err := s.gate.call("sink "+s.cfg.Name, func() error { return s.cfg.Sink.Open(s.tenure.write, sc) })
		switch {
		case err == nil:
			s.retry.progressed()
			if l, ok := s.cfg.Sink.(connectors.Limiter); ok {
				s.limits = l.Limits()
			}
			return nil
		case s.tenure.wait.Err() != nil:
			return nil
		}
		if s.gate.call("sink "+s.cfg.Name, s.cfg.Sink.Close) == errLeft { // the next Open begins anew
			return errLeft
		}
		err = fmt.Errorf("open: %w", err)
		wait, again := s.retry.failed(time.Now(), err)
		if !again || !mayPass(err, false) {
			s.attempted(0, 0, 0, err)
			s.state.failedAttempt()
			return &connectorError{fmt.Errorf("sink %s: %w", s.cfg.Name, err)}
		}
		if !s.await(0, wait, err) {
			return nil
		}
	}
}

// await tells of a failed attempt and waits for the next one; false if the sink
// has to let go meanwhile.
func (s *sinkRunner) await(took, wait time.Duration, err error) bool {
	s.attempted(0, 0, took, err)
	s.lag()
	s.state.retrying(err, s.retry.attempts, wait)
	s.e.logger.Warn("sink failed, to be tried again", "sink", s.cfg.Name, "attempts", s.retry.attempts, "wait", wait.Round(time.Millisecond), "err", err)
	if !pause(s.tenure.wait, wait) {
		return false
	}
	s.state.tried()
	if h := s.e.cfg.Hooks.Retried; h != nil {
		h(s.cfg.Name)
	}
	return true
}

func (s *sinkRunner) attempted(records, bytes int64, took time.Duration, err error) {
	if h := s.e.cfg.Hooks.Sink; h != nil && (records > 0 || err != nil) {
		h(s.cfg.Name, records, bytes, took, err)
	}
}

func (s *sinkRunner) close() {
	if s.reader != nil {
		s.reader.Close()
	}
	if s.writer != nil {
		s.writer.Close()
	}
	s.reader, s.writer = nil, nil
}

// begin opens the sink's writer and reader and joins its group; adopt does the rest.
func (s *sinkRunner) begin(work context.Context) (err error) {
	s.forget()
	s.resumed = false
	if err := s.join(work); err != nil {
		return err
	}
	if s.writer, err = s.e.log.Writer(work, s.e.sinkID(s.cfg.Name), s.e.writerConfig(s.member.Generation)); err != nil {
		return err
	}
	s.reader, err = s.e.log.Reader(logclient.ReaderConfig{})
	return err
}

// from is where the sink goes on: at its committed offsets, or where the
// partitions begin now.
func (s *sinkRunner) from(work context.Context) (map[record.TopicPartition]record.Offset, error) {
	from := map[record.TopicPartition]record.Offset{}
	if len(s.owned) == 0 {
		return from, nil
	}
	committed, err := s.member.Committed(work, s.owned)
	if err != nil {
		return nil, err
	}
	starts, err := s.e.log.Offsets(work, s.owned, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return nil, err
	}
	for i, tp := range s.owned {
		from[tp] = starts[i].Offset
		p, ok := committed[tp]
		if !ok {
			continue
		}
		if gone := starts[i].Offset - p.Offset; gone > 0 {
			s.e.logger.Error("the topic's retention has deleted records that the sink had not written; raise retention.ms of the topic",
				"sink", s.cfg.Name, "topic", tp.Topic, "partition", tp.Partition, "records", gone)
			s.state.mu.Lock()
			s.state.skipped += int64(gone)
			s.state.mu.Unlock()
			continue
		}
		from[tp] = p.Offset
	}
	return from, nil
}

// once is the sink's life between two errors of the log. What the other system
// has acknowledged is committed also where it ends by work.
func (s *sinkRunner) once(work context.Context, log *retrier) (err error) {
	if err := s.begin(work); err != nil {
		return err
	}
	at, err := s.adopt(work)
	if err != nil || at == nil {
		return err
	}
	s.state.running()
	defer func() {
		var mine *connectorError
		if err == nil || work.Err() != nil || errors.As(err, &mine) {
			err = errors.Join(err, s.commit(work))
		}
	}()
	for {
		moved, err := s.adopt(work)
		switch {
		case err != nil || s.isStopping() || work.Err() != nil:
			return err
		case moved != nil:
			at = moved
		}
		ctx, cancel, draining := s.pollContext()
		if draining {
			done, err := s.reached(work, at)
			if done || err != nil {
				cancel()
				s.drained = err == nil
				return err
			}
		}
		batches, err := s.reader.Poll(ctx, pollBytes)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("read: %w", err)
		}
		if err := s.polled.take(batches, at, s.cfg.Name); err != nil {
			return err
		}
		if err := s.deliver(work); err != nil {
			return err
		}
		if !s.due.IsZero() && !time.Now().Before(s.due) {
			if err := s.commit(work); err != nil {
				return err
			}
		}
		log.progressed()
	}
}

func (s *sinkRunner) pollContext() (context.Context, context.CancelFunc, bool) {
	var ctx context.Context
	var cancel context.CancelFunc
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.due.IsZero() {
		ctx, cancel = context.WithCancel(s.tenure.wait)
	} else {
		ctx, cancel = context.WithDeadline(s.tenure.wait, s.due)
	}
	s.interrupt = cancel
	if s.draining {
		s.interrupt = nil
	}
	return ctx, cancel, s.draining
}

// reached reports whether everything is written that was committed by now, of all
// partitions: the group may not have dealt them out yet. On a cluster a commit is
// acknowledged before its markers are written, so there the topic must be read to
// where it ended at first.
func (s *sinkRunner) reached(work context.Context, at map[record.TopicPartition]record.Offset) (bool, error) {
	if len(s.owned) < int(s.info.Partitions) {
		return false, nil
	}
	if s.last == nil || !s.e.clustered() {
		last := logclient.AtStable
		if s.e.clustered() {
			last = logclient.AtEnd
		}
		ends, err := s.e.log.Offsets(work, s.owned, logclient.At{Kind: last})
		if err != nil {
			return false, err
		}
		s.last = map[record.TopicPartition]record.Offset{}
		for i, tp := range s.owned {
			s.last[tp] = ends[i].Offset
		}
	}
	for _, tp := range s.owned {
		if at[tp] < s.last[tp] {
			return false, nil
		}
	}
	return true, nil
}

// commit commits the offsets of what was written, with the dead letters. It does
// so also where ctx is done already: what is acknowledged shall not come again.
func (s *sinkRunner) commit(ctx context.Context) error {
	if s.due.IsZero() {
		return nil
	}
	return s.gate.pass(func() error { return s.commitNow(ctx) })
}

func (s *sinkRunner) commitNow(ctx context.Context) error {
	s.due = time.Time{} // whatever comes of it: begin starts anew after an error
	if ctx.Err() != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		ctx = last
	}
	err := s.commitOnce(ctx)
	// A generation that is over says nothing about the partitions: they are the
	// sink's until the group tells that they were lost, or until Done.
	again := retrier{policy: logRetry}
	for s.e.clustered() && logclient.Classify(err) == logclient.ClassRebalanced && !s.isLost() {
		wait, _ := again.failed(time.Now(), err)
		if !pause(s.tenure.write, wait) || s.isLost() {
			break
		}
		if aborted := s.writer.Abort(ctx); aborted != nil {
			return errors.Join(err, aborted)
		}
		err = s.commitOnce(ctx)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	for tp, p := range s.next {
		s.committed[tp] = p.Offset
	}
	s.mu.Unlock()
	if dead := int64(len(s.aside)); dead > 0 {
		s.state.deadLettered(dead)
		s.e.status.deadLettered(dead)
		if h := s.e.cfg.Hooks.DeadLettered; h != nil {
			h(s.cfg.Name, dead)
		}
	}
	clear(s.aside)
	s.next, s.aside = logclient.Positions{}, s.aside[:0]
	s.lag()
	s.state.publish()
	return nil
}

func (s *sinkRunner) commitOnce(ctx context.Context) error {
	for i := range s.aside {
		if err := putAside(s.writer, s.e.topo.Name, s.aside[i].record, s.aside[i].letter); err != nil {
			return fmt.Errorf("dead letter: %w", err)
		}
	}
	if _, err := s.writer.Commit(ctx, s.next, s.member.Generation()); err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	return nil
}

// lag measures how far the committed offsets are behind.
func (s *sinkRunner) lag() {
	if s.reader == nil {
		return
	}
	var lag int64
	s.mu.Lock()
	for _, tp := range s.owned {
		lag += max(0, int64(s.reader.End(tp)-s.committed[tp]))
	}
	s.mu.Unlock()
	s.state.mu.Lock()
	s.state.lag = lag
	s.state.mu.Unlock()
}
