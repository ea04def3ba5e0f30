package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// A batch with a good checksum whose records cannot be read, as an older
// millstream took it from producers: the cleaner says so once, keeps it to the
// byte and cleans all else.
func TestTheCleanerKeepsWhatItCannotRead(t *testing.T) {
	garbage := func(b []byte) { copy(b[record.HeaderSize:], "no codec begins like this") }
	for _, c := range []struct {
		name  string
		codec record.Codec
		spoil func([]byte)
	}{
		{"garbage in gzip", record.Gzip, garbage},
		{"garbage in snappy", record.Snappy, garbage},
		{"garbage in lz4", record.LZ4, garbage},
		{"garbage in zstd", record.Zstd, garbage},
		{"the second record's length", record.None, func(b []byte) { b[len(b)-26] ^= 0x40 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var logs strings.Builder
			cfg := testConfig(vfs.NewMem(), small)
			cfg.Logger = slog.New(slog.NewTextHandler(&logs, nil))
			l, _ := mustOpen(t, cfg, OpenOptions{})
			for i := range 20 {
				mustAppend(t, l, plain, kv{key: fmt.Sprint("k", i%3), value: fmt.Sprint("v", i)})
			}
			o := plain
			o.codec = c.codec
			broken := buildBatch(t, o, kv{key: "only before", value: "a value of some length"}, kv{key: "k1", value: "nobody reads this"})
			mustAppend(t, l, plain, kv{key: "only before", value: "stays"})
			c.spoil(broken)
			binary.BigEndian.PutUint32(broken[17:], crc32.Checksum(broken[21:], crc32.MakeTable(crc32.Castagnoli)))
			res, err := l.Append(broken, AppendOptions{Now: 1})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				mustAppend(t, l, plain, kv{key: fmt.Sprint("k", i%2), value: fmt.Sprint("w", i)})
			}
			om := NewOffsetMap(1 << 20)
			first := compactAll(t, l, CompactOptions{Now: 100, Hold: -1, Map: om, RollActive: true})
			compactAll(t, l, CompactOptions{Now: 100, Hold: -1, Map: om, RollActive: true, FirstDirty: first.Next})
			if first.Next != l.End() || first.Segments == 0 {
				t.Errorf("the first run ended at %d and replaced %d segments, expected all up to %d", first.Next, first.Segments, l.End())
			}
			before := readBetween(t, l, l.Start(), res.Base)
			if want := []string{"17:k2=v17", "20:only before=stays"}; fmt.Sprint(before) != fmt.Sprint(want) {
				t.Errorf("before the broken batch: %v, expected %v", before, want)
			}
			after := readBetween(t, l, res.Next, l.End())
			if want := []string{"41:k0=w18", "42:k1=w19"}; fmt.Sprint(after) != fmt.Sprint(want) {
				t.Errorf("after the broken batch: %v, expected %v", after, want)
			}
			b, err := l.Read(nil, res.Base, l.End(), 1)
			if err != nil || string(b[:len(broken)]) != string(broken) {
				t.Errorf("the broken batch is not what it was (%v)", err)
			}
			if n := strings.Count(logs.String(), "level=ERROR"); n != 1 || !strings.Contains(logs.String(), fmt.Sprintf("offset=%d ", res.Base)) {
				t.Errorf("%d errors logged, expected one that names offset %d:\n%s", n, res.Base, logs.String())
			}
		})
	}
}

// readBetween reads the records of [from, to).
func readBetween(t *testing.T, l *Log, from, to record.Offset) []string {
	t.Helper()
	var out []string
	for from < to {
		b, err := l.Read(nil, from, to, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			break
		}
		it := record.NewIterator(b, record.ReadOptions{})
		for it.NextBatch() && it.Batch().BaseOffset < to {
			var v record.View
			for it.NextInBatch(&v) {
				out = append(out, fmt.Sprintf("%d:%s=%s", v.Offset, v.Key, v.Value))
			}
			from = it.Batch().NextOffset()
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		if it.Batch().BaseOffset >= to {
			break
		}
	}
	return out
}
