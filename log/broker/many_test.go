package broker_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	. "github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// A directory of many partitions opens at once, after a clean end and after a
// crash, and costs bounded memory and files.
func TestManyPartitionsOpenAndServe(t *testing.T) { manyPartitions(t, 60) }

// TestTortureTenThousandPartitions is the same in full. On two processors that are
// idle, 3 s are at most 6 s of their time, whatever else the machine does meanwhile.
func TestTortureTenThousandPartitions(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	used, bytes := manyPartitions(t, 10_000)
	t.Logf("10,000 partitions: opened after a clean end in %s of processor time, after a crash in %s; %d bytes of memory each", used[0], used[1], bytes/10_000)
	if used[0] > 6*time.Second {
		t.Errorf("10,000 partitions opened in %s of processor time, expected under 6 s", used[0])
	}
	if bytes > 200<<20 {
		t.Errorf("10,000 partitions take %d bytes of memory, expected at most 200 MiB", bytes)
	}
}

func manyPartitions(t *testing.T, n int) (used [2]time.Duration, bytes uint64) {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), MaintenanceInterval: -1, TickInterval: -1, MaxOpenFiles: 200}
	b := mustOpenBroker(t, cfg)
	perTopic := n / 10
	for i := range 10 {
		if _, err := b.CreateTopic(TopicSpec{Name: fmt.Sprint("topic-", i), Partitions: int32(perTopic)}); err != nil {
			t.Fatal(err)
		}
	}
	write := func(value string) {
		t.Helper()
		for i := 0; i < n; i += 7 {
			p, err := b.Partition(record.TopicPartition{Topic: fmt.Sprint("topic-", i/perTopic), Partition: record.Partition(i % perTopic)})
			if err != nil {
				t.Fatal(err)
			}
			builder := record.NewBuilder()
			builder.Append(&record.View{Value: []byte(value), Timestamp: int64(i)})
			raw, err := builder.Finish(record.None)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Produce(raw, AcksLeader); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("one")
	for i, end := range []func(*Broker){func(b *Broker) { must0(t, b.Close()) }, (*Broker).Abandon} {
		end(b)
		b = nil
		before, cpu, began := heap(), cpuTime(), time.Now()
		b = mustOpenBroker(t, cfg)
		used[i] = cpuTime() - cpu
		t.Logf("%d partitions opened in %s, %s of processor time", n, time.Since(began), used[i])
		if i == 0 {
			bytes = heap() - min(before, heap())
		}
		for j := 0; j < n; j += 7 {
			p, err := b.Partition(record.TopicPartition{Topic: fmt.Sprint("topic-", j/perTopic), Partition: record.Partition(j % perTopic)})
			if err != nil || p.Err() != nil || p.Offsets().End != record.Offset(i+1) {
				t.Fatalf("partition %d: %v, %v, end %d, expected %d", j, err, p.Err(), p.Offsets().End, i+1)
			}
		}
		if i == 0 {
			write("two")
		}
	}
	must0(t, b.Close())
	return used, bytes
}

func must0(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustOpenBroker(t *testing.T, cfg Config) *Broker {
	t.Helper()
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
