package segment

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/millstream-io/millstream/log/record"
)

// txnIndex lists the aborted transactions whose marker is in one segment, by
// the marker's offset; docs/format/index.md, "Transaction index".
//
// Invariant: list is in memory what the file holds; it is replaced, never
// changed in place, so readers need no lock. The file exists once there is an entry.
type txnIndex struct {
	handle
	created bool // guarded by Log.mu
	list    atomic.Pointer[[]AbortedTxn]
}

func (x *txnIndex) aborted() []AbortedTxn {
	if p := x.list.Load(); p != nil {
		return *p
	}
	return nil
}

// append adds an entry to the file and to memory. When the file cannot be
// written the memory is still right, and Checkpoint writes the file anew.
func (x *txnIndex) append(t AbortedTxn) error {
	old := x.aborted()
	list := append(old[:len(old):len(old)], t)
	x.list.Store(&list)
	x.dirty.Store(true)
	if !x.created {
		return x.rewrite()
	}
	f, err := x.acquire()
	if err != nil {
		return err
	}
	defer x.release()
	_, err = f.WriteAt(appendTxnEntry(nil, t), int64(len(old))*txnEntrySize)
	return err
}

// rewrite makes the file hold exactly what is in memory.
func (x *txnIndex) rewrite() error {
	list := x.aborted()
	if len(list) == 0 && !x.created {
		return nil
	}
	if !x.created {
		f, err := x.fs.Create(x.path)
		if err != nil {
			return err
		}
		x.adopt(f)
		x.created = true
	}
	var b []byte
	for _, t := range list {
		b = appendTxnEntry(b, t)
	}
	f, err := x.acquire()
	if err != nil {
		return err
	}
	defer x.release()
	x.dirty.Store(true)
	if err := f.Truncate(int64(len(b))); err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return err
}

// sync makes the file durable; it is written anew, in case an append to it failed.
func (x *txnIndex) sync() error {
	if !x.dirty.Load() {
		return nil
	}
	if err := x.rewrite(); err != nil {
		return err
	}
	if x.created {
		f, err := x.acquire()
		if err != nil {
			return err
		}
		defer x.release()
		if err := f.Sync(); err != nil {
			return err
		}
	}
	x.dirty.Store(false)
	return nil
}

func appendTxnEntry(dst []byte, t AbortedTxn) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.ProducerID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.First))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.Last))
	return binary.BigEndian.AppendUint64(dst, uint64(t.Stable))
}

// parseTxnIndex reads a transaction index file's bytes and checks each entry
// against the segment's range [base, end).
func parseTxnIndex(path string, b []byte, base, end record.Offset) ([]AbortedTxn, error) {
	if rest := len(b) % txnEntrySize; rest != 0 {
		return nil, formatError(path, int64(len(b)-rest), "whole entries of 34 bytes", rest)
	}
	list := make([]AbortedTxn, 0, len(b)/txnEntrySize)
	prev := base - 1
	for i := 0; i < len(b); i += txnEntrySize {
		at := int64(i)
		if v := binary.BigEndian.Uint16(b[i:]); v != 0 {
			return nil, formatError(path, at, "version 0", v)
		}
		t := AbortedTxn{
			ProducerID: record.ProducerID(binary.BigEndian.Uint64(b[i+2:])),
			First:      record.Offset(binary.BigEndian.Uint64(b[i+10:])),
			Last:       record.Offset(binary.BigEndian.Uint64(b[i+18:])),
			Stable:     record.Offset(binary.BigEndian.Uint64(b[i+26:])),
		}
		switch {
		case t.ProducerID < 0:
			return nil, formatError(path, at+2, "a producer id", t.ProducerID)
		case t.First < 0 || t.First >= t.Last:
			return nil, formatError(path, at+10, "a first offset below the last", t.First)
		case t.Last <= prev || t.Last >= end:
			return nil, formatError(path, at+18, "a rising last offset within the segment", t.Last)
		case t.Stable < 0 || t.Stable > t.Last+1:
			return nil, formatError(path, at+26, "a stable offset up to the last offset + 1", t.Stable)
		}
		list, prev = append(list, t), t.Last
	}
	return list, nil
}
