package record

import "fmt"

// CheckFrames walks the lengths of an uncompressed batch's records: there are
// as many as the header counts, and they fill the batch. It costs a few
// nanoseconds a record and looks into none; of a compressed batch it says
// nothing. b begins with the batch, whose header h was read from it.
func CheckFrames(b []byte, h *BatchHeader) error {
	if h.Codec() != None || h.Size() > len(b) {
		return nil
	}
	return walkFrames(b[HeaderSize:h.Size()], h, false)
}

// CheckPacked is CheckFrames of a compressed batch, which it decompresses for it
// to at most limit bytes (ErrDecompressedSize); and the offsets of the records
// are the base offset and on, without gaps.
func CheckPacked(b []byte, h *BatchHeader, limit int) error {
	scratch := takeScratch()
	defer releaseScratch(scratch)
	rec, err := decompress((*scratch)[:0], h.Codec(), b[HeaderSize:h.Size()], limit)
	if rec != nil {
		*scratch = rec[:0]
	}
	if err != nil {
		return packedError(h, h.Size()-HeaderSize, limit, err)
	}
	return walkFrames(rec, h, true)
}

// packedError is about records that do not decompress.
func packedError(h *BatchHeader, size, limit int, err error) *BatchError {
	return &BatchError{
		BaseOffset: h.BaseOffset, Record: -1, Field: "records",
		Expected: fmt.Sprintf("%s of at most %d bytes decompressed", h.Codec(), limit),
		Found:    fmt.Sprintf("%d compressed bytes", size), Err: err,
	}
}

// walkFrames goes over records from length to length; with deltas it reads each
// one's offset too.
func walkFrames(rec []byte, h *BatchHeader, deltas bool) error {
	p := 0
	for i := range h.Count {
		u, next := short(rec, p)
		if next == tooLong {
			u, next = uvarint32(rec, p)
		}
		n := unzigzag32(u)
		if next < 0 || n < 0 || int(n) > len(rec)-next {
			return &BatchError{BaseOffset: h.BaseOffset, Record: int(i), Field: "length", Expected: "one within the batch", Found: "one beyond it", Err: ErrCorrupt}
		}
		p = next + int(n)
		if !deltas {
			continue
		}
		if delta, ok := offsetDelta(rec[:p], next); !ok || delta != i {
			return &BatchError{BaseOffset: h.BaseOffset, Record: int(i), Field: "offset delta", Expected: fmt.Sprint(i), Found: fmt.Sprint(delta), Err: ErrCorrupt}
		}
	}
	if p != len(rec) {
		return &BatchError{BaseOffset: h.BaseOffset, Record: int(h.Count) - 1, Field: "length", Expected: "the last record at the batch's end", Found: "bytes after it", Err: ErrCorrupt}
	}
	return nil
}

// offsetDelta reads that of the record whose fields begin at b[p] and end with b.
func offsetDelta(b []byte, p int) (int32, bool) {
	for p++; p < len(b) && b[p] >= 0x80; p++ { // past the attributes, over the timestamp
	}
	u, next := uvarint32(b, p+1)
	return unzigzag32(u), next >= 0 && p < len(b)
}
