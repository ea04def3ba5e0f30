package logclient_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// onEachB runs a benchmark on the implementations that keep files.
func onEachB(b *testing.B, bench func(b *testing.B, log logclient.Log)) {
	for _, impl := range implementations {
		if impl.name != "embedded" {
			continue
		}
		b.Run(impl.name, func(b *testing.B) {
			log, _ := impl.open(b)
			bench(b, log)
		})
	}
}

// fill writes n records of about 100 bytes over all partitions, 100,000 a transaction.
func fill(b *testing.B, log logclient.Log, tps []record.TopicPartition, n int) {
	b.Helper()
	w := newWriter(b, log, "fill")
	v := record.View{Key: []byte("host-0001"), Value: make([]byte, 84)}
	for i := range n {
		v.Timestamp = int64(i)
		if err := w.Append(tps[i%len(tps)], &v); err != nil { // noError's Helper would be half of it
			b.Fatal(err)
		}
		if i%100_000 == 99_999 {
			commit(b, w)
		}
	}
	commit(b, w)
}

// BenchmarkIterate reads 100-byte records through the seam from the page cache:
// one goroutine, six partitions, the fetch and the decoding together.
func BenchmarkIterate(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(fmt.Sprint("keep=", keep), func(b *testing.B) {
			onEachB(b, func(b *testing.B, log logclient.Log) {
				const records, partitions = 1_000_000, 6
				ensure(b, log, "in", partitions)
				tps := all("in", partitions)
				fill(b, log, tps, records)
				from, ends := offsets{}, offsets{}
				for _, tp := range tps {
					from[tp] = 0
					ends[tp] = lookup(b, log, tp, logclient.At{Kind: logclient.AtStable}).Offset
				}
				r := newReader(b, log, logclient.ReaderConfig{KeepChunks: keep})
				ctx := context.Background()
				b.ReportAllocs()
				b.ResetTimer()
				read, bytes := 0, 0
				for read < b.N {
					r.Assign(from)
					for open := partitions; open > 0; {
						batches, err := r.Poll(ctx, 1<<20)
						noError(b, err)
						for _, batch := range batches {
							var v record.View
							for batch.Next(&v) {
								read++
								bytes += len(v.Value)
							}
							noError(b, batch.Err())
							if batch.NextOffset() >= ends[batch.TopicPartition()] {
								open--
							}
							batch.Release()
						}
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(read)/b.Elapsed().Seconds()/1e6, "Mrec/s")
			})
		})
	}
}

// BenchmarkAppend appends 100-byte records to six partitions of one topic and
// commits every 200,000.
func BenchmarkAppend(b *testing.B) {
	onEachB(b, func(b *testing.B, log logclient.Log) {
		ensure(b, log, "in", 6)
		tps := all("in", 6)
		w := newWriter(b, log, "w")
		v := record.View{Key: []byte("host-0001"), Value: make([]byte, 84)}
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			v.Timestamp = int64(i)
			if err := w.Append(tps[i%6], &v); err != nil {
				b.Fatal(err)
			}
			if i%200_000 == 199_999 {
				commit(b, w)
			}
		}
		commit(b, w)
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrec/s")
	})
}

// BenchmarkCommit is one transaction of a worker: some output on six
// partitions, as much changelog, the positions of six inputs.
func BenchmarkCommit(b *testing.B) {
	onEachB(b, func(b *testing.B, log logclient.Log) {
		ctx := context.Background()
		for _, topic := range []string{"in", "out", "changelog"} {
			ensure(b, log, topic, 6)
		}
		_, a := join(b, log, "app", "in")
		w := newWriter(b, log, "w")
		v := record.View{Key: []byte("host-0001"), Value: make([]byte, 84)}
		in := logclient.Positions{}
		for _, tp := range all("in", 6) {
			in[tp] = logclient.Position{}
		}
		b.ReportAllocs()
		for b.Loop() {
			for _, topic := range []string{"out", "changelog"} {
				for p := range 6 {
					for range 10 {
						noError(b, w.Append(tp(topic, p), &v))
					}
				}
			}
			_, err := w.Commit(ctx, in, a.Generation)
			noError(b, err)
		}
	})
}
