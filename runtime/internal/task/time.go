package task

import (
	"time"

	"github.com/millstream-io/millstream/streams/processor"
)

// How stream time moves.
//
// One external input: each record raises it (work.go, the fast path). Several
// inputs, or watermarks: it is computed anew from all inputs whenever one of
// them moves. Idle inputs: Tick, with the wall clock. End of a bounded run: End.

// inputTime is the minimum over the inputs that hold time back; ok is false if
// none of them does.
func (t *Task) inputTime(now time.Time) (ms int64, ok bool) {
	ms = processor.MaxTime
	for _, in := range t.inputs {
		if at, holds := in.streamTime(now, t.cfg.IdleAfter); holds {
			ms, ok = min(ms, at), true
		}
	}
	return ms, ok
}

// observe raises stream time to what the inputs say.
func (t *Task) observe(now time.Time) error {
	ms, ok := t.inputTime(now)
	t.allIdle = !ok
	if !ok || ms <= t.streamTime || ms == processor.MaxTime {
		return nil
	}
	return t.advance(ms)
}

// advance raises stream time and lets the unit close windows.
func (t *Task) advance(ms int64) error {
	t.streamTime = ms
	if ms < t.unit.NextTime() {
		return nil
	}
	t.dirty, t.advancing = true, true
	if err := t.unit.Advance(ms); err != nil {
		return err
	}
	t.advancing = false
	return t.err
}

// idleQuantum is how far an idle task's time moves between two watermark
// records that are written for nothing else: a second, and where nothing has come
// for long, a 64th of that time, a minute at most. So what waits behind a
// repartition topic waits hardly longer, and a program that is idle for a year
// does not write all the while.
func (t *Task) idleQuantum() int64 {
	short := min(max(t.cfg.IdleAfter.Milliseconds()/4, 100), 1000)
	if t.streamTime == processor.NoTime || t.maxEvent == processor.NoTime {
		return short
	}
	return max(short, min((t.streamTime-t.maxEvent)/64, time.Minute.Milliseconds()))
}

// Tick lets time go on over idle inputs. The worker calls it between batches,
// at least once a commit interval while IdleAfter is set.
func (t *Task) Tick(now time.Time) (err error) {
	if t.cfg.IdleAfter <= 0 || t.unit == nil {
		return nil
	}
	defer t.recover(&err)
	t.rec = processor.Record{}
	ms, ok := t.inputTime(now)
	t.allIdle = !ok
	switch {
	case !ok:
		// No input ever had a record: downstream need not wait for this task.
		if t.streamTime == processor.NoTime && !t.sentOnce && !t.sentIdle && t.writesRepartition() {
			t.dirty = true
		}
		return nil
	case ms <= t.streamTime || ms == processor.MaxTime:
		return nil
	}
	closes := ms >= t.unit.NextTime()
	if closes || t.keeps(ms) || (t.writesRepartition() && (!t.sentOnce || ms-t.sent >= t.idleQuantum())) {
		t.dirty = true
		t.decision, t.decided = IdleDecision, ms
	}
	return t.fail(t.advance(ms))
}

// idleKept is how far idle time may come without being recorded, while a window
// or timer waits for it: a restart loses at most that. Without it a program that
// is started anew more often than its windows are long would never close them.
const idleKept = time.Minute

// keeps reports whether idle time that has come to ms is to be recorded.
func (t *Task) keeps(ms int64) bool {
	return t.streamTime != processor.NoTime && t.unit.NextTime() != processor.MaxTime && ms-t.recorded >= idleKept.Milliseconds()
}

// NextTick is how long after now Tick may have something to do; 0: never, until
// a record comes.
func (t *Task) NextTick(now time.Time) time.Duration {
	if t.cfg.IdleAfter <= 0 {
		return 0
	}
	wait := time.Duration(0)
	for _, in := range t.inputs {
		if in.repartition {
			continue
		}
		left := t.cfg.IdleAfter - now.Sub(in.lastAt)
		if left <= 0 {
			left = t.afterIdle()
		}
		if left > 0 && (wait == 0 || left < wait) {
			wait = left
		}
	}
	return wait
}

// afterIdle is how long an idle task sleeps: until its next window closes, or
// until the next watermark is due.
func (t *Task) afterIdle() time.Duration {
	if t.streamTime == processor.NoTime {
		return 0 // nothing moves before a record
	}
	next, tells := t.unit.NextTime(), t.writesRepartition()
	if next == processor.MaxTime && !tells {
		return 0
	}
	wait := idleKept
	if next != processor.MaxTime {
		wait = min(wait, time.Duration(max(next-t.streamTime, 1))*time.Millisecond)
	}
	if tells {
		wait = min(wait, time.Duration(t.idleQuantum())*time.Millisecond)
	}
	return wait
}

// End is the end of a bounded run's input: stream time rises to ms.
func (t *Task) End(ms int64) (err error) {
	defer t.recover(&err)
	t.rec = processor.Record{}
	if ms <= t.streamTime || ms == processor.NoTime {
		return nil
	}
	t.dirty = true
	t.decision, t.decided = EndDecision, ms
	return t.fail(t.advance(ms))
}

func (t *Task) writesRepartition() bool {
	for i := range t.sub.Outputs {
		if t.sub.Outputs[i].Repartition {
			return true
		}
	}
	return false
}
