package task

import (
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/streams/processor"
)

// How a task with several inputs merges them.
//
// What is merged are sequences: each external partition is one, and behind a
// repartition topic each upstream task is one, a lane (lane.go), because how
// these are interleaved in the partition depends on when they committed. Always
// the sequence goes on whose next record has the least time; among equals that
// of a table, then in the order of the operators that read, then of the upstream
// tasks. The time is the record's, and in a lane the stream time that it
// carries: it was read there at that time.
//
// Invariant: of the sequences without a next record, none can still bring one
// that would go first, or it has been waited for: in a bounded run until it has
// one or has ended, else as waitFor and waitForLane say. So a bounded run's order
// depends on the input alone. A lane cannot bring one where its task's watermark
// has passed the candidate's time.

// pick is where the next record comes from; in is nil if there is none.
type pick struct {
	in   *input
	lane *lane // of a repartition input
	at   int64 // the record's time in the merge
	rank int   // of its input
	sub  int   // the lane's number
}

// before reports whether a record of time at, in a sequence, would go before p.
func (p *pick) before(at int64, rank, sub int) bool {
	switch {
	case p.in == nil || at != p.at:
		return p.in == nil || at < p.at
	case rank != p.rank:
		return rank < p.rank
	}
	return sub < p.sub
}

// workMerged takes records in the order of the merge, as long as nothing must be
// waited for.
func (t *Task) workMerged(now time.Time, ends Ends, maxBytes int64) (n int64, err error) {
	defer t.settle()
	for {
		if n&63 == 63 && t.full(maxBytes) {
			return n, nil
		}
		p, err := t.choose(now, ends)
		if p.in == nil || err != nil {
			return n, err
		}
		if p.lane != nil {
			err = t.oneOfLane(p.in, p.lane, now)
		} else {
			err = t.one(p.in, now)
		}
		if err != nil {
			return n, err
		}
		n++
	}
}

// choose picks the next record, or a watermark, which has no place in the order:
// it is taken once everything that its task sent before it is.
func (t *Task) choose(now time.Time, ends Ends) (pick, error) {
	for {
		best, missing := pick{}, false
		for rank, in := range t.inputs {
			if in.lanes != nil {
				if err := t.refill(in); err != nil {
					return pick{}, err
				}
				if mark := in.bestLane(&best, rank); mark.in != nil {
					return mark, nil
				}
				continue
			}
			if err := t.fill(in); err != nil {
				return pick{}, t.readError(in, err)
			}
			if !in.hasHead {
				missing = t.waitFor(in, now, ends) || missing
				continue
			}
			in.emptySince = time.Time{}
			if best.before(in.headAt, rank, 0) {
				best = pick{in: in, at: in.headAt, rank: rank}
			}
		}
		if !missing {
			dealt, wait, err := t.fillLanes(&best, now)
			if err != nil {
				return pick{}, err
			}
			if dealt {
				continue // another record may go first now
			}
			missing = wait
		}
		t.waiting = best.in != nil && missing
		if t.waiting {
			return pick{}, nil
		}
		return best, nil
	}
}

// fillLanes deals out more of a repartition input if a lane without a record
// could bring the one that goes first. wait reports that there is no more, and
// that there may be later.
func (t *Task) fillLanes(best *pick, now time.Time) (dealt, wait bool, err error) {
	for rank, in := range t.inputs {
		for j := range in.lanes {
			l := &in.lanes[j]
			if l.has() || !best.before(in.upstream[j].Time, rank, j) {
				continue
			}
			if dealt, err := t.deal(in); dealt || err != nil {
				return dealt, false, err
			}
			wait = t.waitForLane(in, l, now) || wait
		}
	}
	return false, wait, nil
}

func (t *Task) readError(in *input, err error) error {
	return fmt.Errorf("task %v: read %s-%d: %w", t.cfg.ID, in.tp.Topic, in.tp.Partition, err)
}

// fill makes an external input's head the next record, and finds its event time.
func (t *Task) fill(in *input) error {
	if in.hasHead {
		return nil
	}
	if err := in.fill(); err != nil || !in.hasHead {
		return err
	}
	in.headAt = in.head.Timestamp
	if in.timed < 0 {
		return nil
	}
	r := processor.Record{Key: in.head.Key, Value: in.head.Value, Timestamp: in.head.Timestamp,
		Topic: in.tp.Topic, Partition: int32(in.tp.Partition), Offset: int64(in.head.Offset)}
	if ms, err := t.unit.EventTime(in.timed, &r); err == nil && inRange(ms) {
		in.headAt = ms // one that does not decode is dealt with when its turn comes
	}
	return nil
}

// waitFor reports whether an external input without data holds the others up: in
// a bounded run until it has ended; else while the log has more of it, and for
// MaxTaskIdle from when it was first found empty.
func (t *Task) waitFor(in *input, now time.Time, ends Ends) bool {
	if t.cfg.Bounded {
		return !in.ended()
	}
	if in.emptySince.IsZero() {
		in.emptySince = now
	}
	return now.Sub(in.emptySince) < t.cfg.MaxTaskIdle || (ends != nil && in.next < ends(in.tp))
}

// waitForLane is waitFor of a lane; what more the log has of the partition may be
// of other lanes, so that a live run waits MaxTaskIdle for it at most.
func (t *Task) waitForLane(in *input, l *lane, now time.Time) bool {
	if t.cfg.Bounded {
		return in.end == record.NoOffset || in.read < in.end
	}
	if l.emptySince.IsZero() {
		l.emptySince = now
	}
	return now.Sub(l.emptySince) < t.cfg.MaxTaskIdle
}

// Waiting reports whether an input without data holds the others up, and for
// how much longer at most; 0 if until data comes.
func (t *Task) Waiting(now time.Time) (left time.Duration, ok bool) {
	if !t.waiting || t.cfg.Bounded {
		return 0, t.waiting
	}
	for _, in := range t.inputs {
		for j := range in.lanes {
			left = max(left, t.patience(in.lanes[j].emptySince, now))
		}
		if !in.hasHead {
			left = max(left, t.patience(in.emptySince, now))
		}
	}
	return left, true
}

// patience is how much longer is waited for what is missing since then.
func (t *Task) patience(since, now time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return t.cfg.MaxTaskIdle - now.Sub(since)
}

func isWatermark(hs []record.Header) bool {
	for i := range hs {
		if hs[i].Key == headerWatermark {
			return true
		}
	}
	return false
}
