package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millstream-io/millstream/internal/sysloglines"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

var invalidUser = []byte(sysloglines.Mark)

// countTopology is the measured program: public verbs and defaults only.
func countTopology(groupBy bool) (*topology.Topology, error) {
	b := streams.NewBuilder("bench-count")
	matching := b.From[string, []byte](countTopicIn).
		Filter(func(_ string, line []byte) bool { return bytes.Contains(line, invalidUser) })
	grouped := matching.GroupByKey()
	if groupBy {
		grouped = matching.GroupBy(func(_ string, line []byte) string { return string(hostOf(line)) })
	}
	grouped.Windowed(streams.Tumbling(time.Minute)).
		Count(streams.Store("counts")).
		ToStream(streams.Keyed).
		To(countTopicOut)
	return b.Build()
}

// hostOf is the fourth word of "<38>Jan  2 15:04:05 host sshd...": the first
// after the time of fixed width.
func hostOf(line []byte) []byte {
	const host = len("<38>Jan _2 15:04:05 ")
	if len(line) < host {
		return nil
	}
	rest := line[host:]
	if i := bytes.IndexByte(rest, ' '); i >= 0 {
		return rest[:i]
	}
	return rest
}

// countRun is one measured run.
type countRun struct {
	records, matched, windows int64
	seconds, cpu              float64
	ceiling                   float64
	workers                   int
	peakRSS                   int64
	checkpoints               int64
	totals                    engine.Totals
	verified                  bool
}

func (c *countRun) rate() float64 { return float64(c.records) / c.seconds }

func (c *countRun) result(o *countOptions) countResult {
	return countResult{
		Records: c.records, Matched: c.matched, Windows: c.windows,
		Seconds: c.seconds, RecordsPerSecond: c.rate(), CeilingRecordsPerSecond: c.ceiling,
		Workers: c.workers, Commits: c.totals.Commits, Checkpoints: c.checkpoints,
		BadgerBytes: c.totals.StateBytes, ChangelogRecords: c.totals.ChangelogRecords,
		CPUSeconds: c.cpu, PeakRSSBytes: c.peakRSS,
		Guarantee: "exactly_once", Flush: o.flush, CommitIntervalMS: o.commitInterval.Milliseconds(),
		GroupBy: o.groupBy, Keys: max(o.keys, 1000*boolInt(o.keys == 0)), Rounds: o.rounds,
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// once preloads rounds of the input into dir, runs the hand-written loop and
// the program over it, checks the program's counts, and removes dir.
func (o *countOptions) once(ctx context.Context, dir string, in *countInput, rounds, workers int, stderr io.Writer) (c countRun, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := filepath.Join(dir, "log")
	if err := withBroker(data, func(b *broker.Broker) error {
		if err := in.preload(ctx, b, o.partitions, rounds, stderr); err != nil {
			return err
		}
		c.ceiling, err = handWritten(b, o.partitions, workers)
		return err
	}); err != nil {
		return c, fmt.Errorf("preloading %s: %w", data, err)
	}
	c.workers, c.records = workers, int64(rounds)*int64(in.Records)
	if err := o.measure(ctx, data, workers, &c, stderr); err != nil {
		return c, err
	}
	want := in.Fold(rounds)
	c.matched, c.windows = int64(rounds)*int64(len(in.Matched)), int64(len(want))
	err = withBroker(data, func(b *broker.Broker) error {
		var wrong string
		c.verified, wrong, err = sameCounts(b, in, want)
		if wrong != "" {
			fmt.Fprintln(stderr, "bench count:", wrong)
		}
		return err
	})
	return c, err
}

func withBroker(dir string, use func(*broker.Broker) error) error {
	b, err := broker.Open(broker.Config{Dir: dir, MaintenanceInterval: -1})
	if err != nil {
		return err
	}
	return errors.Join(use(b), b.Close())
}

// measure runs the program over what dir holds.
func (o *countOptions) measure(ctx context.Context, dir string, workers int, c *countRun, stderr io.Writer) error {
	topo, err := countTopology(o.groupBy)
	if err != nil {
		return err
	}
	bar := progress(stderr, "counting", c.records)
	var mu sync.Mutex
	finished := map[string]int64{} // checkpoints by task
	var commits atomic.Int64
	e, err := engine.New(topo, engine.Config{
		Log: "embedded:" + dir, Flush: o.flush, Workers: workers, Partitions: o.partitions,
		CommitInterval: o.commitInterval, CheckpointInterval: o.checkpointInterval, Bounded: true,
		Hooks: engine.Hooks{
			Processed: func(_, topic string, n, _ int64) {
				if topic == countTopicIn {
					bar.Add64(n)
				}
			},
			Committed: func(string, time.Duration, error) { commits.Add(1) },
			Checkpointed: func(task string, _ time.Duration, _, _ int64, _ time.Time) {
				mu.Lock()
				defer mu.Unlock()
				finished[task]++
			},
		},
	})
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // what preloading left behind is not the program's
	resetPeakRSS()
	start, cpu := time.Now(), cpuSeconds()
	err = e.Run(ctx)
	c.seconds, c.cpu, c.peakRSS = time.Since(start).Seconds(), cpuSeconds()-cpu, peakRSS()
	c.totals = e.State().Totals
	c.totals.Commits = commits.Load()
	if err := errors.Join(err, e.Close(), bar.Finish()); err != nil {
		return err
	}
	c.checkpoints = -1
	for _, n := range finished {
		if c.checkpoints < 0 || n < c.checkpoints {
			c.checkpoints = n
		}
	}
	return nil
}

// sameCounts reads the result topic and compares each window's last count with
// the fold.
func sameCounts(b *broker.Broker, in *countInput, want map[sysloglines.Window]int64) (same bool, wrong string, err error) {
	topic, ok := b.Topic(countTopicOut)
	if !ok {
		return false, "there is no topic " + countTopicOut, nil
	}
	got := make(map[sysloglines.Window]int64, len(want))
	for p := range topic.Partitions {
		tp := record.TopicPartition{Topic: countTopicOut, Partition: record.Partition(p)}
		err := readCommitted(b, tp, func(v *record.View) error {
			if len(v.Key) < 8 || len(v.Value) != 8 {
				return fmt.Errorf("%s-%d offset %d: not a windowed count", tp.Topic, p, v.Offset)
			}
			host, err := strconv.Atoi(strings.TrimPrefix(string(v.Key[:len(v.Key)-8]), "host-"))
			if err != nil {
				return err
			}
			start := int64(binary.BigEndian.Uint64(v.Key[len(v.Key)-8:]))
			got[sysloglines.Window{Host: uint32(host), StartMS: start}] = int64(binary.BigEndian.Uint64(v.Value))
			return nil
		})
		if err != nil {
			return false, "", err
		}
	}
	for k, n := range want {
		if got[k] != n {
			return false, fmt.Sprintf("host %s, window %d: counted %d, want %d", in.Key(k.Host), k.StartMS, got[k], n), nil
		}
	}
	if len(got) != len(want) {
		return false, fmt.Sprintf("counted %d windows, want %d", len(got), len(want)), nil
	}
	return true, "", nil
}

// readCommitted calls fn for every committed record of a partition.
func readCommitted(b *broker.Broker, tp record.TopicPartition, fn func(*record.View) error) error {
	p, err := b.Partition(tp)
	if err != nil {
		return err
	}
	for from := p.Offsets().Start; from < p.Offsets().Stable; {
		c, err := p.Read(from, broker.ReadOptions{Committed: true, MaxBytes: 1 << 20})
		if err != nil {
			return err
		}
		err = eachRecord(c, fn)
		from = c.Next
		c.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func eachRecord(c *broker.Chunk, fn func(*record.View) error) error {
	var v record.View
	for {
		_, raw, ok := c.NextBatch()
		if !ok {
			return c.Err()
		}
		it := record.NewIterator(raw, record.ReadOptions{SkipCRC: true})
		for it.Next(&v) {
			if v.Offset < c.From {
				continue
			}
			if err := fn(&v); err != nil {
				it.Release()
				return err
			}
		}
		err := it.Err()
		it.Release()
		if err != nil {
			return err
		}
	}
}

// handWritten is the ceiling: the same input on as many goroutines through a
// loop without framework, state that survives, or output: iterate, filter,
// count per host and minute in Go maps. It returns records per second.
func handWritten(b *broker.Broker, partitions int32, workers int) (float64, error) {
	var records atomic.Int64
	next := atomic.Int32{}
	errs := make([]error, workers)
	start := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for errs[w] == nil {
				p := next.Add(1) - 1
				if p >= partitions {
					return
				}
				counts := map[int64]map[string]*int64{}
				n := int64(0)
				errs[w] = readCommitted(b, record.TopicPartition{Topic: countTopicIn, Partition: record.Partition(p)},
					func(v *record.View) error {
						n++
						if !bytes.Contains(v.Value, invalidUser) {
							return nil
						}
						window := v.Timestamp - v.Timestamp%sysloglines.WindowMS
						hosts := counts[window]
						if hosts == nil {
							hosts = map[string]*int64{}
							counts[window] = hosts
							delete(counts, window-2*sysloglines.WindowMS)
						}
						if c := hosts[string(v.Key)]; c != nil {
							*c++
						} else {
							one := int64(1)
							hosts[string(v.Key)] = &one
						}
						return nil
					})
				records.Add(n)
			}
		})
	}
	wg.Wait()
	return float64(records.Load()) / time.Since(start).Seconds(), errors.Join(errs...)
}

func cpuSeconds() float64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// resetPeakRSS starts the kernel's high-water mark anew (Linux; elsewhere the
// peak includes the preloading).
func resetPeakRSS() { os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// peakRSS is the process's peak resident memory in bytes; 0 where unknown.
func peakRSS() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
			return n * 1024
		}
	}
	return 0
}
