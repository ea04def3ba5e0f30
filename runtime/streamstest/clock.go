package streamstest

import "time"

// Now is the hand clock.
func (d *Driver) Now() time.Time { return d.now }

// Advance moves the clock on, and lets the program do what becomes due on the
// way, at its time: what is there is processed and committed, time goes on over
// idle inputs (IdleAfter), and checkpoints are written every CheckpointInterval.
func (d *Driver) Advance(by time.Duration) {
	d.t.Helper()
	d.mustBeUp("Advance")
	if by < 0 {
		d.fatal("Advance: %v is negative: clocks do not go back", by)
	}
	target := d.now.Add(by)
	if err := d.advance(target); err != nil {
		d.fatal("Advance to %s: %v", target.Format(time.RFC3339Nano), err)
	}
}

func (d *Driver) advance(target time.Time) error {
	for {
		if err := d.tick(); err != nil {
			return err
		}
		if !d.now.Before(target) {
			return nil
		}
		d.now = d.due(target)
	}
}

// tick does everything that is due now.
func (d *Driver) tick() error {
	for _, w := range d.workers {
		for _, t := range w.tasks {
			if _, err := d.guard(true, t.Tick(d.now)); err != nil {
				return err
			}
		}
	}
	if err := d.Try(); err != nil {
		return err
	}
	if !d.now.Before(d.nextCheckpoint) {
		return d.checkpoint()
	}
	return nil
}

// due is the next moment up to target at which there may be something to do.
func (d *Driver) due(target time.Time) time.Time {
	next := target
	sooner := func(in time.Duration) {
		if t := d.now.Add(max(in, time.Millisecond)); t.Before(next) {
			next = t
		}
	}
	sooner(d.nextCheckpoint.Sub(d.now))
	for _, w := range d.workers {
		for _, t := range w.tasks {
			if wait := t.NextTick(d.now); wait > 0 {
				sooner(wait)
			}
			if left, ok := t.Waiting(d.now); ok && left > 0 {
				sooner(left)
			}
		}
	}
	return next
}
