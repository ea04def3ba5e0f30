package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/kafka"
)

// comebackFeed writes the input and knows the fold over it.
type comebackFeed struct {
	t     *testing.T
	o     *comeback
	w     logclient.Writer
	came  []int32 // by key
	total int64
	end   map[int32]int64 // where the last record of a partition is followed
}

func newComebackFeed(t *testing.T, o *comeback) *comebackFeed {
	t.Helper()
	log, err := kafka.Open(t.Context(), kafka.Config{Seeds: []string{o.Broker}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	topicOn(t, log, o.App+"-in", comebackPartitions)
	topicOn(t, log, o.App+"-out", comebackPartitions)
	f := &comebackFeed{t: t, o: o, came: make([]int32, o.Entries), end: map[int32]int64{}}
	if f.w, err = log.Writer(t.Context(), "comeback-feed", logclient.WriterConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.w.Close() })
	return f
}

// put appends one record of each of n keys from i on, every step, and commits.
func (f *comebackFeed) put(i, n, step int) error {
	for ; n > 0; n, i = n-1, i+step {
		k := i % f.o.Entries
		key := []byte(f.o.key(k))
		tp := record.TopicPartition{Topic: f.o.App + "-in", Partition: record.PartitionForKey(key, comebackPartitions)}
		if err := f.w.Append(tp, &record.View{Key: key, Value: []byte(f.o.payload(k)), Timestamp: t0 + f.total}); err != nil {
			return err
		}
		f.came[k]++
		f.total++
	}
	ends, err := f.w.Commit(context.Background(), nil, logclient.Generation{})
	for tp, at := range ends {
		f.end[int32(tp.Partition)] = int64(at.Offset)
	}
	return err
}

// fill writes every key once.
func (f *comebackFeed) fill() {
	f.t.Helper()
	for i := 0; i < f.o.Entries; i += 5000 {
		if err := f.put(i, min(5000, f.o.Entries-i), 1); err != nil {
			f.t.Fatal(err)
		}
	}
}

// load writes some keys more at a rate, all over the store, until stop is called
// or atMost records are written.
func (f *comebackFeed) load() (stop func()) {
	const steps = 20 // a second
	over, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Second / steps)
		defer tick.Stop()
		for i := 0; i < f.o.atMost(); i += f.o.Rate / steps {
			if err := f.put(i*7919, f.o.Rate/steps, 7919); err != nil {
				ended <- err
				return
			}
			select {
			case <-tick.C:
			case <-over:
				ended <- nil
				return
			}
		}
		ended <- nil
	}()
	return func() {
		close(over)
		if err := <-ended; err != nil {
			f.t.Fatal(err)
		}
	}
}

// changelogBytes is what the brokers keep of the store's changelog.
func (f *comebackFeed) changelogBytes() (n int64) {
	f.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.o.Broker))
	if err != nil {
		f.t.Fatal(err)
	}
	defer cl.Close()
	dirs, err := kadm.NewClient(cl).DescribeAllLogDirs(f.t.Context(), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	dirs.Each(func(d kadm.DescribedLogDir) {
		for _, p := range d.Topics[f.o.App+"-entries-changelog"] {
			n += p.Size
		}
	})
	return n
}

// compareStore compares the whole store with the fold.
func (f *comebackFeed) compareStore(e *engine.Engine) {
	f.t.Helper()
	entries, wrong := 0, 0
	err := engine.All(e, "entries", func(k, v string) bool {
		entries++
		i, err := strconv.Atoi(strings.TrimPrefix(k, "key-"))
		if err != nil || i >= f.o.Entries || v != fmt.Sprintf("%0*d%s", comebackCount, f.came[i], f.o.payload(i)) {
			f.t.Errorf("the store has %.30q for %q: want the payload %d times", v, k, f.came[min(i, f.o.Entries-1)])
			wrong++
		}
		return wrong < 10
	})
	if err != nil || entries != f.o.Entries && wrong == 0 {
		f.t.Errorf("%d entries in the store (%v), want %d", entries, err, f.o.Entries)
	}
}

// compareOutput compares the results with the fold: of each key 1, 2 and so on, each once.
func (f *comebackFeed) compareOutput() {
	f.t.Helper()
	out, wrong := make([]int32, f.o.Entries), 0
	clusterRead(f.t, f.o.Broker, f.o.App+"-out", func(k, v []byte) {
		i, err := strconv.Atoi(strings.TrimPrefix(string(k), "key-"))
		n, nerr := strconv.Atoi(string(v))
		if out[i]++; errors.Join(err, nerr) != nil || int32(n) != out[i] {
			if wrong++; wrong < 10 {
				f.t.Errorf("result %d of %s is %s", out[i], k, v)
			}
		}
	})
	for i, n := range f.came {
		if out[i] != n && wrong < 10 {
			f.t.Errorf("%d results of %s, want %d", out[i], f.o.key(i), n)
			wrong++
		}
	}
}
