package segment

import (
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

func compactAll(t *testing.T, l *Log, o CompactOptions) CompactResult {
	t.Helper()
	rp, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	l.Checkpointed(rp)
	res, err := l.Compact(o)
	if err != nil {
		t.Fatalf("compact: %v", err)
	}
	return res
}

// latestOf is what compaction must leave: per key the last record, in offset order.
func latestOf(recs []kv, dropTombstones bool) []string {
	last := map[string]int{}
	for i, r := range recs {
		last[r.key] = i
	}
	var want []string
	for i, r := range recs {
		if last[r.key] != i || r.null && dropTombstones {
			continue
		}
		value := r.value
		if r.null {
			value = "<null>"
		}
		want = append(want, fmt.Sprintf("%d:%s=%s", i, r.key, value))
	}
	return want
}

func TestCompactionKeepsTheLastRecordOfEachKey(t *testing.T) {
	for _, mapBytes := range []int{1 << 20, 24 * 12} {
		t.Run(fmt.Sprintf("map of %d bytes", mapBytes), func(t *testing.T) {
			fs := vfs.NewMem()
			set := small
			set.DeleteRetention = 1000 * 1e6
			l, _ := mustOpen(t, testConfig(fs, set), OpenOptions{})
			var recs []kv
			for i := range 90 {
				r := kv{key: fmt.Sprint("k", i*i%23), value: fmt.Sprint("v", i), time: int64(i)}
				r.null = i%10 == 9
				recs = append(recs, r)
				mustAppend(t, l, plain, r)
			}
			om := NewOffsetMap(mapBytes)
			res := compactAll(t, l, CompactOptions{Now: 100, Hold: -1, Map: om, RollActive: true})
			if mapBytes < 1000 && res.Passes < 2 {
				t.Errorf("%d passes with a small map, want several", res.Passes)
			}
			if got, want := readAll(t, l), latestOf(recs, false); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after the first run\n got %v\nwant %v", got, want)
			}
			verifyClean(t, fs, l)
			compactAll(t, l, CompactOptions{Now: 99999, Hold: 0, FirstDirty: res.Next, Map: om})
			if got, want := readAll(t, l), latestOf(recs, false); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("held tombstones\n got %v\nwant %v", got, want)
			}
			compactAll(t, l, CompactOptions{Now: 99999, Hold: -1, FirstDirty: res.Next, Map: om})
			if got, want := readAll(t, l), latestOf(recs, true); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after the delete horizon\n got %v\nwant %v", got, want)
			}
			verifyClean(t, fs, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l2, r := mustOpen(t, testConfig(fs, set), OpenOptions{RecoveryPoint: 90})
			if r.Cut != 0 || l2.End() != 90 {
				t.Errorf("reopened: %+v, end %d", r, l2.End())
			}
		})
	}
}

func verifyClean(t *testing.T, fs vfs.FS, l *Log) {
	t.Helper()
	if _, err := Verify(fs, l.cfg.Dir, VerifyOptions{TopicID: l.cfg.TopicID}, func(f Finding) { t.Errorf("verify: %s", f) }); err != nil {
		t.Fatal(err)
	}
}

func TestCompactionOfTransactions(t *testing.T) {
	fs := vfs.NewMem()
	set := small
	set.DeleteRetention = 1000 * 1e6
	cfg := testConfig(fs, set)
	l, _ := mustOpen(t, cfg, OpenOptions{})
	mustAppend(t, l, batchOpts{pid: 1, seq: 0, txn: true}, kv{key: "a", value: "committed"})
	mustAppend(t, l, batchOpts{pid: 2, seq: 0, txn: true}, kv{key: "a", value: "aborted"}, kv{key: "b", value: "aborted"})
	for pid, typ := range map[record.ProducerID]record.ControlType{1: record.CommitMarker} {
		if _, err := l.AppendMarker(pid, 0, record.Marker{Type: typ}, 5); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.AppendMarker(2, 0, record.Marker{Type: record.AbortMarker}, 5); err != nil {
		t.Fatal(err)
	}
	if err := l.Roll(0); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		mustAppend(t, l, batchOpts{pid: 1, seq: int32(1 + i)}, kv{key: "c", value: fmt.Sprint(i)})
	}
	compactAll(t, l, CompactOptions{Now: 10, Hold: -1, RollActive: true})
	verifyClean(t, fs, l)
	if got, want := fmt.Sprint(readAll(t, l)), "[0:a=committed 34:c=29]"; got != want {
		t.Errorf("first run: got %s, want %s", got, want)
	}
	ab, _ := l.Aborted(nil, 0, l.End())
	if len(ab) != 1 || ab[0].Last != 4 {
		t.Errorf("aborted %v: the marker is still there, so its entry must be", ab)
	}
	l.ExpireProducers(1 << 60)
	compactAll(t, l, CompactOptions{Now: 99999, Hold: -1})  // drops the empty batch; the marker gets its horizon
	compactAll(t, l, CompactOptions{Now: 999999, Hold: -1}) // drops the marker
	verifyClean(t, fs, l)
	if ab, _ = l.Aborted(nil, 0, l.End()); len(ab) != 0 {
		t.Errorf("aborted %v: nothing of it is left", ab)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l2, _ := mustOpen(t, cfg, OpenOptions{RecoveryPoint: 0})
	if l2.Stable() != l2.End() || l2.End() != 35 {
		t.Errorf("reopened: stable %d, end %d, want 35", l2.Stable(), l2.End())
	}
}
