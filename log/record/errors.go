package record

import (
	"errors"
	"fmt"
)

// Sentinels; every error of this package about bytes is a *BatchError that wraps one of them.
var (
	// ErrTruncated: the buffer ends before the batch does.
	ErrTruncated = errors.New("truncated batch")
	// ErrMagic: a format version other than 2.
	ErrMagic = errors.New("unsupported magic")
	// ErrCRC: the checksum over attributes..records does not match.
	ErrCRC = errors.New("checksum mismatch")
	// ErrCorrupt: a field contradicts the format or another field.
	ErrCorrupt = errors.New("corrupt batch")
	// ErrCodec: a compression codec that does not exist.
	ErrCodec = errors.New("unknown codec")
	// ErrDecompress: the records do not decompress.
	ErrDecompress = errors.New("cannot decompress")
	// ErrDecompressedSize: the records decompress to more than the reader allows.
	ErrDecompressedSize = errors.New("decompressed size above the limit")
	// ErrBatchTooLarge: a batch being built does not fit Kafka's 32-bit length or count.
	ErrBatchTooLarge = errors.New("batch too large")
	// ErrNotMarker: a control record that is neither a commit nor an abort marker.
	ErrNotMarker = errors.New("not a transaction marker")
)

// BatchError says what is wrong with which field of which batch.
type BatchError struct {
	Position   int    // of the batch's first byte in the buffer that was read
	BaseOffset Offset // of the batch, as its header says; NoOffset when that was not readable
	Record     int    // index of the record in the batch, -1 when the header is meant
	Field      string // as docs/format/batch.md names it
	Expected   string
	Found      string
	Err        error // one of the sentinels, perhaps wrapped with a cause
}

func (e *BatchError) Error() string {
	where := fmt.Sprintf("batch at byte %d", e.Position)
	if e.BaseOffset != NoOffset {
		where += fmt.Sprintf(" (base offset %d)", e.BaseOffset)
	}
	if e.Record >= 0 {
		where += fmt.Sprintf(", record %d", e.Record)
	}
	return fmt.Sprintf("%s: %v: %s: expected %s, found %s", where, e.Err, e.Field, e.Expected, e.Found)
}

func (e *BatchError) Unwrap() error { return e.Err }

// headerError is a *BatchError about the header of a batch that begins at the buffer's first byte.
func headerError(sentinel error, base Offset, field, expected string, found any) *BatchError {
	return &BatchError{
		BaseOffset: base, Record: -1, Field: field,
		Expected: expected, Found: fmt.Sprint(found), Err: sentinel,
	}
}
