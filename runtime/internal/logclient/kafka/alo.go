package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// staged is how a writer without transactions commits (at least once): an
// idempotent producer whose records are visible at once, so what a crash leaves
// must be such that going back to the last position record loses nothing.
//
//	results ──acknowledged──▶ changelogs ──acknowledged──▶ group offsets ──▶ position records
//	             ▲                 ▲                              ▲
//	   sent as they come    the group still             refused for whoever
//	                        knows the member            is no member any more
//
// A result is written before the state that no longer has to give it; the
// position comes last, so whatever it passes over has been done.
type staged struct {
	w          *writer
	of         func(topic string) logclient.Stage
	generation func() logclient.Generation
	full       []*parcel // batches of position records that were full before Commit
}

func newStaged(w *writer, cfg logclient.WriterConfig) *staged {
	s := &staged{w: w, of: cfg.Stage, generation: cfg.Generation}
	if s.of == nil {
		s.of = func(string) logclient.Stage { return logclient.StageOutput }
	}
	return s
}

// txnID is the transactional id in requests; nil for a writer without transactions.
func (w *writer) txnID() *string {
	if w.staged != nil {
		return nil
	}
	return kmsg.StringPtr(w.id)
}

// send lets results fly, and state too where much of it waits. Position records wait
// for Commit.
func (s *staged) send() error {
	if err := s.fly(s.w.ctx, logclient.StageOutput); err != nil {
		return err
	}
	if s.w.buffered < maxBuffered && !s.large(logclient.StageState) {
		return nil
	}
	return s.writeState(s.w.ctx, s.current())
}

// large reports whether a batch of a stage is as large as batches become.
func (s *staged) large(stage logclient.Stage) bool {
	for _, out := range s.w.dirty {
		if out.topic.stage == stage && out.builder.Size() >= flushBytes {
			return true
		}
	}
	return false
}

// fly sends the batches of a stage, after the flight before has landed.
func (s *staged) fly(ctx context.Context, stage logclient.Stage) error {
	w := s.w
	var now []*output
	left := w.dirty[:0]
	for _, out := range w.dirty {
		if out.topic.stage == stage {
			now = append(now, out)
		} else {
			left = append(left, out)
		}
	}
	w.dirty = left
	if len(now) == 0 {
		return nil
	}
	for _, out := range now {
		w.buffered -= out.builder.Size()
	}
	if err := w.land(ctx); err != nil {
		for _, out := range now {
			w.keep(out.builder)
			out.builder = nil
		}
		w.failed = err
		return err
	}
	return w.launch(w.pack(now))
}

// writeState has the results acknowledged, then lets the changelogs fly.
func (s *staged) writeState(ctx context.Context, g logclient.Generation) error {
	if err := s.await(ctx); err != nil {
		return err
	}
	if g.Group != "" && s.has(logclient.StageState) {
		if err := s.awaitMember(ctx, g); err != nil {
			return err
		}
	}
	return s.fly(ctx, logclient.StageState)
}

func (s *staged) has(stage logclient.Stage) bool {
	for _, out := range s.w.dirty {
		if out.topic.stage == stage {
			return true
		}
	}
	return false
}

func (s *staged) current() logclient.Generation {
	if s.generation == nil {
		return logclient.Generation{}
	}
	return s.generation()
}

// awaitMember has the group confirm that what this writer's tasks run was nobody
// else's since g. It rides over a rebalance: a task that goes elsewhere has written
// its state before the group hears so (Member.Done), and all others are still here.
func (s *staged) awaitMember(ctx context.Context, g logclient.Generation) error {
	err := s.w.log.ride(ctx, nil, g, func(g logclient.Generation) error {
		// One that was paused for longer than its session writes no state: newer state
		// of its successor would be covered by it.
		return again(ctx, func() error { return s.w.log.checkMember(ctx, s.w.cl, g) })
	})
	what := "write state as a member of group " + g.Group
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.FencedInstanceID): // as in commitPositions
		s.w.failed = as(logclient.ErrRebalanced, what, err)
		return s.w.failed
	}
	return s.w.failIn(ctx, what, s.w.log.denied(err, attempt{group: g.Group}))
}

// await waits until all that was sent is acknowledged.
func (s *staged) await(ctx context.Context) error {
	if err := s.w.land(ctx); err != nil {
		s.w.failed = err
		return err
	}
	return nil
}

// park puts a full batch of position records aside.
func (s *staged) park(out *output) error {
	w := s.w
	for i, d := range w.dirty {
		if d == out {
			w.dirty = append(w.dirty[:i], w.dirty[i+1:]...)
			break
		}
	}
	w.buffered -= out.builder.Size()
	s.full = append(s.full, w.pack([]*output{out})...)
	return w.failed
}

// commit is Commit of a writer that is neither closed nor failed.
func (s *staged) commit(ctx context.Context, in logclient.Positions, g logclient.Generation) error {
	w := s.w
	if err := s.fly(ctx, logclient.StageOutput); err != nil {
		return err
	}
	if g.Group == "" {
		g = s.current()
	}
	if err := s.writeState(ctx, g); err != nil {
		return err
	}
	if err := s.await(ctx); err != nil {
		return err
	}
	if len(in) > 0 {
		if err := w.commitPositions(ctx, in, g); err != nil {
			return err
		}
	}
	err := s.writePositions(ctx)
	if logclient.Classify(err) == logclient.ClassFatal {
		return err
	}
	if err != nil {
		// The record may be there or not, and may still come.
		w.failed = as(logclient.ErrUnknownOutcome, "write the position records of "+w.id, err)
		w.dead = w.failed
		return w.failed
	}
	return nil
}

func (s *staged) writePositions(ctx context.Context) error {
	for _, p := range s.full {
		if err := s.w.launch([]*parcel{p}); err != nil {
			return err
		}
		if err := s.w.land(ctx); err != nil {
			return err
		}
	}
	s.full = s.full[:0]
	if err := s.fly(ctx, logclient.StagePosition); err != nil {
		return err
	}
	return s.w.land(ctx)
}

// offsetCommit is the group's ordinary one.
func (s *staged) offsetCommit(ctx context.Context, in logclient.Positions, g logclient.Generation) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = g.Group, g.ID, g.Member
	if s.w.log.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(s.w.log.cfg.InstanceID)
	}
	var tps []record.TopicPartition
	for tp := range in {
		tps = append(tps, tp)
	}
	names, parts := byTopic(tps)
	for _, name := range names {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = name
		if known, err := s.w.log.topics.get(ctx, name); err == nil {
			t.TopicID = known.id
		}
		for _, p := range parts[name] {
			at := in[record.TopicPartition{Topic: name, Partition: record.Partition(p)}]
			tp := kmsg.NewOffsetCommitRequestTopicPartition()
			tp.Partition, tp.Offset, tp.LeaderEpoch, tp.Metadata = p, int64(at.Offset), int32(at.Epoch), kmsg.StringPtr(at.Metadata)
			t.Partitions = append(t.Partitions, tp)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, s.w.cl)
	if err != nil {
		return err
	}
	var failed error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				name := s.w.log.topics.name(t.Topic, t.TopicID)
				failed = worse(failed, fmt.Errorf("%s-%d: %w", name, p.Partition, s.w.log.denied(err, attempt{op: "Read", topic: name, group: g.Group})))
			}
		}
	}
	return failed
}

// abort forgets what was not sent. After a failure nobody knows which batches have
// arrived: a new producer id begins its sequences anew.
func (s *staged) abort(ctx context.Context) error {
	w := s.w
	if w.failed != nil || len(s.full) > 0 { // what was parked has its sequence numbers
		s.full = s.full[:0]
		if err := w.initialize(ctx, nil, 0); err != nil {
			w.failed = err
			return err
		}
		w.topics, w.last = map[string]*topicOutputs{}, nil // topics may have been made anew
		w.written = nil
	}
	w.nextTransaction()
	w.failed = nil
	return nil
}

// blamed is an error of a producer id without transactions: nobody else has it, so
// the brokers have forgotten or never seen what it says it has written; a new id
// begins anew.
func (s *staged) blamed(err error) error {
	for _, code := range []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping, kerr.UnknownProducerID} {
		if errors.Is(err, code) {
			return as(logclient.ErrUnavailable, "write with the producer id of "+s.w.id, err)
		}
	}
	return nil
}
