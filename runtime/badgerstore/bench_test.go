package badgerstore

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"testing"

	"github.com/millstream-io/millstream/streams/state"
)

// BenchmarkCheckpoint writes 100,000 entries of 20 + 24 bytes a checkpoint, in
// the order in which a changelog has them.
func BenchmarkCheckpoint(b *testing.B) {
	for _, mem := range []int64{8 << 20, 16 << 20, 32 << 20} {
		for _, sorted := range []bool{false, true} {
			b.Run(fmt.Sprintf("memtable=%dMiB/sorted=%v", mem>>20, sorted), func(b *testing.B) {
				db, err := Open(Config{Dir: b.TempDir(), MemTableBytes: mem})
				if err != nil {
					b.Fatal(err)
				}
				const n = 100_000
				rng := rand.New(rand.NewSource(1))
				var key, value [24]byte
				for i := 0; b.Loop(); i++ {
					err := db.Checkpoint(1, []byte("r"), func(batch state.Batch) error {
						for j := range n {
							k := uint64(j) * 1000
							if !sorted {
								k = rng.Uint64() % 1_000_000
							}
							binary.BigEndian.PutUint64(key[8:], k)
							if err := batch.Put(1, key[:20], value[:]); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "entries/s")
				b.ReportMetric(float64(db.SizeBytes())/(1<<20), "MiB-disk")
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkDeleteRange expires windows of 10,000 entries, one a checkpoint.
func BenchmarkDeleteRange(b *testing.B) {
	db, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const n = 10_000
	fill := func(w int64) {
		err := db.Checkpoint(1, []byte("r"), func(batch state.Batch) error {
			for j := range n {
				if err := batch.Put(1, state.AppendWindowKey(nil, w, fmt.Append(nil, j)), []byte("0123456789abcdef")); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for i := int64(0); b.Loop(); i++ {
		b.StopTimer()
		fill(i)
		b.StartTimer()
		err := db.Checkpoint(1, []byte("r"), func(batch state.Batch) error {
			return batch.DeleteRange(1, state.AppendWindowStart(nil, i), state.AppendWindowStart(nil, i+1))
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "entries/s")
}
