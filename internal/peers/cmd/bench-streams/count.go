package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/internal/sysloglines"
)

const inputTopic = "syslog"

// countPatience bounds one run of the count.
const countPatience = 10 * time.Minute

// countFigures are what a run of the count gives, in the table's order.
var countFigures = []figure{
	{Name: "count, rate", Unit: "records/s", Goal: "5 or more"},
	{Name: "count, rate with the process's start", Unit: "records/s"},
	{Name: "count, application's CPU", Unit: "s", Goal: "0.2 or less"},
	{Name: "count, application's peak RSS", Unit: "MB", Goal: "0.25 or less"},
	{Name: "count, broker's CPU", Unit: "s"},
}

// count measures the windowed count of all the input.
func (b *bench) count(ctx context.Context) error {
	in := &sysloglines.Input{Records: b.records, Hosts: 1000, Seed: 42}
	fmt.Fprintf(os.Stderr, "writing %d records\n", in.Records)
	if err := b.client.preload(ctx, inputTopic, b.compression, in); err != nil {
		return err
	}
	want := in.Fold(1)
	samples := map[bool][]map[string]float64{}
	for round := range b.rounds {
		for _, s := range b.sides() {
			fmt.Fprintf(os.Stderr, "count, round %d: %s\n", round+1, s.name)
			got, err := b.countOnce(ctx, s, want)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if b.verbose {
				fmt.Fprintln(os.Stderr, got)
			}
			samples[s.isStreams] = append(samples[s.isStreams], got)
		}
	}
	b.add(countFigures, samples[true], samples[false])
	return nil
}

// countOnce runs one side over the input and compares its results with the fold.
func (b *bench) countOnce(ctx context.Context, s side, want map[sysloglines.Window]int64) (map[string]float64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, countPatience, errors.New("the count has not come to its end"))
	defer cancel()
	a, err := b.newApp(ctx, s, inputTopic)
	if err != nil {
		return nil, err
	}
	a.Profile = b.profile
	ends, err := b.client.ends(ctx, inputTopic)
	if err != nil {
		return nil, err
	}
	brokerBefore, err := peers.CPUSeconds(b.kafka.PID())
	if err != nil {
		return nil, err
	}
	launched := time.Now()
	began, err := a.start(b.jars)
	if err != nil {
		return nil, err
	}
	defer a.program.Kill()
	if err := b.untilCommitted(ctx, a, ends); err != nil {
		return nil, fmt.Errorf("%w; the end of its log:\n%s", err, a.program.LogTail(4000))
	}
	end := time.Now()
	cpu, err1 := peers.CPUSeconds(a.program.PID())
	peak, err2 := peers.PeakResidentMB(a.program.PID())
	brokerAfter, err3 := peers.CPUSeconds(b.kafka.PID())
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	a.program.Stop()
	return map[string]float64{
		"count, rate":                          float64(b.records) / end.Sub(began).Seconds(),
		"count, rate with the process's start": float64(b.records) / end.Sub(launched).Seconds(),
		"count, application's CPU":             cpu,
		"count, application's peak RSS":        peak,
		"count, broker's CPU":                  brokerAfter - brokerBefore,
	}, b.client.verify(ctx, a.Out, want)
}

// untilCommitted waits until the group has committed all of the input.
func (b *bench) untilCommitted(ctx context.Context, a *app, ends map[int32]int64) error {
	return each(ctx, func() (bool, error) {
		select {
		case <-a.program.Ended():
			return false, errors.New("the application ended")
		default:
		}
		at, err := b.committed(ctx, a)
		if err != nil && !passing(err) {
			return false, err
		}
		for p, end := range ends {
			if at[p] < end {
				return false, nil
			}
		}
		return true, nil
	})
}

// add puts the medians of some runs into the table.
func (b *bench) add(rows []figure, theirs, ours []map[string]float64) {
	for _, f := range rows {
		var t, o []float64
		for i := range ours {
			o = append(o, ours[i][f.Name])
			if i < len(theirs) {
				t = append(t, theirs[i][f.Name])
				f.Ratios = append(f.Ratios, ours[i][f.Name]/theirs[i][f.Name])
			}
		}
		f.Streams, f.Millstream, f.Ratio = peers.Median(t), peers.Median(o), peers.Median(f.Ratios)
		b.figures = append(b.figures, f)
	}
}
