package segment

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/millstream-io/millstream/log/record"
)

// Entry sizes; docs/format/index.md.
const (
	offsetEntrySize = 8  // relative offset 4, position 4
	timeEntrySize   = 12 // timestamp 8, relative offset 4
	txnEntrySize    = 34 // version 2, producer id 8, first 8, last 8, stable 8
)

// index is an offset or time index: a file of entries with rising keys.
//
// Entries are read from the file (the page cache is their memory), so an
// index costs nothing while nobody looks. Appends happen under Log.mu; lookups
// need no lock: entries is raised after the write.
type index struct {
	handle
	entrySize int64
	entries   atomic.Int64
}

type entry [timeEntrySize]byte

func offsetKey(b []byte) int64 { return int64(binary.BigEndian.Uint32(b)) }
func timeKey(b []byte) int64   { return int64(binary.BigEndian.Uint64(b)) }

func (x *index) key(b []byte) int64 {
	if x.entrySize == offsetEntrySize {
		return offsetKey(b)
	}
	return timeKey(b)
}

const searchBlock = 4080 // a multiple of both entry sizes

var blockPool = sync.Pool{New: func() any { return new([searchBlock]byte) }}

// search finds the last entry whose key is not above k.
func (x *index) search(k int64) (e entry, ok bool, err error) {
	return x.searchFunc(func(b []byte) bool { return x.key(b) <= k })
}

// searchFunc finds the last entry for which below is true; it is true for a
// first part of the entries.
func (x *index) searchFunc(below func(entry []byte) bool) (e entry, ok bool, err error) {
	n := x.entries.Load()
	if n == 0 {
		return e, false, nil
	}
	f, err := x.acquire()
	if err != nil {
		return e, false, err
	}
	defer x.release()
	buf := blockPool.Get().(*[searchBlock]byte)
	defer blockPool.Put(buf)
	block := searchBlock / x.entrySize
	lo, hi := int64(0), n // the answer is in [lo-1, hi-1]
	for hi-lo > block {
		mid := (lo + hi) / 2
		b := buf[:x.entrySize]
		if _, err := f.ReadAt(b, mid*x.entrySize); err != nil {
			return e, false, err
		}
		if below(b) {
			lo = mid
		} else {
			hi = mid
		}
	}
	b := buf[:(hi-lo)*x.entrySize]
	if _, err := f.ReadAt(b, lo*x.entrySize); err != nil {
		return e, false, err
	}
	for i := int64(0); i < hi-lo; i++ {
		at := b[i*x.entrySize : (i+1)*x.entrySize]
		if !below(at) {
			break
		}
		copy(e[:], at)
		ok = true
	}
	return e, ok, nil
}

// at reads entry i.
func (x *index) at(i int64) (e entry, err error) {
	f, err := x.acquire()
	if err != nil {
		return e, err
	}
	defer x.release()
	buf := blockPool.Get().(*[searchBlock]byte)
	defer blockPool.Put(buf)
	b := buf[:x.entrySize]
	if _, err := f.ReadAt(b, i*x.entrySize); err != nil {
		return e, err
	}
	copy(e[:], b)
	return e, nil
}

// append writes whole entries at the end. An index is only a shortcut, so the
// log goes on without the entries if the write fails.
func (x *index) append(entries []byte) error {
	f, err := x.acquire()
	if err != nil {
		return err
	}
	defer x.release()
	at := x.entries.Load() * x.entrySize
	if _, err := f.WriteAt(entries, at); err != nil {
		_ = f.Truncate(at)
		return err
	}
	x.dirty.Store(true)
	x.entries.Add(int64(len(entries)) / x.entrySize)
	return nil
}

func (x *index) sync() error {
	if !x.dirty.Load() {
		return nil
	}
	f, err := x.acquire()
	if err != nil {
		return err
	}
	defer x.release()
	if err := f.Sync(); err != nil {
		return err
	}
	x.dirty.Store(false)
	return nil
}

func appendOffsetEntry(dst []byte, base, offset record.Offset, position int64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(offset-base))
	return binary.BigEndian.AppendUint32(dst, uint32(position))
}

func appendTimeEntry(dst []byte, base record.Offset, timestamp int64, offset record.Offset) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(timestamp))
	return binary.BigEndian.AppendUint32(dst, uint32(offset-base))
}

// indexedAt is the position in an offset index's entry.
func indexedAt(b []byte) int64 { return int64(binary.BigEndian.Uint32(b[4:])) }

func (e *entry) position() int64 { return indexedAt(e[:]) }
func (e *entry) timestamp() int64 {
	return int64(binary.BigEndian.Uint64(e[:]))
}
func (e *entry) timeOffset(base record.Offset) record.Offset {
	return base + record.Offset(binary.BigEndian.Uint32(e[8:]))
}

// checkOffsetIndex checks what an offset index's bytes alone can show: whole
// entries, rising offsets and positions, positions within logSize.
func checkOffsetIndex(path string, b []byte, logSize int64) error {
	if rest := len(b) % offsetEntrySize; rest != 0 {
		return formatError(path, int64(len(b)-rest), "whole entries of 8 bytes", fmt.Sprintf("%d bytes left", rest))
	}
	prevOffset, prevPos := int64(-1), int64(-1)
	for i := 0; i < len(b); i += offsetEntrySize {
		offset, pos := offsetKey(b[i:]), int64(binary.BigEndian.Uint32(b[i+4:]))
		if offset <= prevOffset || offset > 1<<31-1 {
			return formatError(path, int64(i), fmt.Sprintf("a relative offset above %d", prevOffset), offset)
		}
		if pos <= prevPos || pos >= logSize {
			return formatError(path, int64(i+4), fmt.Sprintf("a position above %d and below %d", prevPos, logSize), pos)
		}
		prevOffset, prevPos = offset, pos
	}
	return nil
}

// checkTimeIndex checks whole entries, rising timestamps and offsets that do not fall.
func checkTimeIndex(path string, b []byte) error {
	if rest := len(b) % timeEntrySize; rest != 0 {
		return formatError(path, int64(len(b)-rest), "whole entries of 12 bytes", fmt.Sprintf("%d bytes left", rest))
	}
	prevTime, prevOffset := int64(record.NoTimestamp), int64(-1)
	for i := 0; i < len(b); i += timeEntrySize {
		ts, offset := timeKey(b[i:]), int64(binary.BigEndian.Uint32(b[i+8:]))
		if i > 0 && ts <= prevTime || ts < 0 {
			return formatError(path, int64(i), fmt.Sprintf("a timestamp above %d", prevTime), ts)
		}
		if offset < prevOffset || offset > 1<<31-1 {
			return formatError(path, int64(i+8), fmt.Sprintf("a relative offset of at least %d", prevOffset), offset)
		}
		prevTime, prevOffset = ts, offset
	}
	return nil
}

func formatError(path string, pos int64, expected string, found any) error {
	return &FormatError{Path: path, Pos: pos, Expected: expected, Found: fmt.Sprint(found)}
}
