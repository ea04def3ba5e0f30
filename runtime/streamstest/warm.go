package streamstest

import (
	"sync"

	"github.com/millstream-io/millstream/log/record"
)

// warmUp uses each codec once outside of any bubble: zstd keeps channels for the
// life of the process, and a channel belongs to the bubble that it is made in.
var warmUp = sync.OnceFunc(func() {
	for codec := record.None; codec <= record.Zstd; codec++ {
		b := record.NewBuilder()
		b.Append(&record.View{Value: make([]byte, 64)})
		raw, err := b.Finish(codec)
		if err != nil {
			panic("streamstest: " + codec.String() + ": " + err.Error())
		}
		it := record.NewIterator(raw, record.ReadOptions{})
		var v record.View
		for it.NextBatch() {
			for it.NextInBatch(&v) {
			}
		}
		it.Release()
	}
})
