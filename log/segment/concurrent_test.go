package segment

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Appends, reads, syncs, retention and compaction at once: every reader sees
// its producers' records in order, and files stay under the bound. Meant for -race.
func TestReadersSeeWholeOrderedBatchesWhileEverythingElseRuns(t *testing.T) {
	cfg := testConfig(vfs.NewMem(), Settings{SegmentBytes: 3000, IndexIntervalBytes: 200})
	cfg.Files = NewFileCache(4)
	l, _ := mustOpen(t, cfg, OpenOptions{})
	const writers, each = 3, 150
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Add(1)
		go func() {
			defer writing.Done()
			for i := range each {
				res, err := l.Append(buildBatch(t, plain, kv{key: fmt.Sprint("w", w, "-", i), value: fmt.Sprint(i)}), AppendOptions{Now: 1})
				if err == nil && i%10 == 0 {
					err = l.Sync(res.Next)
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		}()
	}
	for range 2 {
		reading.Add(1)
		go func() { defer reading.Done(); followToEnd(t, l, done) }()
	}
	reading.Add(1)
	go func() {
		defer reading.Done()
		for range 10 {
			rp, err := l.Checkpoint()
			if err == nil {
				l.Checkpointed(rp)
				_, err = l.Compact(CompactOptions{Now: 1, Hold: -1, RollActive: true})
			}
			if err != nil {
				t.Errorf("compact: %v", err)
			}
		}
	}()
	writing.Wait()
	close(done)
	reading.Wait()
	if l.End() != writers*each {
		t.Errorf("end %d, want %d", l.End(), writers*each)
	}
	verifyClean(t, cfg.FS, l)
}

// followToEnd reads from the start until the writers are done and the end is reached.
func followToEnd(t *testing.T, l *Log, done <-chan struct{}) {
	var at record.Offset
	var buf []byte
	last := map[byte]int{}
	for {
		stop := false
		select {
		case <-done:
			stop = true
		default:
		}
		end := l.End()
		b, err := l.Read(buf, at, end, 1000)
		if err != nil {
			t.Errorf("read at %d: %v", at, err)
			return
		}
		if len(b) == 0 {
			if stop && at >= l.End() {
				return
			}
			continue
		}
		it := record.NewIterator(b, record.ReadOptions{})
		var v record.View
		for it.Next(&v) {
			var w, i int
			fmt.Sscanf(string(v.Key), "w%d-%d", &w, &i)
			if prev, ok := last[byte(w)]; v.Offset >= at && ok && i <= prev {
				t.Errorf("writer %d: record %d after %d", w, i, prev)
			}
			last[byte(w)] = i
			at = v.Offset + 1
		}
		at = max(at, it.Batch().NextOffset())
		if err := it.Err(); err != nil {
			t.Error(err)
		}
		it.Release()
		buf = b
	}
}

// A closed log answers ErrClosed to everything.
func TestAClosedLogRefuses(t *testing.T) {
	l, _ := mustOpen(t, testConfig(vfs.NewMem(), Settings{}), OpenOptions{})
	mustAppend(t, l, plain, kv{key: "k"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, appendErr := l.Append(buildBatch(t, plain, kv{key: "k"}), AppendOptions{})
	_, readErr := l.Read(nil, 0, 1, 10)
	for what, err := range map[string]error{"append": appendErr, "read": readErr, "sync": l.Sync(2), "roll": l.Roll(0)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}
