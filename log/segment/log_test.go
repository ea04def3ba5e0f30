package segment

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// small makes segments roll soon and index often.
var small = Settings{SegmentBytes: 600, IndexIntervalBytes: 100}

func testConfig(fs vfs.FS, s Settings) Config {
	return Config{FS: fs, Dir: "/data/t-0", Partition: record.TopicPartition{Topic: "t"}, TopicID: [16]byte{1, 2, 3}, Settings: s}
}

func mustOpen(t testing.TB, cfg Config, o OpenOptions) (*Log, Recovery) {
	t.Helper()
	l, r, err := Open(cfg, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(l.Abandon)
	return l, r
}

// kv is one record to write: key=value at a time.
type kv struct {
	key, value string
	null       bool // tombstone
	time       int64
}

type batchOpts struct {
	pid   record.ProducerID
	epoch record.ProducerEpoch
	seq   int32
	txn   bool
	codec record.Codec
}

var plain = batchOpts{pid: record.NoProducerID, epoch: record.NoProducerEpoch, seq: record.NoSequence}

func buildBatch(t testing.TB, o batchOpts, recs ...kv) []byte {
	t.Helper()
	b := record.NewBuilder()
	if o.pid != record.NoProducerID {
		b.SetProducer(o.pid, o.epoch, o.seq)
		b.SetTransactional(o.txn)
	}
	for _, r := range recs {
		v := record.View{Timestamp: r.time, Key: []byte(r.key), Value: []byte(r.value)}
		if r.null {
			v.Value = nil
		}
		b.Append(&v)
	}
	raw, err := b.Finish(o.codec)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(raw)
}

func mustAppend(t testing.TB, l *Log, o batchOpts, recs ...kv) AppendResult {
	t.Helper()
	res, err := l.Append(buildBatch(t, o, recs...), AppendOptions{Now: 1})
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return res
}

// readAll gives "offset:key=value" for every record of the log from its start, control batches left out.
func readAll(t testing.TB, l *Log) []string {
	t.Helper()
	var out []string
	offset := l.Start()
	var buf []byte
	for {
		b, err := l.Read(buf, offset, l.End(), 300)
		if err != nil {
			t.Fatalf("read at %d: %v", offset, err)
		}
		if len(b) == 0 {
			return out
		}
		it := record.NewIterator(b, record.ReadOptions{})
		for it.NextBatch() {
			h := *it.Batch()
			var v record.View
			for !h.Control() && it.NextInBatch(&v) {
				if v.Offset < offset {
					continue
				}
				value := string(v.Value)
				if v.Value == nil {
					value = "<null>"
				}
				out = append(out, fmt.Sprintf("%d:%s=%s", v.Offset, v.Key, value))
			}
			offset = h.NextOffset()
		}
		if err := it.Err(); err != nil {
			t.Fatalf("iterate: %v", err)
		}
		it.Release()
		buf = b
	}
}

func TestAppendedRecordsAreReadBackAfterRollsAndReopen(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean=%v", clean), func(t *testing.T) {
			fs := vfs.NewMem()
			cfg := testConfig(fs, small)
			l, _ := mustOpen(t, cfg, OpenOptions{})
			var want []string
			for i := range 50 {
				mustAppend(t, l, plain, kv{key: fmt.Sprint("k", i%7), value: fmt.Sprint("v", i), time: int64(1000 + i)})
				want = append(want, fmt.Sprintf("%d:k%d=v%d", i, i%7, i))
			}
			if n := len(l.Segments()); n < 5 {
				t.Fatalf("%d segments, want at least 5", n)
			}
			check := func(l *Log) {
				t.Helper()
				if got := readAll(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got %v\nwant %v", got, want)
				}
				for i := range 50 {
					at, err := l.OffsetForTime(int64(1000 + i))
					if err != nil || at.Offset != record.Offset(i) {
						t.Errorf("offset for time %d = %v, %v; want %d", 1000+i, at, err, i)
					}
				}
			}
			check(l)
			if clean {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				l.Abandon()
			}
			l2, r := mustOpen(t, cfg, OpenOptions{Clean: clean})
			if r.IndexesRebuilt != 0 || r.Cut != 0 {
				t.Errorf("recovery %+v: nothing was to be rebuilt or cut", r)
			}
			check(l2)
			if wantEpoch := map[bool]record.LeaderEpoch{true: 0, false: 1}[clean]; l2.Epoch() != wantEpoch {
				t.Errorf("epoch %d, want %d", l2.Epoch(), wantEpoch)
			}
		})
	}
}

func TestProducerRules(t *testing.T) {
	idem := func(epoch record.ProducerEpoch, seq int32) batchOpts {
		return batchOpts{pid: 7, epoch: epoch, seq: seq}
	}
	one := kv{key: "k", value: "v"}
	tests := []struct {
		name    string
		o       batchOpts
		recs    int
		wantErr error
		base    record.Offset
		dup     bool
	}{
		{"first sequence of an unknown producer may be any", idem(1, 5), 2, nil, 0, false},
		{"next sequence", idem(1, 7), 1, nil, 2, false},
		{"duplicate of the first", idem(1, 5), 2, nil, 0, true},
		{"duplicate of the last", idem(1, 7), 1, nil, 2, true},
		{"gap", idem(1, 9), 1, ErrOutOfOrderSequence, 0, false},
		{"stale epoch", idem(0, 8), 1, ErrProducerEpoch, 0, false},
		{"new epoch must begin at 0", idem(2, 8), 1, ErrOutOfOrderSequence, 0, false},
		{"new epoch at 0", idem(2, 0), 1, nil, 3, false},
		{"old epoch after it", idem(1, 8), 1, ErrProducerEpoch, 0, false},
		{"plain data of a transactional id", batchOpts{pid: 7, epoch: 2, seq: 1, txn: true}, 1, nil, 4, false},
		{"no flag inside the transaction", idem(2, 2), 1, ErrTxnState, 0, false},
	}
	l, _ := mustOpen(t, testConfig(vfs.NewMem(), Settings{}), OpenOptions{})
	for _, tt := range tests {
		recs := make([]kv, tt.recs)
		for i := range recs {
			recs[i] = one
		}
		res, err := l.Append(buildBatch(t, tt.o, recs...), AppendOptions{Now: 1})
		if !errors.Is(err, tt.wantErr) || err == nil && (res.Base != tt.base || res.Duplicate != tt.dup) {
			t.Errorf("%s: got %+v, %v; want base %d, duplicate %v, error %v", tt.name, res, err, tt.base, tt.dup, tt.wantErr)
		}
	}
	if l.Stable() != 4 || l.End() != 5 {
		t.Errorf("stable %d end %d, want 4 5", l.Stable(), l.End())
	}
	if _, err := l.AppendMarker(7, 2, record.Marker{Type: record.AbortMarker, CoordinatorEpoch: 3}, 9); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AppendMarker(7, 2, record.Marker{Type: record.AbortMarker, CoordinatorEpoch: 2}, 9); !errors.Is(err, ErrCoordinatorFenced) {
		t.Errorf("marker of an older coordinator: %v", err)
	}
	got, err := l.Aborted(nil, 0, 6)
	if want := []AbortedTxn{{ProducerID: 7, First: 4, Last: 5, Stable: 6}}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("aborted %v, %v; want %v", got, err, want)
	}
	if l.Stable() != 6 {
		t.Errorf("stable %d, want 6", l.Stable())
	}
}
