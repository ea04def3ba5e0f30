package logclient_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Several writers commit and abort while several readers follow: each reader
// sees every committed transaction of each writer, whole and in order, and
// nothing else.
func TestWritersAndReadersAtOnce(t *testing.T) {
	const writers, readers, transactions, partitions = 4, 3, 30, 3
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", partitions)
		from := offsets{}
		for _, tp := range all("in", partitions) {
			from[tp] = 0
		}
		keeps := func(w, n int) bool { return (w+n)%3 != 0 }
		var wg sync.WaitGroup
		for i := range writers {
			w := newWriter(t, log, logclient.TxnID(fmt.Sprint("w", i)))
			wg.Go(func() {
				for n := range transactions {
					for p := range partitions {
						if err := w.Append(tp("in", p), &record.View{Key: fmt.Append(nil, i), Value: fmt.Append(nil, n)}); err != nil {
							t.Error(err)
							return
						}
					}
					err := error(nil)
					if keeps(i, n) {
						_, err = w.Commit(ctx, nil, logclient.Generation{})
					} else {
						err = w.Abort(ctx)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		expected := map[string]string{}
		records := 0
		for i := range writers {
			for p := range partitions {
				for n := range transactions {
					if keeps(i, n) {
						expected[fmt.Sprintf("=%d on %d", i, p)] += fmt.Sprintf("=%d ", n)
						records++
					}
				}
			}
		}
		for range readers {
			r := newReader(t, log, logclient.ReaderConfig{})
			wg.Go(func() {
				r.Assign(from)
				have, read := map[string]string{}, 0
				for read < records {
					batches, err := r.Poll(ctx, 4<<10)
					if err != nil {
						t.Errorf("after %d of %d records: %v", read, records, err)
						return
					}
					for _, b := range batches {
						var v record.View
						for b.Next(&v) {
							have[fmt.Sprintf("%s on %d", text(v.Key), b.TopicPartition().Partition)] += text(v.Value) + " "
							read++
						}
						b.Release()
					}
				}
				if fmt.Sprint(have) != fmt.Sprint(expected) {
					t.Errorf("a reader saw\n%v\nexpected\n%v", have, expected)
				}
			})
		}
		wg.Wait()
	})
}
