package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// Sizes and places of the header's fields; docs/format/batch.md, "Header".
const (
	HeaderSize = 61 // bytes before the records
	lengthSize = 12 // base offset and length: what Length does not count

	atBaseOffset      = 0
	atLength          = 8
	atLeaderEpoch     = 12
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21 // the checksum covers from here to the end
	atLastOffsetDelta = 23
	atBaseTimestamp   = 27
	atMaxTimestamp    = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atBaseSequence    = 53
	atCount           = 57

	magicV2 = 2

	minBatchLength = HeaderSize - lengthSize
	maxBatchLength = math.MaxInt32 - lengthSize
	minRecordSize  = 7 // length, attributes, two deltas, null key, null value, no headers
)

// Attributes are a batch's flags; docs/format/batch.md, "Attributes".
type Attributes int16

// The bits of Attributes above the codec's three.
const (
	codecMask     Attributes = 0x07
	LogAppendTime Attributes = 0x08 // timestamps are the broker's: all equal MaxTimestamp
	Transactional Attributes = 0x10
	Control       Attributes = 0x20
	DeleteHorizon Attributes = 0x40 // BaseTimestamp is the delete horizon (KIP-534)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BatchHeader is the fixed part of a batch, as its 61 bytes say.
type BatchHeader struct {
	BaseOffset      Offset
	Length          int32 // bytes after the length field
	LeaderEpoch     LeaderEpoch
	Magic           int8
	CRC             uint32
	Attributes      Attributes
	LastOffsetDelta int32
	BaseTimestamp   int64 // ms; the delete horizon if that bit is set
	MaxTimestamp    int64 // ms
	ProducerID      ProducerID
	ProducerEpoch   ProducerEpoch
	BaseSequence    int32
	Count           int32 // records; fewer than LastOffsetDelta+1 after compaction
}

// Size is the whole batch in bytes.
func (h *BatchHeader) Size() int { return int(h.Length) + lengthSize }

// LastOffset is the offset of the last record, also when compaction removed it.
func (h *BatchHeader) LastOffset() Offset { return h.BaseOffset + Offset(h.LastOffsetDelta) }

// NextOffset is the offset after the batch.
func (h *BatchHeader) NextOffset() Offset { return h.LastOffset() + 1 }

// Codec is how the records are compressed.
func (h *BatchHeader) Codec() Codec { return Codec(h.Attributes & codecMask) }

// Transactional says that the records belong to a transaction.
func (h *BatchHeader) Transactional() bool { return h.Attributes&Transactional != 0 }

// Control says that the batch holds a control record (docs/format/batch.md, "Control records").
func (h *BatchHeader) Control() bool { return h.Attributes&Control != 0 }

// LogAppendTime says that all records carry MaxTimestamp, set by the broker.
func (h *BatchHeader) LogAppendTime() bool { return h.Attributes&LogAppendTime != 0 }

// DeleteHorizon is the time in ms from which the cleaner may drop this
// batch's tombstones and markers (KIP-534); ok is false when none is set.
func (h *BatchHeader) DeleteHorizon() (ms int64, ok bool) {
	if h.Attributes&DeleteHorizon == 0 {
		return NoTimestamp, false
	}
	return h.BaseTimestamp, true
}

// HasProducer says that the batch is idempotent or transactional.
func (h *BatchHeader) HasProducer() bool { return h.ProducerID > NoProducerID }

// LastSequence is the sequence of the last record, NoSequence if there is
// none. Sequences wrap from the greatest int32 to 0.
func (h *BatchHeader) LastSequence() int32 {
	if h.BaseSequence == NoSequence {
		return NoSequence
	}
	return AddSequence(h.BaseSequence, h.LastOffsetDelta)
}

// AddSequence is sequence+n as producers count: after the greatest int32 comes 0.
func AddSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// PeekSize is the size in bytes of the batch that begins at b[0], from its
// length field alone. It needs 12 bytes; ok is false with fewer or when the
// length is impossible.
func PeekSize(b []byte) (size int, ok bool) {
	if len(b) < lengthSize {
		return 0, false
	}
	n := int32(binary.BigEndian.Uint32(b[atLength:]))
	if n < minBatchLength || n > maxBatchLength {
		return 0, false
	}
	return int(n) + lengthSize, true
}

// ParseHeader reads the header at b[0] and checks what the header alone can
// show: magic, length, codec, counts. The batch itself need not be in b whole.
// It does not check the CRC: see Validate.
func ParseHeader(b []byte) (BatchHeader, error) {
	var h BatchHeader
	if err := parseHeader(b, &h); err != nil {
		return h, err
	}
	return h, nil
}

// parseHeader returns the concrete type, so that a caller can fill in the position.
func parseHeader(b []byte, h *BatchHeader) *BatchError {
	if len(b) < HeaderSize {
		return headerError(ErrTruncated, NoOffset, "header", fmt.Sprintf("%d bytes", HeaderSize), len(b))
	}
	b = b[:HeaderSize]
	h.BaseOffset = Offset(binary.BigEndian.Uint64(b[atBaseOffset:]))
	h.Length = int32(binary.BigEndian.Uint32(b[atLength:]))
	h.LeaderEpoch = LeaderEpoch(binary.BigEndian.Uint32(b[atLeaderEpoch:]))
	h.Magic = int8(b[atMagic])
	h.CRC = binary.BigEndian.Uint32(b[atCRC:])
	h.Attributes = Attributes(binary.BigEndian.Uint16(b[atAttributes:]))
	h.LastOffsetDelta = int32(binary.BigEndian.Uint32(b[atLastOffsetDelta:]))
	h.BaseTimestamp = int64(binary.BigEndian.Uint64(b[atBaseTimestamp:]))
	h.MaxTimestamp = int64(binary.BigEndian.Uint64(b[atMaxTimestamp:]))
	h.ProducerID = ProducerID(binary.BigEndian.Uint64(b[atProducerID:]))
	h.ProducerEpoch = ProducerEpoch(binary.BigEndian.Uint16(b[atProducerEpoch:]))
	h.BaseSequence = int32(binary.BigEndian.Uint32(b[atBaseSequence:]))
	h.Count = int32(binary.BigEndian.Uint32(b[atCount:]))
	return h.check()
}

// check compares the fields with the format and with each other.
func (h *BatchHeader) check() *BatchError {
	bad := func(sentinel error, field, expected string, found any) *BatchError {
		return headerError(sentinel, h.BaseOffset, field, expected, found)
	}
	switch {
	case h.Magic != magicV2:
		return bad(ErrMagic, "magic", "2", h.Magic)
	case h.Length < minBatchLength || h.Length > maxBatchLength:
		return bad(ErrCorrupt, "length", fmt.Sprintf("%d..%d", minBatchLength, maxBatchLength), h.Length)
	case h.BaseOffset < 0:
		return bad(ErrCorrupt, "base offset", ">= 0", h.BaseOffset)
	case h.LastOffsetDelta < 0:
		return bad(ErrCorrupt, "last offset delta", ">= 0", h.LastOffsetDelta)
	case int64(h.BaseOffset) > math.MaxInt64-int64(h.LastOffsetDelta)-1:
		return bad(ErrCorrupt, "base offset", "room for the last offset delta", h.BaseOffset)
	case h.Count < 0 || int64(h.Count) > int64(h.LastOffsetDelta)+1:
		return bad(ErrCorrupt, "count", fmt.Sprintf("0..%d (last offset delta + 1)", int64(h.LastOffsetDelta)+1), h.Count)
	case h.Codec() > Zstd:
		return bad(ErrCodec, "codec", "0..4 (none, gzip, snappy, lz4, zstd)", int(h.Codec()))
	case h.Codec() == None && int64(h.Count)*minRecordSize > int64(h.Length)-minBatchLength:
		return bad(ErrCorrupt, "count", fmt.Sprintf("at most %d in %d bytes of records",
			(h.Length-minBatchLength)/minRecordSize, h.Length-minBatchLength), h.Count)
	}
	return nil
}

// Validate checks the batch that begins at b[0]: header, that all of it is in
// b, and the CRC. It does not look at the records: see CheckRecords.
func Validate(b []byte) (BatchHeader, error) {
	var h BatchHeader
	if err := validate(b, &h, false); err != nil {
		return h, err
	}
	return h, nil
}

func validate(b []byte, h *BatchHeader, skipCRC bool) *BatchError {
	if err := parseHeader(b, h); err != nil {
		return err
	}
	if h.Size() > len(b) {
		return headerError(ErrTruncated, h.BaseOffset, "length", fmt.Sprintf("at most %d", len(b)-lengthSize), h.Length)
	}
	if skipCRC {
		return nil
	}
	if crc := crc32.Checksum(b[atAttributes:h.Size()], castagnoli); crc != h.CRC {
		return headerError(ErrCRC, h.BaseOffset, "crc",
			fmt.Sprintf("0x%08x as stored", h.CRC), fmt.Sprintf("0x%08x over the bytes", crc))
	}
	return nil
}

// SetBaseOffset stamps a batch's base offset in place; the CRC does not cover it.
func SetBaseOffset(batch []byte, o Offset) {
	binary.BigEndian.PutUint64(batch[atBaseOffset:], uint64(o))
}

// SetLeaderEpoch stamps a batch's leader epoch in place; the CRC does not cover it.
func SetLeaderEpoch(batch []byte, e LeaderEpoch) {
	binary.BigEndian.PutUint32(batch[atLeaderEpoch:], uint32(e))
}

// SetLogAppendTime makes all records of a batch carry the broker's time, in
// ms, and renews the CRC. batch must be exactly one batch.
func SetLogAppendTime(batch []byte, ms int64) {
	binary.BigEndian.PutUint64(batch[atMaxTimestamp:], uint64(ms))
	batch[atAttributes+1] |= byte(LogAppendTime)
	resetCRC(batch)
}

// SetProducer stamps producer id, epoch and base sequence and renews the CRC.
// batch must be exactly one batch.
func SetProducer(batch []byte, id ProducerID, epoch ProducerEpoch, baseSequence int32) {
	binary.BigEndian.PutUint64(batch[atProducerID:], uint64(id))
	binary.BigEndian.PutUint16(batch[atProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(batch[atBaseSequence:], uint32(baseSequence))
	resetCRC(batch)
}

func resetCRC(batch []byte) {
	binary.BigEndian.PutUint32(batch[atCRC:], crc32.Checksum(batch[atAttributes:], castagnoli))
}

// put writes h into dst[:HeaderSize] as it is, CRC included.
func (h *BatchHeader) put(dst []byte) {
	dst = dst[:HeaderSize]
	binary.BigEndian.PutUint64(dst[atBaseOffset:], uint64(h.BaseOffset))
	binary.BigEndian.PutUint32(dst[atLength:], uint32(h.Length))
	binary.BigEndian.PutUint32(dst[atLeaderEpoch:], uint32(h.LeaderEpoch))
	dst[atMagic] = byte(h.Magic)
	binary.BigEndian.PutUint32(dst[atCRC:], h.CRC)
	binary.BigEndian.PutUint16(dst[atAttributes:], uint16(h.Attributes))
	binary.BigEndian.PutUint32(dst[atLastOffsetDelta:], uint32(h.LastOffsetDelta))
	binary.BigEndian.PutUint64(dst[atBaseTimestamp:], uint64(h.BaseTimestamp))
	binary.BigEndian.PutUint64(dst[atMaxTimestamp:], uint64(h.MaxTimestamp))
	binary.BigEndian.PutUint64(dst[atProducerID:], uint64(h.ProducerID))
	binary.BigEndian.PutUint16(dst[atProducerEpoch:], uint16(h.ProducerEpoch))
	binary.BigEndian.PutUint32(dst[atBaseSequence:], uint32(h.BaseSequence))
	binary.BigEndian.PutUint32(dst[atCount:], uint32(h.Count))
}

// AppendEmptyBatch appends a batch without records that keeps h's offsets,
// epoch, times, producer and flags: the cleaner leaves one where the last
// batch of a producer lost all its records, so that its sequence is not lost.
func AppendEmptyBatch(dst []byte, h BatchHeader) []byte {
	h.Magic, h.Count, h.Length = magicV2, 0, minBatchLength
	h.Attributes &^= codecMask | DeleteHorizon
	h.BaseTimestamp = h.MaxTimestamp
	at := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	h.put(dst[at:])
	resetCRC(dst[at:])
	return dst
}
