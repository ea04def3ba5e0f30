package record

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// benchValues are the records of FACTS.md's table: 100 bytes, no key, as the
// log's limits were measured.
func benchValues(n int) []View {
	views := make([]View, n)
	for i := range views {
		value := make([]byte, 100)
		for j := 0; j+8 <= len(value); j += 8 {
			binary.LittleEndian.PutUint64(value[j:], uint64(i*j)*0x9e3779b97f4a7c15>>(j%40))
		}
		views[i] = View{Timestamp: 1_795_219_200_000 + int64(i), Value: value}
	}
	return views
}

const benchBatch = 1000 // records: about 108 kB

func benchmarkBatch(b *testing.B, codec Codec) []byte {
	b.Helper()
	builder := NewBuilder()
	for _, v := range benchValues(benchBatch) {
		builder.Append(&v)
	}
	batch, err := builder.Finish(codec)
	if err != nil {
		b.Fatal(err)
	}
	return batch
}

func reportRecords(b *testing.B) {
	b.ReportMetric(float64(b.N)*benchBatch/b.Elapsed().Seconds()/1e6, "Mrec/s")
}

func BenchmarkEncode(b *testing.B) {
	for _, codec := range []Codec{None, Gzip, Snappy, LZ4, Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			views := benchValues(benchBatch)
			builder := NewBuilder()
			b.ReportAllocs()
			for b.Loop() {
				builder.Reset()
				for i := range views {
					builder.Append(&views[i])
				}
				if _, err := builder.Finish(codec); err != nil {
					b.Fatal(err)
				}
			}
			reportRecords(b)
		})
	}
}

func BenchmarkIterate(b *testing.B) {
	for _, codec := range []Codec{None, Gzip, Snappy, LZ4, Zstd} {
		for _, skip := range []bool{false, true} {
			if skip && codec != None {
				continue
			}
			b.Run(fmt.Sprintf("%s/skipCRC=%v", codec, skip), func(b *testing.B) {
				batch := benchmarkBatch(b, codec)
				it := NewIterator(nil, ReadOptions{})
				defer it.Release()
				var v View
				b.ReportAllocs()
				for b.Loop() {
					it.Reset(batch, ReadOptions{SkipCRC: skip})
					n := 0
					for it.Next(&v) {
						n += len(v.Value)
					}
					if n != benchBatch*100 {
						b.Fatal(n, it.Err())
					}
				}
				reportRecords(b)
			})
		}
	}
}

func BenchmarkIterateHeaders(b *testing.B) {
	builder := NewBuilder()
	views := benchValues(benchBatch)
	for i := range views {
		views[i].Headers = []Header{{Key: "__millstream.time", Value: []byte("12345678")}, {Key: "trace", Value: nil}}
		builder.Append(&views[i])
	}
	batch, err := builder.Finish(None)
	if err != nil {
		b.Fatal(err)
	}
	it := NewIterator(nil, ReadOptions{})
	var v View
	b.ReportAllocs()
	for b.Loop() {
		it.Reset(batch, ReadOptions{})
		for it.Next(&v) {
		}
	}
	reportRecords(b)
}

func BenchmarkMurmur2(b *testing.B) {
	key := []byte("host-0123456789a")
	for b.Loop() {
		Murmur2(key)
	}
}
