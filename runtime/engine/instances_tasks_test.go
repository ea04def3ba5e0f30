package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/assign"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// feeder writes lines into a topic, by turns over its partitions.
type feeder struct {
	t     testing.TB
	log   logclient.Log
	topic string
	parts int32
	rest  []line
	sent  int
}

// feed writes the next n lines, in a transaction.
func (f *feeder) feed(n int) {
	f.t.Helper()
	w, err := f.log.Writer(f.t.Context(), "feeder", logclient.WriterConfig{})
	if err != nil {
		f.t.Fatal(err)
	}
	defer w.Close()
	for range min(n, len(f.rest)) {
		l := f.rest[0]
		f.rest = f.rest[1:]
		f.put(w, record.Partition(int32(f.sent)%f.parts), l)
		f.sent++
	}
	f.commit(w)
}

// end tells every partition that time has gone on, so that all windows close.
func (f *feeder) end() {
	f.t.Helper()
	w, err := f.log.Writer(f.t.Context(), "feeder", logclient.WriterConfig{})
	if err != nil {
		f.t.Fatal(err)
	}
	defer w.Close()
	for p := range f.parts {
		f.put(w, record.Partition(p), line{at: t0 + 365*24*3600*1000, text: "host-00 fine"})
	}
	f.commit(w)
}

func (f *feeder) put(w logclient.Writer, p record.Partition, l line) {
	err := w.Append(record.TopicPartition{Topic: f.topic, Partition: p}, &record.View{Value: []byte(l.text), Timestamp: l.at})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *feeder) commit(w logclient.Writer) {
	if _, err := w.Commit(f.t.Context(), nil, logclient.Generation{}); err != nil {
		f.t.Fatal(err)
	}
}

// tasks are those that run on an instance.
func (f *fleet) tasks(n int) int { return len(f.running[n].State().Tasks) }

// shared waits until every task runs, each on one instance, and each instance has some.
func (f *fleet) shared(tasks int) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("all %d tasks run, dealt out over %d instances", tasks, len(f.running)), func() bool {
		sum := 0
		for n := range f.running {
			k := f.tasks(n)
			if k == 0 {
				return false
			}
			sum += k
		}
		return sum == tasks
	})
}

// Instances come, stop, are killed, are cut off until they are zombies, and come
// back; the output is that of a run without all that.
func TestInstancesComeAndGoAndTheOutputIsTheFold(t *testing.T) {
	in := lines(3000, 7)
	addr := serveHere(t)
	f := newFleet(t, addr, func() *topology.Topology { return countProgram(t) }, func(int) engine.Config {
		return engine.Config{
			Workers: 2, Partitions: 4, CommitInterval: 5 * time.Millisecond, CheckpointInterval: 20 * time.Millisecond,
			Cluster: engine.Cluster{SessionTimeout: 600 * time.Millisecond},
		}
	})
	log := f.log()
	topicOn(t, log, "lines", 4)
	fd := &feeder{t: t, log: log, topic: "lines", parts: 4, rest: in}
	const tasks = 8
	f.start(0)
	f.shared(tasks)
	fd.feed(300)
	f.start(1)
	fd.feed(300)
	f.shared(tasks)
	f.start(2)
	fd.feed(300)
	f.shared(tasks)
	fd.feed(300)
	f.stop(0)
	fd.feed(300)
	f.shared(tasks)
	f.kill(1)
	fd.feed(300)
	f.start(0)
	fd.feed(300)
	f.shared(tasks)
	f.start(1)
	f.shared(tasks)
	fd.feed(300)
	f.running[2].network.cut()
	f.eventually("the others run everything", func() bool { return f.tasks(0)+f.tasks(1) == tasks })
	fd.feed(300)
	takenForGone := func() bool {
		return engine.TakesForGone(f.running[0].Engine, f.running[2].Engine) || engine.TakesForGone(f.running[1].Engine, f.running[2].Engine)
	}
	if !takenForGone() {
		t.Error("the others did not end the transactions of the instance that is cut off")
	}
	f.running[2].network.mend()
	f.shared(tasks)
	if takenForGone() {
		t.Error("an instance that came back is still taken for gone: nobody would end its transactions")
	}
	fd.feed(300)
	fd.end()
	want := fold(in)
	f.eventually("all windows are there", func() bool { return len(countsOn(t, addr, "out")) >= len(want) })
	f.stopAll()
	same(t, countsOn(t, addr, "out"), want)
}

// A task with a store that is nowhere but with its owner cannot be followed. It
// moves at once: the group must not wait until somebody has caught up.
func TestTasksThatNobodyCanFollowAreSharedToo(t *testing.T) {
	const partitions, each = 2, assign.AcceptableLag + 500
	addr := serveHere(t)
	f := newFleet(t, addr, func() *topology.Topology {
		b := streams.NewBuilder("app")
		in := b.From[string, string]("in").GroupByKey()
		in.Count(streams.Store("counts"))
		in.Count(streams.Store("scratch"), streams.NoChangelog())
		topo, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return topo
	}, func(int) engine.Config {
		return engine.Config{Workers: 1, Partitions: partitions, CommitInterval: 5 * time.Millisecond, CheckpointInterval: 20 * time.Millisecond}
	})
	log := f.log()
	topicOn(t, log, "in", partitions)
	var keys []string
	for i := range each {
		keys = append(keys, fmt.Sprint(i))
	}
	for p := range record.Partition(partitions) {
		writeTo(t, log, "in", p, keys...)
	}
	f.start(0)
	f.eventually("one instance has counted everything", func() bool {
		n := int64(0)
		for _, task := range f.running[0].State().Tasks {
			for _, p := range task.Positions {
				n += p.Offset
			}
		}
		return n >= partitions*each
	})
	f.start(1)
	f.shared(partitions)
	f.stop(0)
	f.start(0)
	f.shared(partitions)
}
