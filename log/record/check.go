package record

import "fmt"

// CheckRecords reads all records of the batch that begins at b[0] and checks
// what a broker asks of a producer's batch beyond Validate: every record
// parses, and offsets are the base offset and on, without gaps.
//
// maxDecompressed bounds a compressed batch in bytes; DefaultMaxDecompressed if 0.
func CheckRecords(b []byte, maxDecompressed int) (BatchHeader, error) {
	h, err := Validate(b)
	if err != nil {
		return h, err
	}
	if h.Count < 1 || h.Count != h.LastOffsetDelta+1 {
		return h, headerError(ErrCorrupt, h.BaseOffset, "count", fmt.Sprintf("%d (last offset delta + 1)", h.LastOffsetDelta+1), h.Count)
	}
	it := NewIterator(b[:h.Size()], ReadOptions{SkipCRC: true, MaxDecompressed: maxDecompressed})
	defer it.Release()
	var v View
	for it.Next(&v) {
		// The reading is the check: count rising deltas within 0..count-1 have no gap.
	}
	return h, it.Err()
}
