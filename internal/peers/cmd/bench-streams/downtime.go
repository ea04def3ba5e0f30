package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// sessionTimeout of both sides; heartbeats come three times as often.
	sessionTimeout = 6 * time.Second
	// A group is at rest when nothing stood still for longer than restGap in the
	// last restTime.
	restTime, restGap = 4 * time.Second, 1200 * time.Millisecond
	// downtimePatience bounds the wait for rest.
	downtimePatience = 3 * time.Minute
)

// downtimeFigures are what the faults give: times of the partition that was worst.
var downtimeFigures = []figure{
	{Name: "downtime, kill -9 of one of two, whole", Unit: "s"},
	{Name: "downtime, kill -9 of one of two, after the session's end", Unit: "s", Goal: "0.5 or less"},
	{Name: "downtime, planned restart of one of two", Unit: "s", Goal: "0.5 or less"},
	{Name: "downtime, planned restart of the only one", Unit: "s", Goal: "0.5 or less"},
}

// downtime measures how long results stay out around faults: lines come to all
// partitions at a steady rate, and a consumer of committed results looks when
// there is one of each partition.
func (b *bench) downtime(ctx context.Context) error {
	samples := map[bool][]map[string]float64{}
	for round := range b.rounds {
		for _, s := range b.sides() {
			fmt.Fprintf(os.Stderr, "downtime, round %d: %s\n", round+1, s.name)
			got, err := b.downtimeOnce(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if b.verbose {
				fmt.Fprintln(os.Stderr, got)
			}
			samples[s.isStreams] = append(samples[s.isStreams], got)
		}
	}
	b.add(downtimeFigures, samples[true], samples[false])
	return nil
}

// pair is an application in two instances under a steady load.
type pair struct {
	b         *bench
	instances [2]*app
	perApp    int // members of the group that an instance has
	watch     *watch
}

func (b *bench) downtimeOnce(ctx context.Context, s side) (_ map[string]float64, err error) {
	in := fmt.Sprintf("lines-%d", b.apps)
	if err := b.client.create(ctx, in); err != nil {
		return nil, err
	}
	first, err := b.newApp(ctx, s, in)
	if err != nil {
		return nil, err
	}
	p := &pair{b: b, perApp: 1}
	if s.isStreams {
		p.perApp = b.threads // each thread is a member
	}
	for i := range p.instances {
		a := *first
		a.StateDir, a.log, a.Session = fmt.Sprintf("%s-%d", a.StateDir, i), fmt.Sprintf("%s-%d", a.log, i), sessionTimeout
		if b.static {
			a.Instance = fmt.Sprintf("instance-%d", i)
		}
		a.Restarts = b.restarts
		p.instances[i] = &a
	}
	f, err := startFeed(ctx, first.Broker, in)
	if err != nil {
		return nil, err
	}
	if p.watch, err = startWatch(ctx, first.Broker, first.Out); err != nil {
		return nil, err
	}
	got, err := p.faults(ctx)
	want, ferr := f.stop()
	if err = errors.Join(err, ferr); err == nil {
		err = p.finish(ctx, in)
	}
	err = errors.Join(err, p.watch.stop())
	for _, a := range p.instances {
		if a.program != nil {
			if err != nil {
				err = fmt.Errorf("%w; the end of the log of an instance:\n%s", err, a.program.LogTail(3000))
			}
			a.program.Kill()
		}
	}
	if err != nil {
		return nil, err
	}
	return got, b.client.verify(ctx, first.Out, want)
}

// faults brings them about, one after the other.
func (p *pair) faults(ctx context.Context) (map[string]float64, error) {
	got := map[string]float64{}
	one, other := p.instances[0], p.instances[1]
	if err := errors.Join(p.start(one), p.start(other), p.rest(ctx, 2)); err != nil {
		return nil, fmt.Errorf("before the first fault: %w", err)
	}

	before := time.Now()
	one.program.Kill()
	ended, err := p.sessionEnd(ctx)
	if err == nil {
		err = p.rest(ctx, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("after the kill: %w", err)
	}
	got[downtimeFigures[0].Name] = p.watch.longestGap(before).Seconds()
	got[downtimeFigures[1].Name] = p.watch.firstAfter(ended).Seconds()

	if err := errors.Join(p.start(one), p.rest(ctx, 2)); err != nil {
		return nil, fmt.Errorf("when the killed one is back: %w", err)
	}
	before = time.Now()
	one.program.Stop()
	if err := errors.Join(p.start(one), p.rest(ctx, 2)); err != nil {
		return nil, fmt.Errorf("after the restart of one of two: %w", err)
	}
	got[downtimeFigures[2].Name] = p.watch.longestGap(before).Seconds()

	other.program.Stop()
	if err := p.rest(ctx, 1); err != nil {
		return nil, fmt.Errorf("alone: %w", err)
	}
	before = time.Now()
	one.program.Stop()
	if err := errors.Join(p.start(one), p.rest(ctx, 1)); err != nil {
		return nil, fmt.Errorf("after the restart of the only one: %w", err)
	}
	got[downtimeFigures[3].Name] = p.watch.longestGap(before).Seconds()
	return got, nil
}

func (p *pair) start(a *app) error {
	_, err := a.start(p.b.jars)
	return err
}

// rest waits until so many instances share the work, and results come of all
// partitions without a stop.
func (p *pair) rest(ctx context.Context, instances int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, downtimePatience, fmt.Errorf("no rest: %d instances, results of all partitions", instances))
	defer cancel()
	var since time.Time // when the group had become stable
	return each(ctx, func() (bool, error) {
		members, stable, err := p.members(ctx)
		if err != nil {
			return false, err
		}
		if !stable || members != instances*p.perApp {
			since = time.Time{}
			return false, nil
		}
		if since.IsZero() {
			since = time.Now()
		}
		from := time.Now().Add(-restTime)
		return since.Before(from) && p.watch.longestGap(from) < restGap, nil
	})
}

// sessionEnd waits until the group has noticed that a member is gone.
func (p *pair) sessionEnd(ctx context.Context) (at time.Time, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, downtimePatience, errors.New("the group does not notice that a member is gone"))
	defer cancel()
	err = each(ctx, func() (bool, error) {
		members, stable, err := p.members(ctx)
		at = time.Now()
		return err == nil && (!stable || members != 2*p.perApp), err
	})
	return at, err
}

// members counts the group's members.
func (p *pair) members(ctx context.Context) (n int, stable bool, err error) {
	name := p.instances[0].Name
	groups, err := p.b.client.admin.DescribeGroups(ctx, name)
	if err != nil || groups[name].Err != nil {
		if err = errors.Join(err, groups[name].Err); passing(err) {
			err = nil
		}
		return 0, false, err
	}
	return len(groups[name].Members), groups[name].State == "Stable", nil
}

// finish waits until all of the input is committed.
func (p *pair) finish(ctx context.Context, in string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, downtimePatience, errors.New("the rest of the input is not processed"))
	defer cancel()
	ends, err := p.b.client.ends(ctx, in)
	if err != nil {
		return err
	}
	return p.b.untilCommitted(ctx, p.instances[0], ends)
}

// each asks again and again until there is an answer.
func each(ctx context.Context, ask func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ask()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// passing errors are of a broker that is making a group or its topic.
func passing(err error) bool {
	return kerr.IsRetriable(err) || errors.Is(err, kerr.GroupIDNotFound)
}
