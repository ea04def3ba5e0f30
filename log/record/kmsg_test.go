package record_test

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
)

// randomViews makes records of all shapes, with consecutive offsets from base.
func randomViews(rng *rand.Rand, n int, base record.Offset) []record.View {
	data := func(most int) []byte {
		switch rng.IntN(8) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		b := make([]byte, rng.IntN(most))
		for i := range b {
			b[i] = byte('a' + rng.IntN(6))
		}
		return b
	}
	views := make([]record.View, n)
	for i := range views {
		spread := int64(1) << rng.IntN(45)
		views[i] = record.View{
			Offset: base + record.Offset(i), Timestamp: goldenTime + rng.Int64N(2*spread) - spread,
			Key: data(40), Value: data(1 << rng.IntN(14)),
		}
		if rng.IntN(4) == 0 {
			for range rng.IntN(80) {
				views[i].Headers = append(views[i].Headers, record.Header{Key: string(data(90)), Value: data(90)})
			}
		}
	}
	return views
}

func build(t testing.TB, views []record.View, c record.Codec) []byte {
	t.Helper()
	var b record.Builder
	b.SetBaseOffset(views[0].Offset)
	for i := range views {
		want := b.SizeWith(&views[i])
		b.Append(&views[i])
		if b.Size() != want {
			t.Fatalf("SizeWith said %d, Size is %d", want, b.Size())
		}
	}
	batch, err := b.Finish(c)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(batch)
}

// kmsgBatch encodes the same batch with franz-go's generated codec.
func kmsgBatch(views []record.View) []byte {
	rb := kmsg.NewRecordBatch()
	rb.FirstOffset, rb.PartitionLeaderEpoch, rb.Magic = int64(views[0].Offset), -1, 2
	rb.LastOffsetDelta, rb.NumRecords = int32(len(views)-1), int32(len(views))
	rb.FirstTimestamp, rb.MaxTimestamp = views[0].Timestamp, views[0].Timestamp
	rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = -1, -1, -1
	for i, v := range views {
		rb.MaxTimestamp = max(rb.MaxTimestamp, v.Timestamp)
		r := kmsg.NewRecord()
		r.TimestampDelta64, r.OffsetDelta, r.Key, r.Value = v.Timestamp-rb.FirstTimestamp, int32(i), v.Key, v.Value
		r.TimestampDelta = int32(r.TimestampDelta64)
		for _, h := range v.Headers {
			r.Headers = append(r.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // the length's own varint of 0 is one byte
		rb.Records = r.AppendTo(rb.Records)
	}
	rb.Length = int32(49 + len(rb.Records))
	raw := rb.AppendTo(nil)
	rb.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return rb.AppendTo(nil)
}

func TestBuilderWritesWhatKmsgWrites(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		views := randomViews(rng, 1+rng.IntN(150), record.Offset(rng.Int64N(1<<40)))
		if got, want := build(t, views, record.None), kmsgBatch(views); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %d bytes differ from kmsg's %d", seed, len(got), len(want))
		}
	}
}

func TestRandomBatchesRoundTripInEveryCodec(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var buf []byte
		var want []record.View
		next := record.Offset(rng.IntN(1000))
		for range 1 + rng.IntN(5) {
			views := randomViews(rng, 1+rng.IntN(60), next)
			next += record.Offset(len(views) + rng.IntN(3))
			buf = append(buf, build(t, views, codecs[rng.IntN(len(codecs))])...)
			want = append(want, views...)
		}
		wantViews(t, readAll(t, buf, record.ReadOptions{}), want)
		wantViews(t, readAll(t, buf, record.ReadOptions{SkipCRC: true, KeepRecords: true}), want)

		// A partial batch at the end is left alone; From cuts the beginning.
		from := rng.IntN(len(want))
		cut := buf[:len(buf):len(buf)]
		cut = append(cut, buf[:rng.IntN(record.HeaderSize)]...)
		wantViews(t, readAll(t, cut, record.ReadOptions{From: want[from].Offset}), want[from:])
	}
}

func TestKeepRecordsLeavesEarlierViewsAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var buf []byte
	var want []record.View
	for i := range 4 {
		views := randomViews(rng, 50, record.Offset(50*i))
		buf, want = append(buf, build(t, views, record.Zstd)...), append(want, views...)
	}
	it := record.NewIterator(buf, record.ReadOptions{KeepRecords: true})
	defer it.Release()
	var kept []record.View
	var v record.View
	for it.Next(&v) {
		kept = append(kept, record.View{Offset: v.Offset, Timestamp: v.Timestamp, Key: v.Key, Value: v.Value})
	}
	for i := range want {
		want[i].Headers = nil
		if !reflect.DeepEqual(kept[i], want[i]) {
			t.Fatalf("record %d changed while the iterator went on", i)
		}
	}
}

func TestPathPerRecordAllocatesNothing(t *testing.T) {
	views := randomViews(rand.New(rand.NewPCG(3, 3)), 500, 0)
	b := record.NewBuilder()
	it := record.NewIterator(nil, record.ReadOptions{})
	var v record.View
	run := func() {
		b.Reset()
		for i := range views {
			b.Append(&views[i])
		}
		batch, err := b.Finish(record.None)
		if err != nil {
			t.Fatal(err)
		}
		it.Reset(batch, record.ReadOptions{})
		n := 0
		for it.Next(&v) {
			n++
		}
		if n != len(views) {
			t.Fatalf("%d records, %v", n, it.Err())
		}
	}
	run() // grows the buffers
	if n := testing.AllocsPerRun(10, run); n != 0 {
		t.Errorf("%v allocations for 500 records built and read, want 0", n)
	}
}
