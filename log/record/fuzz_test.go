package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/millstream-io/millstream/log/record"
)

// smallBatch is three records: seeds of some tens of bytes keep a fuzzer fast.
func smallBatch(f *testing.F, c record.Codec) []byte {
	b := record.NewBuilder()
	for i := range 3 {
		v := goldenRecord(i)
		b.Append(&v)
	}
	batch, err := b.Finish(c)
	if err != nil {
		f.Fatal(err)
	}
	return bytes.Clone(batch)
}

func addBatches(f *testing.F) {
	for _, c := range codecs {
		f.Add(smallBatch(f, c))
	}
	f.Add(goldenFile(f, "commit"))
	f.Add(handMadeBatch(f))
	f.Add(append(handMadeBatch(f), handMadeBatch(f)[:40]...))
}

// FuzzIterator: any bytes give records or a typed error; never a panic, and
// never a View outside of its batch. Where the batch is uncompressed and has
// no gaps, building its records again gives the same records.
func FuzzIterator(f *testing.F) {
	addBatches(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		it := record.NewIterator(data, record.ReadOptions{SkipCRC: true, MaxDecompressed: 1 << 20})
		defer it.Release()
		var v record.View
		for it.NextBatch() {
			h := *it.Batch()
			last := h.BaseOffset - 1
			b := record.NewBuilder()
			b.ResetFrom(&h)
			var views []record.View
			for it.NextInBatch(&v) {
				if v.Offset <= last || v.Offset > h.LastOffset() {
					t.Fatalf("offset %d after %d in a batch that ends at %d", v.Offset, last, h.LastOffset())
				}
				last = v.Offset
				b.AppendAt(&v)
				views = append(views, copyView(v))
			}
			if it.Err() != nil {
				break
			}
			if len(views) != int(h.Count) {
				t.Fatalf("%d records of a batch of %d, and no error", len(views), h.Count)
			}
			again, err := b.Finish(record.None)
			if err != nil {
				t.Fatal(err)
			}
			wantViews(t, readAll(t, again, record.ReadOptions{}), views)
		}
		var e *record.BatchError
		if err := it.Err(); err != nil && !errors.As(err, &e) {
			t.Fatalf("untyped error %v", err)
		}
	})
}

// FuzzHeader: what parses writes back to the same bytes.
func FuzzHeader(f *testing.F) {
	addBatches(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := record.ParseHeader(data)
		if err != nil {
			return
		}
		if n, ok := record.PeekSize(data); !ok || n != h.Size() {
			t.Fatalf("PeekSize %d, %v; the header says %d", n, ok, h.Size())
		}
		again := bytes.Clone(data[:record.HeaderSize])
		record.SetBaseOffset(again, h.BaseOffset)
		record.SetLeaderEpoch(again, h.LeaderEpoch)
		if !bytes.Equal(again, data[:record.HeaderSize]) {
			t.Fatal("the header reads other than it is written")
		}
	})
}

// FuzzDecompress puts any bytes behind a header of each codec.
func FuzzDecompress(f *testing.F) {
	for _, c := range codecs[1:] {
		f.Add(smallBatch(f, c)[record.HeaderSize:])
	}
	f.Add([]byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x05\x04\x0cabcd"))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x01, 0x09, 0, 0, 'a'})
	f.Fuzz(func(t *testing.T, data []byte) {
		for c := record.Gzip; c <= record.Zstd; c++ {
			batch := append(bytes.Clone(handMadeBatch(t)[:record.HeaderSize]), data...)
			binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
			batch[22] = byte(c)
			if _, err := record.CheckRecords(seal(batch), 1<<16); err != nil {
				var e *record.BatchError
				if !errors.As(err, &e) {
					t.Fatalf("%s: untyped error %v", c, err)
				}
			}
		}
	})
}

// FuzzMarker: a marker that parses is written back to a record that says the same.
func FuzzMarker(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 12})
	f.Add([]byte{0, 0, 0, 0}, []byte{0, 1, 0, 0, 0, 1, 9})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m, err := record.ParseMarker(&record.View{Key: key, Value: value})
		if err != nil {
			return
		}
		v := readAll(t, record.AppendMarkerBatch(nil, 1, 1, m, 5), record.ReadOptions{})[0]
		if again, err := record.ParseMarker(&v); err != nil || again != m {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
