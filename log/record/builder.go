package record

import (
	"fmt"
	"math"
	"slices"
)

// Builder encodes records into one batch after another, reusing its memory.
//
//	b := record.NewBuilder()
//	b.Append(&v)
//	batch, err := b.Finish(record.LZ4)
//	... write batch ...
//	b.Reset()
//
// The zero Builder is as good as a new one. Reset puts everything back to the
// defaults: base offset 0, no leader epoch, no producer, create time, neither
// transactional nor control.
//
// Invariant: buf is empty or begins with HeaderSize bytes kept free for the header.
type Builder struct {
	buf  []byte // header and records, uncompressed
	out  []byte // header and records, compressed
	h    BatchHeader
	last int32 // offset delta of the last record, -1 before the first

	minLastDelta int32 // what the last offset delta is at least: compaction keeps it
	fixedBase    bool  // BaseTimestamp was set (delete horizon), not the first record's
	err          error // the first misuse; Finish reports it
}

// NewBuilder makes an empty builder.
func NewBuilder() *Builder {
	b := &Builder{}
	b.Reset()
	return b
}

// Reset forgets the records and all settings and keeps the memory. Batches
// that Finish gave are invalid from here on.
func (b *Builder) Reset() {
	if cap(b.buf) < HeaderSize {
		b.buf = make([]byte, HeaderSize, 4<<10)
	}
	b.buf = b.buf[:HeaderSize]
	b.h = BatchHeader{
		Magic: magicV2, LeaderEpoch: NoLeaderEpoch, BaseTimestamp: NoTimestamp, MaxTimestamp: NoTimestamp,
		ProducerID: NoProducerID, ProducerEpoch: NoProducerEpoch, BaseSequence: NoSequence,
	}
	b.last, b.minLastDelta, b.fixedBase, b.err = -1, 0, false, nil
}

// ResetFrom begins a batch that replaces the one with header h and keeps its
// base offset, last offset, leader epoch, producer, flags and append time: the
// cleaner copies the surviving records into it with AppendAt.
func (b *Builder) ResetFrom(h *BatchHeader) {
	b.Reset()
	b.h.BaseOffset, b.h.LeaderEpoch = h.BaseOffset, h.LeaderEpoch
	b.h.ProducerID, b.h.ProducerEpoch, b.h.BaseSequence = h.ProducerID, h.ProducerEpoch, h.BaseSequence
	b.h.Attributes = h.Attributes &^ (codecMask | DeleteHorizon)
	b.minLastDelta = h.LastOffsetDelta
	if horizon, ok := h.DeleteHorizon(); ok {
		b.SetDeleteHorizon(horizon)
	}
	if h.LogAppendTime() {
		b.h.MaxTimestamp = h.MaxTimestamp
	}
}

func (b *Builder) ensure() {
	if len(b.buf) == 0 {
		b.Reset()
	}
}

// SetBaseOffset sets the first offset; by default 0, for the broker to assign.
func (b *Builder) SetBaseOffset(o Offset) { b.ensure(); b.h.BaseOffset = o }

// SetLeaderEpoch sets the leader epoch; by default none, for the broker to assign.
func (b *Builder) SetLeaderEpoch(e LeaderEpoch) { b.ensure(); b.h.LeaderEpoch = e }

// SetProducer makes the batch idempotent: the record with offset delta n has sequence baseSequence+n.
func (b *Builder) SetProducer(id ProducerID, epoch ProducerEpoch, baseSequence int32) {
	b.ensure()
	b.h.ProducerID, b.h.ProducerEpoch, b.h.BaseSequence = id, epoch, baseSequence
}

// SetTransactional makes the batch part of its producer's open transaction.
func (b *Builder) SetTransactional(on bool) { b.setAttribute(Transactional, on) }

// SetControl marks the batch as one of control records (see AppendMarkerBatch).
func (b *Builder) SetControl(on bool) { b.setAttribute(Control, on) }

func (b *Builder) setAttribute(bit Attributes, on bool) {
	b.ensure()
	b.h.Attributes &^= bit
	if on {
		b.h.Attributes |= bit
	}
}

// SetLogAppendTime makes all records carry the broker's time, in ms.
func (b *Builder) SetLogAppendTime(ms int64) {
	b.setAttribute(LogAppendTime, true)
	b.h.MaxTimestamp = ms
}

// SetDeleteHorizon sets the time in ms from which the cleaner may drop the
// batch's tombstones. Call it before the first record.
func (b *Builder) SetDeleteHorizon(ms int64) {
	b.setAttribute(DeleteHorizon, true)
	if b.h.Count > 0 {
		b.misuse("SetDeleteHorizon after %d records: the base timestamp is taken", b.h.Count)
		return
	}
	b.h.BaseTimestamp, b.fixedBase = ms, true
}

func (b *Builder) misuse(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("record.Builder: "+format, args...)
	}
}

// Count is the number of records so far.
func (b *Builder) Count() int { return int(b.h.Count) }

// Size is the batch in bytes so far, before compression.
func (b *Builder) Size() int { return max(len(b.buf), HeaderSize) }

// SizeWith is Size after Append(v), for a caller that keeps batches under a bound.
func (b *Builder) SizeWith(v *View) int {
	b.ensure()
	body := b.bodySize(v, b.last+1)
	return len(b.buf) + uvarintSize(zigzag32(int32(body))) + body
}

// Append copies a record to the end with the next offset; v.Offset is not looked at.
func (b *Builder) Append(v *View) {
	b.ensure()
	b.append(v, b.last+1)
}

// AppendAt copies a record to the end with v.Offset, which must be above the
// last one's and not below the base offset. Gaps are what compaction leaves.
func (b *Builder) AppendAt(v *View) {
	b.ensure()
	delta := v.Offset - b.h.BaseOffset
	if delta <= Offset(b.last) || delta > math.MaxInt32 {
		b.misuse("record offset %d does not follow base offset %d + %d within 31 bits", v.Offset, b.h.BaseOffset, b.last)
		return
	}
	b.append(v, int32(delta))
}

// bodySize is the record's size without its length field.
func (b *Builder) bodySize(v *View, offsetDelta int32) int {
	base := b.h.BaseTimestamp
	if b.h.Count == 0 && !b.fixedBase {
		base = v.Timestamp
	}
	headers := 1
	if len(v.Headers) > 0 {
		headers = headersSize(v.Headers)
	}
	return 1 + uvarintSize(zigzag64(v.Timestamp-base)) + uvarintSize(zigzag32(offsetDelta)) +
		bytesSize(v.Key) + bytesSize(v.Value) + headers
}

func bytesSize(p []byte) int {
	if p == nil {
		return 1
	}
	return uvarintSize(uint64(len(p))<<1) + len(p)
}

func headersSize(headers []Header) int {
	n := uvarintSize(uint64(len(headers)) << 1)
	for i := range headers {
		n += uvarintSize(uint64(len(headers[i].Key))<<1) + len(headers[i].Key) + bytesSize(headers[i].Value)
	}
	return n
}

func (b *Builder) append(v *View, offsetDelta int32) {
	body := b.bodySize(v, offsetDelta)
	if body > math.MaxInt32-HeaderSize-len(b.buf) {
		if b.err == nil {
			b.err = fmt.Errorf("%w: %d bytes and a record of %d are above 2 GiB", ErrBatchTooLarge, len(b.buf), body)
		}
		return
	}
	if b.h.Count == 0 {
		b.first(v)
	}
	if v.Timestamp > b.h.MaxTimestamp && b.h.Attributes&LogAppendTime == 0 {
		b.h.MaxTimestamp = v.Timestamp
	}
	b.h.Count++
	b.last = offsetDelta

	at := len(b.buf)
	length := zigzag32(int32(body))
	end := at + uvarintSize(length) + body
	if end > cap(b.buf) {
		b.buf = slices.Grow(b.buf, end-at)
	}
	b.buf = b.buf[:end]
	w := b.buf[at:end:end]

	p := putUvarint(w, 0, length)
	w[p] = 0 // attributes: none defined
	p = putUvarint(w, p+1, zigzag64(v.Timestamp-b.h.BaseTimestamp))
	p = putUvarint(w, p, zigzag32(offsetDelta))
	p = putBytes(w, p, v.Key)
	p = putBytes(w, p, v.Value)
	if len(v.Headers) == 0 {
		w[p] = 0
		return
	}
	putHeaders(w, p, v.Headers)
}

// first takes the base timestamp from the first record. The greatest one
// starts there too: NoTimestamp may lie above it.
func (b *Builder) first(v *View) {
	if !b.fixedBase {
		b.h.BaseTimestamp = v.Timestamp
	}
	if b.h.Attributes&LogAppendTime == 0 {
		b.h.MaxTimestamp = v.Timestamp
	}
}

func putBytes(w []byte, p int, data []byte) int {
	if data == nil {
		w[p] = 1 // zigzag of -1
		return p + 1
	}
	p = putUvarint(w, p, uint64(len(data))<<1)
	return p + copy(w[p:], data)
}

func putHeaders(w []byte, p int, headers []Header) {
	p = putUvarint(w, p, uint64(len(headers))<<1)
	for i := range headers {
		p = putUvarint(w, p, uint64(len(headers[i].Key))<<1)
		p += copy(w[p:], headers[i].Key)
		p = putBytes(w, p, headers[i].Value)
	}
}

// Header is the header as Finish would write it, but for length and CRC.
func (b *Builder) Header() BatchHeader {
	b.ensure()
	h := b.h
	h.LastOffsetDelta = max(b.last, b.minLastDelta)
	return h
}

// Finish compresses the records, completes the header and gives the batch,
// which stays valid until the next call of Append, AppendAt, Finish or Reset.
// After Finish more records may be appended, for a greater batch of them all.
//
// A batch without records is well-formed, but only the cleaner writes such.
func (b *Builder) Finish(codec Codec) ([]byte, error) {
	return b.FinishWith(Compression{Codec: codec})
}

// FinishWith is Finish with a codec's level.
func (b *Builder) FinishWith(c Compression) ([]byte, error) {
	codec := c.Codec
	b.ensure()
	if b.err != nil {
		return nil, b.err
	}
	batch := b.buf
	if codec != None && b.h.Count > 0 {
		out, err := compress(append(b.out[:0], b.buf[:HeaderSize]...), c, b.buf[HeaderSize:])
		if err != nil {
			return nil, err
		}
		b.out, batch = out, out
	}
	if len(batch) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d bytes", ErrBatchTooLarge, len(batch))
	}
	h := b.Header()
	h.Length = int32(len(batch) - lengthSize)
	if b.h.Count > 0 {
		h.Attributes |= Attributes(codec) & codecMask
	}
	h.put(batch)
	resetCRC(batch)
	return batch, nil
}
