package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/sysloglines"
	"github.com/millstream-io/millstream/log/record"
)

const (
	// feedEvery is the time between two lines of a host.
	feedEvery = 10 * time.Millisecond
	// feedHosts of each partition.
	feedHosts = 2
)

// feed writes lines at a steady rate to all partitions of a topic, all of them
// with the mark, and counts what the broker has acknowledged.
type feed struct {
	cl     *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	counts map[sysloglines.Window]int64
	err    error
}

// startFeed begins; stop ends it.
func startFeed(ctx context.Context, addr, topic string) (*feed, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		return nil, err
	}
	f := &feed{cl: cl, done: make(chan struct{}), counts: map[sysloglines.Window]int64{}}
	ctx, f.cancel = context.WithCancel(ctx)
	go f.run(ctx)
	return f, nil
}

// hosts gives feedHosts hosts of each partition.
func hosts() []uint32 {
	var found [partitions]int
	var all []uint32
	for host := uint32(0); len(all) < feedHosts*partitions; host++ {
		if p := partitionOf(host); found[p] < feedHosts {
			found[p]++
			all = append(all, host)
		}
	}
	return all
}

func hostName(host uint32) []byte { return fmt.Appendf(nil, "host-%04d", host) }

// partitionOf is where the lines of a host are.
func partitionOf(host uint32) int {
	return int(record.PartitionForKey(hostName(host), partitions))
}

func (f *feed) run(ctx context.Context) {
	defer close(f.done)
	all := hosts()
	line := []byte("<38>Nov 21 00:00:00 host sshd[1]: Failed password for " + sysloglines.Mark + " root from 10.0.0.1 port 1 ssh2")
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		for _, host := range all {
			r := &kgo.Record{Key: hostName(host), Value: line, Timestamp: now}
			f.cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) { f.acknowledged(host, now.UnixMilli(), err) })
		}
	}
}

func (f *feed) acknowledged(host uint32, ms int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[sysloglines.Window{Host: host, StartMS: ms - ms%sysloglines.WindowMS}]++
	f.err = errors.Join(f.err, err)
}

// stop ends the feed and tells what must have been counted.
func (f *feed) stop() (map[sysloglines.Window]int64, error) {
	f.cancel()
	<-f.done
	err := f.cl.Flush(context.Background())
	f.cl.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts, errors.Join(err, f.err)
}

// watch sees results as a consumer of committed records does, and when: what
// tells whether their input partition is processed.
type watch struct {
	cl     *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	arrivals [partitions][]time.Time // by input partition, in order
	err      error
}

// startWatch begins; stop ends it.
func startWatch(ctx context.Context, addr, topic string) (*watch, error) {
	from := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		from[p] = kgo.NewOffset().At(0)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, err
	}
	w := &watch{cl: cl, done: make(chan struct{})}
	ctx, w.cancel = context.WithCancel(ctx)
	go w.run(ctx)
	return w, nil
}

func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	for ctx.Err() == nil {
		fetches := w.cl.PollFetches(ctx)
		now := time.Now()
		w.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			of, _, err := window(r)
			if err != nil {
				w.err = errors.Join(w.err, err)
				return
			}
			p := partitionOf(of.Host)
			if a := w.arrivals[p]; len(a) == 0 || a[len(a)-1] != now {
				w.arrivals[p] = append(a, now)
			}
		})
		w.mu.Unlock()
	}
}

func (w *watch) stop() error {
	w.cancel()
	<-w.done
	w.cl.Close()
	return w.err
}

// longestGap is the longest time without a result of a partition, over all
// partitions, of the gaps that end after from.
func (w *watch) longestGap(from time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, longest := time.Now(), time.Duration(0)
	for _, arrivals := range w.arrivals {
		var last time.Time
		for _, at := range append(arrivals[:len(arrivals):len(arrivals)], now) {
			if at.After(from) {
				if last.IsZero() {
					last = from // nothing yet at all
				}
				longest = max(longest, at.Sub(last))
			}
			last = at
		}
	}
	return longest
}

// firstAfter is how long after a moment every partition had a result again.
func (w *watch) firstAfter(moment time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := time.Duration(0)
	for _, arrivals := range w.arrivals {
		for _, at := range arrivals {
			if at.After(moment) {
				longest = max(longest, at.Sub(moment))
				break
			}
		}
	}
	return longest
}
