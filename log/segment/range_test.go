package segment

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// openRangeLog has segments of 30 KB and a cache of few files.
func openRangeLog(t *testing.T) (*Log, *FileCache) {
	t.Helper()
	cfg := testConfig(vfs.NewMem(), Settings{SegmentBytes: 30_000, IndexIntervalBytes: 2000})
	cfg.Files = NewFileCache(4)
	l, _ := mustOpen(t, cfg, OpenOptions{Clean: true})
	return l, cfg.Files
}

func rangeBatch(t *testing.T, values ...string) []byte {
	t.Helper()
	var recs []kv
	for _, v := range values {
		recs = append(recs, kv{key: "k", value: v, time: 1})
	}
	return buildBatch(t, plain, recs...)
}

// readRange copies a range.
func readRange(t *testing.T, r *Range) []byte {
	t.Helper()
	b := make([]byte, r.Len())
	if len(b) > 0 {
		if _, err := r.ReadAt(b, 0); err != nil {
			t.Fatalf("ReadAt of a range of %d bytes at %d: %v", r.Len(), r.Pos(), err)
		}
	}
	return b
}

func TestRangeIsWhatReadReads(t *testing.T) {
	l, _ := openRangeLog(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		batch := make([]string, 1+rng.IntN(5))
		for i := range batch {
			batch[i] = string(bytes.Repeat([]byte{'x'}, rng.IntN(700)))
		}
		if _, err := l.Append(rangeBatch(t, batch...), AppendOptions{Now: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3000 {
		from := record.Offset(rng.Int64N(int64(l.End()) + 1))
		upTo := from + record.Offset(rng.Int64N(int64(l.End()-from)+1))
		maxBytes := rng.IntN(30_000)
		want, err := l.Read(make([]byte, 0, 1<<20), from, upTo, maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.Range(from, upTo, maxBytes, true)
		if err != nil {
			t.Fatalf("Range(%d, %d, %d): %v", from, upTo, maxBytes, err)
		}
		if got := readRange(t, &r); !bytes.Equal(got, want) {
			t.Fatalf("Range(%d, %d, %d) has %d bytes, Read has %d", from, upTo, maxBytes, len(got), len(want))
		}
		if next := nextOf(t, want, from); r.Next() != next {
			t.Fatalf("Range(%d, %d, %d).Next() is %d, expected %d", from, upTo, maxBytes, r.Next(), next)
		}
		r.Release()
	}
}

func nextOf(t *testing.T, b []byte, from record.Offset) record.Offset {
	t.Helper()
	_, next, err := wholeBatches(b, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	return max(from, next)
}

func TestARangeWithoutAtLeastOneHasNoBatchAboveItsBound(t *testing.T) {
	l, _ := openRangeLog(t)
	if _, err := l.Append(rangeBatch(t, string(make([]byte, 500))), AppendOptions{Now: 1}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		maxBytes   int
		atLeastOne bool
		want       bool
	}{{499, false, false}, {0, false, false}, {0, true, true}, {600, false, true}} {
		r, err := l.Range(0, l.End(), c.maxBytes, c.atLeastOne)
		if err != nil || (r.Len() > 0) != c.want {
			t.Errorf("Range of at most %d bytes (at least one: %v) has %d, %v; expected the batch: %v", c.maxBytes, c.atLeastOne, r.Len(), err, c.want)
		}
		r.Release()
	}
}

func TestARangeOutlivesItsSegment(t *testing.T) {
	for _, end := range []string{"retention", "compaction", "eviction", "delete"} {
		l, files := openRangeLog(t)
		for range 300 {
			if _, err := l.Append(rangeBatch(t, "some value", "another"), AppendOptions{Now: 1}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := l.Range(0, l.End(), 1000, true)
		if err != nil || r.Len() == 0 {
			t.Fatalf("%s: Range: %d bytes, %v", end, r.Len(), err)
		}
		before := readRange(t, &r)
		switch end {
		case "retention":
			err = l.DeleteBefore(l.End())
		case "compaction":
			if _, err = l.Checkpoint(); err == nil {
				l.Checkpointed(l.End())
				_, err = l.Compact(CompactOptions{Now: 1 << 50, Hold: -1, RollActive: true})
			}
		case "eviction":
			for range 20 { // look at every other segment: more files than the cache keeps
				for _, s := range l.Segments() {
					if o, rerr := l.Range(s.Base, l.End(), 100, true); rerr == nil {
						o.Release()
					}
				}
			}
		case "delete":
			err = l.Delete()
		}
		if err != nil {
			t.Fatalf("%s: %v", end, err)
		}
		if after := readRange(t, &r); !bytes.Equal(before, after) {
			t.Errorf("%s: the range's bytes changed under its reader", end)
		}
		r.Release()
		r.Release()
		if end == "delete" && files.Open() != 0 {
			t.Errorf("%s: %d files are open after the last range was released", end, files.Open())
		}
	}
}
