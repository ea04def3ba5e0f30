package embedded

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

var in, out = record.TopicPartition{Topic: "in"}, record.TopicPartition{Topic: "out"}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, fs vfs.FS, boot string) *Log {
	t.Helper()
	l, err := Open(broker.Config{Dir: "/data", FS: fs, BootID: boot, MaintenanceInterval: -1, TickInterval: -1})
	check(t, err)
	_, err = l.Ensure(t.Context(), []logclient.TopicSpec{{Name: "in", Partitions: 1}, {Name: "out", Partitions: 1}})
	check(t, err)
	return l
}

func newWriter(t testing.TB, l *Log) logclient.Writer {
	t.Helper()
	w, err := l.Writer(t.Context(), "w", logclient.WriterConfig{})
	check(t, err)
	return w
}

func join(t testing.TB, l *Log) (logclient.Member, logclient.Generation) {
	t.Helper()
	m, err := l.Join(t.Context(), logclient.MemberConfig{Group: "app", Topics: []string{"in"}})
	check(t, err)
	a, err := m.Next(t.Context())
	check(t, err)
	return m, a.Generation
}

func appendValue(w logclient.Writer, tp record.TopicPartition, value string) error {
	return w.Append(tp, &record.View{Value: []byte(value)})
}

// read gives the committed values of a partition.
func read(t testing.TB, l *Log, tp record.TopicPartition) (values []string) {
	t.Helper()
	r, err := l.Reader(logclient.ReaderConfig{})
	check(t, err)
	defer r.Close()
	r.Assign(map[record.TopicPartition]record.Offset{tp: 0})
	for next := record.Offset(0); next < r.End(tp); {
		batches, err := r.Poll(t.Context(), 1<<20)
		check(t, err)
		for _, b := range batches {
			var v record.View
			for b.Next(&v) {
				values = append(values, string(v.Value))
			}
			check(t, b.Err())
			next = b.NextOffset()
			b.Release()
		}
	}
	return values
}

func TestPowerCutKeepsWhatWasCommittedAndRaisesTheEpoch(t *testing.T) {
	for _, percent := range []int{0, 100} {
		fs := vfs.NewMem()
		l := open(t, fs, "boot-1")
		_, g := join(t, l)
		w := newWriter(t, l)
		check(t, appendValue(w, in, "input"))
		_, err := w.Commit(t.Context(), nil, logclient.Generation{})
		check(t, err)
		check(t, appendValue(w, out, "committed"))
		done, err := w.Commit(t.Context(), logclient.Positions{in: {Offset: 1}}, g)
		check(t, err)
		check(t, w.(*writer).appendAndFlush(out, "open"))

		l = open(t, fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent}), "boot-2")
		if l.CleanStart() {
			t.Error("a power cut is a clean start")
		}
		m, g := join(t, l)
		at, err := m.Committed(t.Context(), []record.TopicPartition{in})
		check(t, err)
		if at[in].Offset != 1 {
			t.Errorf("position %+v, expected offset 1", at[in])
		}
		w = newWriter(t, l)
		check(t, appendValue(w, out, "after"))
		again, err := w.Commit(t.Context(), logclient.Positions{in: {Offset: 2}}, g)
		check(t, err)
		if have := fmt.Sprint(read(t, l, out)); have != "[committed after]" {
			t.Errorf("with %d %% of what was unsynced: %s, expected [committed after]", percent, have)
		}
		if again[out].Epoch <= done[out].Epoch {
			t.Errorf("epoch %d after the cut, %d before it: it must rise", again[out].Epoch, done[out].Epoch)
		}
		check(t, l.Close())
	}
}

// appendAndFlush hands one record to the broker without committing it.
func (w *writer) appendAndFlush(tp record.TopicPartition, value string) error {
	if err := appendValue(w, tp, value); err != nil {
		return err
	}
	return w.flushAll()
}

func TestProcessCrashLeavesTheTransactionToItsSuccessor(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "boot")
	w := newWriter(t, l)
	check(t, appendValue(w, out, "committed"))
	_, err := w.Commit(t.Context(), nil, logclient.Generation{})
	check(t, err)
	check(t, w.(*writer).appendAndFlush(out, "open"))

	l = open(t, fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: 100}), "boot")
	if !l.CleanStart() {
		t.Error("the same boot: the page cache has survived, nothing can be gone")
	}
	w = newWriter(t, l)
	check(t, appendValue(w, out, "after"))
	_, err = w.Commit(t.Context(), nil, logclient.Generation{})
	check(t, err)
	if have := fmt.Sprint(read(t, l, out)); have != "[committed after]" {
		t.Errorf("%s, expected [committed after]", have)
	}
	check(t, l.Close())
}

func TestFullDiskIsRetryable(t *testing.T) {
	fs := vfs.Faulty(vfs.NewMem())
	l := open(t, fs, "boot")
	w := newWriter(t, l)
	check(t, appendValue(w, out, "a"))
	_, err := w.Commit(t.Context(), nil, logclient.Generation{})
	check(t, err)

	fs.SetRules(vfs.Rule{Ops: vfs.OpWrite, Name: "*.log", Err: syscall.ENOSPC})
	check(t, appendValue(w, out, "b"))
	_, err = w.Commit(t.Context(), nil, logclient.Generation{})
	if logclient.Classify(err) != logclient.ClassRetryable || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("commit on a full disk: %v (class %v), expected it to be retryable and to name the cause", err, logclient.Classify(err))
	}
	fs.SetRules()
	check(t, w.Abort(t.Context()))
	check(t, appendValue(w, out, "c"))
	_, err = w.Commit(t.Context(), nil, logclient.Generation{})
	check(t, err)
	if have := fmt.Sprint(read(t, l, out)); have != "[a c]" {
		t.Errorf("%s, expected [a c]", have)
	}
	check(t, l.Close())
}

func TestReadingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	l := open(t, vfs.NewMem(), "boot")
	w := newWriter(t, l)
	v := record.View{Key: []byte("key"), Value: make([]byte, 100)}
	const records = 20_000
	for range records {
		check(t, w.Append(in, &v))
	}
	_, err := w.Commit(t.Context(), nil, logclient.Generation{})
	check(t, err)
	r, err := l.Reader(logclient.ReaderConfig{})
	check(t, err)
	r.Assign(map[record.TopicPartition]record.Offset{in: 0})
	at := r.(*reader).byTP[in]
	end := r.End(in)
	allocs := testing.AllocsPerRun(20, func() {
		at.next = 0
		for at.next < end {
			batches, err := r.Poll(t.Context(), 64<<10)
			check(t, err)
			for _, b := range batches {
				for b.Next(&v) {
				}
				b.Release()
			}
		}
	})
	// A garbage collection in between may empty the pools once.
	if allocs > 4 {
		t.Errorf("%v allocations for %d records in about 30 batches, expected none", allocs, records)
	}
	check(t, l.Close())
}

func TestAppendingAllocatesNothingPerRecord(t *testing.T) {
	l := open(t, vfs.NewMem(), "boot")
	w := newWriter(t, l)
	v := record.View{Key: []byte("key"), Value: make([]byte, 100)}
	allocs := testing.AllocsPerRun(10_000, func() {
		if err := w.Append(out, &v); err != nil {
			t.Fatal(err)
		}
	})
	if allocs >= 0.5 {
		t.Errorf("%v allocations a record, expected none", allocs)
	}
	check(t, l.Close())
}

func TestBuffersOfAllPartitionsTogetherAreBounded(t *testing.T) {
	l := open(t, vfs.NewMem(), "boot")
	_, err := l.Ensure(t.Context(), []logclient.TopicSpec{{Name: "wide", Partitions: 100}})
	check(t, err)
	w := newWriter(t, l)
	v := record.View{Value: make([]byte, 1<<10)}
	most := 0
	for i := range 10_000 {
		check(t, w.Append(record.TopicPartition{Topic: "wide", Partition: record.Partition(i % 100)}, &v))
		most = max(most, w.Buffered())
	}
	if most > maxBuffered {
		t.Errorf("%d bytes were buffered, expected at most %d", most, maxBuffered)
	}
	check(t, l.Close())
}
