package record

// CheckFrames walks the lengths of an uncompressed batch's records: there are
// as many as the header counts, and they fill the batch. It costs a few
// nanoseconds a record and looks into none; of a compressed batch it says
// nothing. b begins with the batch, whose header h was read from it.
func CheckFrames(b []byte, h *BatchHeader) error {
	if h.Codec() != None || h.Size() > len(b) {
		return nil
	}
	b = b[:h.Size()]
	p := HeaderSize
	for i := range h.Count {
		u, next := short(b, p)
		if next == tooLong {
			u, next = uvarint32(b, p)
		}
		n := unzigzag32(u)
		if next < 0 || n < 0 || int(n) > len(b)-next {
			return &BatchError{BaseOffset: h.BaseOffset, Record: int(i), Field: "length", Expected: "one within the batch", Found: "one beyond it", Err: ErrCorrupt}
		}
		p = next + int(n)
	}
	if p != len(b) {
		return &BatchError{BaseOffset: h.BaseOffset, Record: int(h.Count) - 1, Field: "length", Expected: "the last record at the batch's end", Found: "bytes after it", Err: ErrCorrupt}
	}
	return nil
}
