package record

import "fmt"

// DefaultMaxDecompressed bounds the records of one batch after decompression, in bytes.
const DefaultMaxDecompressed = 64 << 20

// ReadOptions say how an Iterator reads. The zero value checks everything and
// gives every record, control records too.
type ReadOptions struct {
	// SkipCRC leaves out the checksum, for bytes that were validated already.
	SkipCRC bool
	// SkipControl passes over control batches (transaction markers).
	SkipControl bool
	// From passes over records below this offset: a fetched chunk begins with
	// the batch that holds the offset asked for, not with its record.
	From Offset
	// MaxDecompressed bounds the records of one compressed batch, in bytes;
	// DefaultMaxDecompressed if 0.
	MaxDecompressed int
	// KeepRecords decompresses every batch into memory of its own, so that
	// keys and values may be kept as long as the caller likes (the buffer
	// given to the iterator is the caller's anyway). Headers slices are still reused.
	KeepRecords bool
}

// Iterator reads the records of one or more whole batches in a buffer.
//
// A partial batch at the end of the buffer (as in a fetch response) ends the
// iteration without an error; Tail tells its size.
//
// Invariant: buf[pos:next] is the current batch; rec are the bytes of its
// records, and the record with that index begins at rec[at].
type Iterator struct {
	rec       []byte
	at        int
	index     int32 // of the next record
	count     int32 // records in the batch; 0 until they are opened
	lastDelta int32 // offset delta of the record before
	opened    bool

	h         BatchHeader
	headers   []Header
	opts      ReadOptions
	buf       []byte
	pos, next int
	err       error
	scratch   *[]byte // decompressed records, from the pool
}

// NewIterator makes an iterator over buf. Release gives its memory back.
func NewIterator(buf []byte, opts ReadOptions) *Iterator {
	it := &Iterator{}
	it.Reset(buf, opts)
	return it
}

// Reset begins again over another buffer, keeping the iterator's memory.
func (it *Iterator) Reset(buf []byte, opts ReadOptions) {
	if opts.MaxDecompressed <= 0 {
		opts.MaxDecompressed = DefaultMaxDecompressed
	}
	it.buf, it.opts = buf, opts
	it.pos, it.next, it.err = 0, 0, nil
	it.closeBatch()
	it.h = BatchHeader{}
}

// Release gives the decompression buffer back; what Views point to in it is
// invalid from here on. The iterator may be used again after Reset.
func (it *Iterator) Release() {
	it.closeBatch()
	it.buf = nil
	it.pos, it.next = 0, 0
	clear(it.headers[:cap(it.headers)])
	if it.scratch != nil {
		releaseScratch(it.scratch)
		it.scratch = nil
	}
}

func (it *Iterator) closeBatch() {
	it.rec, it.at, it.index, it.count, it.lastDelta, it.opened = nil, 0, 0, 0, -1, false
}

// Err is the error that ended the iteration, nil at a normal end. It is a *BatchError.
func (it *Iterator) Err() error { return it.err }

// Batch is the header of the current batch, that of the record read last.
// It is valid until the iterator moves to the next batch.
func (it *Iterator) Batch() *BatchHeader { return &it.h }

// Position is where the current batch begins in the buffer.
func (it *Iterator) Position() int { return it.pos }

// Raw is the current batch's bytes.
func (it *Iterator) Raw() []byte { return it.buf[it.pos:it.next] }

// Tail is how many bytes follow the current batch; after the end of the
// iteration, the size of the partial batch there.
func (it *Iterator) Tail() int { return len(it.buf) - it.next }

// Next reads the next record of the buffer into v, going from batch to batch.
func (it *Iterator) Next(v *View) bool {
	for {
		if it.index < it.count {
			if !it.decode(v) {
				return false
			}
			if v.Offset >= it.opts.From {
				return true
			}
			continue
		}
		if it.more() {
			continue
		}
		if it.err != nil || !it.NextBatch() {
			return false
		}
	}
}

// NextInBatch reads the next record of the current batch into v; false at the
// batch's end. For callers that decide batch by batch with NextBatch.
func (it *Iterator) NextInBatch(v *View) bool {
	for it.index < it.count || it.more() {
		if !it.decode(v) {
			return false
		}
		if v.Offset >= it.opts.From {
			return true
		}
	}
	return false
}

// NextBatch moves to the next batch, leaving out what remains of this one. It
// checks the header and the CRC; records are decompressed when the first is read.
func (it *Iterator) NextBatch() bool {
	it.closeBatch()
	for it.err == nil {
		b := it.buf[it.next:]
		if len(b) < lengthSize {
			return false
		}
		size, ok := PeekSize(b)
		if ok && size > len(b) {
			return false
		}
		it.pos = it.next
		if !ok {
			it.fail(badLength(b))
			return false
		}
		// The checksum waits until it is known that the batch is wanted.
		if err := parseHeader(b, &it.h); err != nil {
			it.fail(err)
			return false
		}
		it.next += size
		if it.h.LastOffset() < it.opts.From || it.opts.SkipControl && it.h.Control() {
			continue
		}
		if err := validate(b, &it.h, it.opts.SkipCRC); err != nil {
			it.fail(err)
			return false
		}
		return true
	}
	return false
}

// badLength explains a length field that no batch has: most often another magic.
func badLength(b []byte) *BatchError {
	var h BatchHeader
	if err := parseHeader(b, &h); err != nil && err.Err != ErrTruncated {
		return err
	}
	if len(b) > atMagic && b[atMagic] != magicV2 {
		return headerError(ErrMagic, NoOffset, "magic", "2", b[atMagic])
	}
	return headerError(ErrCorrupt, NoOffset, "length", fmt.Sprintf("%d..%d", minBatchLength, maxBatchLength),
		int32(uint32(b[atLength])<<24|uint32(b[atLength+1])<<16|uint32(b[atLength+2])<<8|uint32(b[atLength+3])))
}

func (it *Iterator) fail(err *BatchError) {
	err.Position = it.pos
	it.err = err
	it.closeBatch()
}

// more opens the current batch's records once; false when there are none (left).
func (it *Iterator) more() bool {
	if it.opened || it.err != nil || it.next == it.pos {
		return false
	}
	it.opened = true
	rec := it.buf[it.pos+HeaderSize : it.next]
	if codec := it.h.Codec(); codec != None && it.h.Count > 0 {
		var err error
		if rec, err = it.decompress(codec, rec); err != nil {
			it.fail(packedError(&it.h, it.next-it.pos-HeaderSize, it.opts.MaxDecompressed, err))
			return false
		}
	}
	it.rec, it.count = rec, it.h.Count
	if it.count == 0 && len(rec) > 0 {
		it.failRecord("count", "records for the bytes that follow", fmt.Sprintf("0 records and %d bytes", len(rec)))
		return false
	}
	return it.count > 0
}

func (it *Iterator) decompress(codec Codec, src []byte) ([]byte, error) {
	if it.opts.KeepRecords {
		return decompress(nil, codec, src, it.opts.MaxDecompressed)
	}
	if it.scratch == nil {
		it.scratch = takeScratch()
	}
	rec, err := decompress((*it.scratch)[:0], codec, src, it.opts.MaxDecompressed)
	if rec != nil {
		*it.scratch = rec[:0]
	}
	return rec, err
}

func (it *Iterator) failRecord(field, expected string, found any) bool {
	it.fail(&BatchError{
		BaseOffset: it.h.BaseOffset, Record: int(it.index), Field: field,
		Expected: expected, Found: fmt.Sprint(found), Err: ErrCorrupt,
	})
	return false
}
