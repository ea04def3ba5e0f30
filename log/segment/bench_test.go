package segment

import (
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

func benchBatch(b *testing.B, size int) []byte {
	bld := record.NewBuilder()
	v := record.View{Key: []byte("key-0123"), Value: make([]byte, 90)}
	for bld.SizeWith(&v) <= size {
		bld.Append(&v)
	}
	raw, err := bld.Finish(record.None)
	if err != nil {
		b.Fatal(err)
	}
	return append([]byte(nil), raw...)
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			batch := benchBatch(b, size)
			cfg := testConfig(vfs.OS(), Settings{SegmentBytes: 64 << 20, RetentionBytes: 1})
			cfg.Dir = b.TempDir() + "/t-0"
			l, _ := mustOpen(b, cfg, OpenOptions{})
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Append(batch, AppendOptions{}); err != nil {
					b.Fatal(err)
				}
				if l.Bytes() > 256<<20 {
					b.StopTimer()
					if _, err := l.Retain(0); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("batches of %dKiB", size>>10), func(b *testing.B) {
			batch := benchBatch(b, size)
			cfg := testConfig(vfs.OS(), Settings{SegmentBytes: 16 << 20})
			cfg.Dir = b.TempDir() + "/t-0"
			l, _ := mustOpen(b, cfg, OpenOptions{})
			for l.Bytes() < 64<<20 {
				if _, err := l.Append(batch, AppendOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			dst := make([]byte, 0, 256<<10)
			b.ReportAllocs()
			var at record.Offset
			var n int64
			for b.Loop() {
				data, err := l.Read(dst, at, l.End(), cap(dst))
				if err != nil {
					b.Fatal(err)
				}
				n += int64(len(data))
				at = 0
				for p := 0; p < len(data); {
					h, _ := record.ParseHeader(data[p:])
					at, p = h.NextOffset(), p+h.Size()
				}
				if at >= l.End() {
					at = 0
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e9, "GB/s")
		})
	}
}

func BenchmarkAppendSync(b *testing.B) {
	batch := benchBatch(b, 4<<10)
	cfg := testConfig(vfs.OS(), Settings{})
	cfg.Dir = b.TempDir() + "/t-0"
	l, _ := mustOpen(b, cfg, OpenOptions{})
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		res, err := l.Append(batch, AppendOptions{})
		if err == nil {
			err = l.Sync(res.Next)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
