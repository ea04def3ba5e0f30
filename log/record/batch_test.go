package record_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/record"
)

// The example of docs/format/batch.md, "A batch in hex", made by hand.
const handMade = "0000000000000005" + // base offset
	"0000003e" + // length 62
	"00000002" + // leader epoch
	"02" + "%crc" + // magic, crc
	"0000" + "00000000" + // attributes, last offset delta
	"000001a1fb939a00" + "000001a1fb939a00" + // base and max timestamp
	"ffffffffffffffff" + "ffff" + "ffffffff" + // no producer
	"00000001" + // count
	"18" + "00" + "00" + "00" + // record length 12, attributes, timestamp delta, offset delta
	"02" + "6b" + "04" + "7631" + // key "k", value "v1"
	"02" + "02" + "68" + "01" // one header: "h", null

func handMadeBatch(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(handMade, "%crc", "00000000"))
	if err != nil {
		t.Fatal(err)
	}
	return seal(b)
}

// seal renews a batch's CRC.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestHandMadeBatch(t *testing.T) {
	raw := handMadeBatch(t)
	want := record.View{
		Offset: 5, Timestamp: 0x1a1fb939a00, Key: []byte("k"), Value: []byte("v1"),
		Headers: []record.Header{{Key: "h"}},
	}
	wantViews(t, readAll(t, raw, record.ReadOptions{}), []record.View{want})
	b := record.NewBuilder()
	b.SetBaseOffset(5)
	b.SetLeaderEpoch(2)
	b.Append(&want)
	got, err := b.Finish(record.None)
	if err != nil || !bytes.Equal(got, raw) {
		t.Errorf("built %x, %v\nwant  %x", got, err, raw)
	}
}

// patch copies a batch, writes raw at a place and seals it again.
func patch(b []byte, at int, raw ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], raw)
	return seal(b)
}

func TestCorruptBatchesAreNamed(t *testing.T) {
	good := handMadeBatch(t)
	flipped := bytes.Clone(good)
	flipped[70] ^= 1
	first := record.HeaderSize
	cases := []struct {
		name  string
		batch []byte
		err   error
		field string
	}{
		{"flipped byte", flipped, record.ErrCRC, "crc"},
		{"magic 1", patch(good, 16, 1), record.ErrMagic, "magic"},
		{"length too small", patch(good, 8, 0, 0, 0, 48), record.ErrCorrupt, "length"},
		{"length negative", patch(good, 8, 0xff, 0xff, 0xff, 0xff), record.ErrCorrupt, "length"},
		{"negative base offset", patch(good, 0, 0x80), record.ErrCorrupt, "base offset"},
		{"last offset above int64", patch(good, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), record.ErrCorrupt, "base offset"},
		{"negative last offset delta", patch(good, 23, 0xff), record.ErrCorrupt, "last offset delta"},
		{"negative count", patch(good, 57, 0xff), record.ErrCorrupt, "count"},
		{"count above offsets", patch(good, 60, 2), record.ErrCorrupt, "count"},
		{"count above bytes", patch(patch(good, 60, 9), 26, 8), record.ErrCorrupt, "count"},
		{"codec 5", patch(good, 22, 5), record.ErrCodec, "codec"},
		{"zero records with bytes", patch(good, 60, 0), record.ErrCorrupt, "count"},
		{"record longer than the batch", patch(good, first, 0x1a), record.ErrCorrupt, "record length"},
		{"record shorter than its fields", patch(good, first, 0x16), record.ErrCorrupt, "header value length"},
		{"negative record length", patch(good, first, 1), record.ErrCorrupt, "record length"},
		{"negative offset delta", patch(good, first+3, 1), record.ErrCorrupt, "offset delta"},
		{"offset delta above the last", patch(good, first+3, 2), record.ErrCorrupt, "offset delta"},
		{"key beyond the record", patch(good, first+4, 40), record.ErrCorrupt, "record"},
		{"key of -2", patch(good, first+4, 3), record.ErrCorrupt, "record"},
		{"header count", patch(good, first+9, 60), record.ErrCorrupt, "header count"},
		{"null header key", patch(good, first+10, 1), record.ErrCorrupt, "header key length"},
		{"not gzip", patch(good, 22, 1), record.ErrDecompress, "records"},
		{"not snappy", patch(good, 22, 2), record.ErrDecompress, "records"},
		{"not lz4", patch(good, 22, 3), record.ErrDecompress, "records"},
		{"not zstd", patch(good, 22, 4), record.ErrDecompress, "records"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// A good batch before it shows that the position is right.
			buf := append(bytes.Clone(good), c.batch...)
			it := record.NewIterator(buf, record.ReadOptions{})
			defer it.Release()
			var v record.View
			for it.Next(&v) {
			}
			var e *record.BatchError
			if !errors.As(it.Err(), &e) || !errors.Is(it.Err(), c.err) {
				t.Fatalf("error %v, want %v", it.Err(), c.err)
			}
			if e.Field != c.field || e.Position != len(good) {
				t.Errorf("error names %s at byte %d, want %s at %d: %v", e.Field, e.Position, c.field, len(good), e)
			}
			if it.Next(&v) || it.NextBatch() || it.NextInBatch(&v) {
				t.Error("the iterator went on after an error")
			}
		})
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	good := handMadeBatch(t)
	for i := 12; i < len(good)*8; i++ {
		at := i / 8
		if at < 16 { // base offset, length and leader epoch: not covered by the CRC
			continue
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (i % 8)
		if _, err := record.Validate(bad); err == nil {
			t.Errorf("bit %d of byte %d flipped, and the batch is still valid", i%8, at)
		}
	}
}

func TestValidateSaysTruncated(t *testing.T) {
	good := handMadeBatch(t)
	for n := range len(good) {
		if _, err := record.Validate(good[:n]); !errors.Is(err, record.ErrTruncated) {
			t.Fatalf("%d of %d bytes: error %v, want %v", n, len(good), err, record.ErrTruncated)
		}
		it := record.NewIterator(good[:n], record.ReadOptions{})
		if it.NextBatch() || it.Err() != nil || it.Tail() != n {
			t.Fatalf("%d bytes: error %v, tail %d: a partial tail is a normal end", n, it.Err(), it.Tail())
		}
	}
}

func TestSettersKeepTheBatchValid(t *testing.T) {
	b := handMadeBatch(t)
	record.SetBaseOffset(b, 1<<40)
	record.SetLeaderEpoch(b, 77)
	record.SetProducer(b, 9, 2, math.MaxInt32)
	record.SetLogAppendTime(b, 123456)
	h, err := record.Validate(b)
	if err != nil {
		t.Fatal(err)
	}
	if h.BaseOffset != 1<<40 || h.LeaderEpoch != 77 || h.ProducerID != 9 || h.ProducerEpoch != 2 || h.BaseSequence != math.MaxInt32 || !h.LogAppendTime() {
		t.Errorf("header %+v", h)
	}
	if v := readAll(t, b, record.ReadOptions{})[0]; v.Offset != 1<<40 || v.Timestamp != 123456 {
		t.Errorf("record at %d of %d, want offset 1<<40 and the append time", v.Offset, v.Timestamp)
	}
	if got := record.AddSequence(math.MaxInt32, 1); got != 0 {
		t.Errorf("the sequence after the greatest is %d, want 0", got)
	}
}

func TestCleanerKeepsOffsetsAndProducer(t *testing.T) {
	src := goldenFile(t, "none")
	h, err := record.Validate(src)
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder()
	b.ResetFrom(&h)
	b.SetDeleteHorizon(goldenTime + 777)
	var want []record.View
	for i, v := range readAll(t, src, record.ReadOptions{}) {
		if i%3 == 1 {
			b.AppendAt(&v)
			want = append(want, v)
		}
	}
	for _, c := range codecs {
		out, err := b.Finish(c)
		if err != nil {
			t.Fatal(err)
		}
		wantViews(t, readAll(t, out, record.ReadOptions{}), want)
		got, err := record.Validate(out)
		if err != nil {
			t.Fatal(err)
		}
		if got.BaseOffset != 100 || got.LastOffset() != h.LastOffset() || got.ProducerID != 4711 || got.BaseSequence != 500 ||
			got.LastSequence() != h.LastSequence() || got.Count != 3 || !got.Transactional() {
			t.Errorf("%s: header %+v", c, got)
		}
		if ms, ok := got.DeleteHorizon(); !ok || ms != goldenTime+777 {
			t.Errorf("%s: delete horizon %d, %v", c, ms, ok)
		}
		if _, err := record.CheckRecords(out, 0); err == nil {
			t.Errorf("%s: CheckRecords takes a batch with gaps for a producer's", c)
		}
	}
	empty := record.AppendEmptyBatch(nil, h)
	got, err := record.Validate(empty)
	if err != nil || got.Count != 0 || got.LastOffset() != h.LastOffset() || got.LastSequence() != h.LastSequence() || len(empty) != record.HeaderSize {
		t.Errorf("empty batch %+v, %v", got, err)
	}
	if n := len(readAll(t, append(empty, src...), record.ReadOptions{})); n != 10 {
		t.Errorf("%d records behind an empty batch, want 10", n)
	}
}

func TestBuilderReportsMisuse(t *testing.T) {
	b := record.NewBuilder()
	b.SetBaseOffset(10)
	for _, o := range []record.Offset{12, 12} {
		b.AppendAt(&record.View{Offset: o})
	}
	if _, err := b.Finish(record.None); err == nil {
		t.Error("an offset was taken twice")
	}
	b.Reset()
	b.Append(&record.View{})
	if _, err := b.Finish(9); !errors.Is(err, record.ErrCodec) {
		t.Errorf("codec 9: error %v, want %v", err, record.ErrCodec)
	}
	if _, err := b.Finish(record.None); err != nil {
		t.Errorf("after a refused codec: %v", err)
	}
}

func TestNextBatchDecidesBatchByBatch(t *testing.T) {
	data, marker := goldenFile(t, "zstd"), goldenFile(t, "commit")
	buf := append(append(append([]byte{}, data...), marker...), data...)
	it := record.NewIterator(buf, record.ReadOptions{})
	defer it.Release()
	var v record.View
	var kinds []bool
	for it.NextBatch() {
		kinds = append(kinds, it.Batch().Control())
		if !bytes.Equal(it.Raw(), buf[it.Position():it.Position()+it.Batch().Size()]) {
			t.Error("Raw is not the current batch")
		}
		n := 0
		for it.NextInBatch(&v) {
			n++
		}
		if n != int(it.Batch().Count) {
			t.Errorf("%d records in a batch of %d", n, it.Batch().Count)
		}
	}
	if len(kinds) != 3 || kinds[0] || !kinds[1] || kinds[2] || it.Err() != nil {
		t.Errorf("control flags of the batches %v, %v", kinds, it.Err())
	}
	if n := len(readAll(t, buf, record.ReadOptions{SkipControl: true})); n != 600 {
		t.Errorf("%d records without the marker, want 600", n)
	}
}

func TestDecompressionIsBounded(t *testing.T) {
	b := record.NewBuilder()
	b.Append(&record.View{Value: make([]byte, 8<<20)})
	for _, c := range codecs[1:] {
		batch, err := b.Finish(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = record.CheckRecords(batch, 1<<20)
		if !errors.Is(err, record.ErrDecompressedSize) {
			t.Errorf("%s: 8 MiB under a limit of 1 MiB: error %v, want %v", c, err, record.ErrDecompressedSize)
		}
		h, err := record.CheckRecords(batch, b.Size()-record.HeaderSize)
		if err != nil || h.Count != 1 {
			t.Errorf("%s: exactly the limit: %v", c, err)
		}
		if _, err = record.CheckRecords(batch, b.Size()-record.HeaderSize-1); !errors.Is(err, record.ErrDecompressedSize) {
			t.Errorf("%s: one byte above the limit: %v", c, err)
		}
	}
}

func TestOtherControlRecordsAreNotMarkers(t *testing.T) {
	v := record.View{Key: []byte{0, 0, 0, 2}, Value: []byte{0, 0, 0, 0, 0, 0}}
	if _, err := record.ParseMarker(&v); !errors.Is(err, record.ErrNotMarker) {
		t.Errorf("leader change: error %v, want %v", err, record.ErrNotMarker)
	}
	for _, v := range []record.View{{}, {Key: []byte{0, 0, 0}}, {Key: []byte{0, 0, 0, 1}, Value: []byte{0}}, {Key: []byte{0x80, 0, 0, 1}, Value: make([]byte, 6)}} {
		if _, err := record.ParseMarker(&v); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%x %x: error %v, want %v", v.Key, v.Value, err, record.ErrCorrupt)
		}
	}
}

func TestCodecNames(t *testing.T) {
	for _, c := range codecs {
		if got, err := record.ParseCodec(c.String()); err != nil || got != c {
			t.Errorf("%s parses as %s, %v", c, got, err)
		}
	}
	if _, err := record.ParseCodec("brotli"); !errors.Is(err, record.ErrCodec) {
		t.Errorf("brotli: %v", err)
	}
}

func TestOffsetsOfPlainRecordsRiseWithinTheBatch(t *testing.T) {
	b := record.NewBuilder()
	for range 3 {
		b.Append(&record.View{Value: []byte("v")})
	}
	batch, err := b.Finish(record.None)
	if err != nil {
		t.Fatal(err)
	}
	const recordSize, atOffsetDelta = 8, 3
	for _, deltas := range [][3]byte{{0, 0, 2}, {1, 0, 2}, {0, 1, 3}, {0, 2, 1}} {
		bad := bytes.Clone(batch)
		for i, d := range deltas {
			bad[record.HeaderSize+i*recordSize+atOffsetDelta] = d << 1
		}
		var e *record.BatchError
		if _, err := record.CheckRecords(seal(bad), 0); !errors.As(err, &e) || e.Field != "offset delta" {
			t.Errorf("offset deltas %v: error %v, want one about the offset delta", deltas, err)
		}
	}
}
