package engine_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

const (
	tailPartitions = 4
	tailKeys       = 2000 // before the checkpoint
	tailChanges    = 150  // after it, of keys that were there
	tailEntryBytes = len("key-0000") + 8 + 8
)

// An instance on a cluster that crashed and is back within its session is the same
// member, and reads of its changelogs what was committed after its checkpoint, byte
// for byte, whatever came before.
func TestACrashedInstanceReplaysWhatFollowsItsCheckpoint(t *testing.T) {
	addr := serveHere(t)
	var rounds atomic.Int64
	f := newFleet(t, addr, tailTopology(t), func(int) engine.Config {
		cfg := engine.Config{
			Workers: 2, Partitions: tailPartitions, CommitInterval: 5 * time.Millisecond, CheckpointInterval: time.Hour,
			Cluster: engine.Cluster{Instance: "alone", StayOnStop: true, SessionTimeout: time.Minute},
		}
		cfg.Hooks.Checkpointed = func(string, time.Duration, int64, int64, time.Time) { rounds.Add(1) }
		return cfg
	})
	log := f.log()
	topicOn(t, log, "in", tailPartitions)
	feed := func(in *instance, n int) {
		t.Helper()
		before := in.State().Totals.ChangelogRecords
		writeKeys(t, log, n)
		f.eventually("all changes are in the changelog", func() bool { return in.State().Totals.ChangelogRecords == before+int64(n) })
	}
	feed(f.start(0), tailKeys)
	f.stop(0) // which checkpoints
	if n := rounds.Load(); n != tailPartitions {
		t.Fatalf("%d checkpoints, want one of each task: the test is wrong", n)
	}

	feed(f.start(0), tailChanges)
	f.kill(0)

	again := f.start(0)
	f.eventually("all tasks run", func() bool { return f.tasks(0) == tailPartitions && again.Ready() == nil })
	s := again.State().Totals
	if want := int64(tailChanges * tailEntryBytes); s.RestoredBytes != want || s.Restored != tailChanges || s.Rebuilt != 0 {
		t.Errorf("%d bytes and %d records of the changelog replayed, %d tasks rebuilt: want the %d bytes and %d records since the checkpoint, of %d records",
			s.RestoredBytes, s.Restored, s.Rebuilt, want, tailChanges, tailKeys+tailChanges)
	}
	if s.RecordsIn != 0 {
		t.Errorf("%d input records were processed again, want 0: all were committed", s.RecordsIn)
	}
	if n := rounds.Load(); n != tailPartitions {
		t.Errorf("%d checkpoints more than that of the stop: the test is wrong", n-tailPartitions)
	}
	for i := range tailKeys {
		want := int64(1)
		if i < tailChanges {
			want = 2
		}
		if n, ok, err := engine.Get[string, int64](again.Engine, "counts", tailKey(i)); n != want || !ok || err != nil {
			t.Fatalf("%s: %d, %t, %v; want %d", tailKey(i), n, ok, err, want)
		}
	}
	feed(again, 1) // and it goes on
}

func tailKey(i int) string { return fmt.Sprintf("key-%04d", i) }

func tailTopology(t *testing.T) func() *topology.Topology {
	return func() *topology.Topology {
		b := streams.NewBuilder("tail")
		b.From[string, string]("in").GroupByKey().Count(streams.Store("counts"))
		topo, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return topo
	}
}

// writeKeys appends the first n keys, each once, in a transaction.
func writeKeys(t *testing.T, log logclient.Log, n int) {
	t.Helper()
	w, err := log.Writer(t.Context(), "tail-feed", logclient.WriterConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range n {
		key := []byte(tailKey(i))
		tp := record.TopicPartition{Topic: "in", Partition: record.PartitionForKey(key, tailPartitions)}
		if err := w.Append(tp, &record.View{Key: key, Value: []byte{}, Timestamp: t0 + int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), nil, logclient.Generation{}); err != nil {
		t.Fatal(err)
	}
}
