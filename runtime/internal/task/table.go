package task

import (
	"bytes"
	"hash/maphash"
)

var tableSeed = maphash.MakeSeed()

// table maps keys to values in open addressing over one arena: no allocation
// per entry, nothing for the garbage collector to follow. A deleted key stays as
// a tombstone, because it hides what lies in the layers below.
//
// Invariant: len(index) is a power of two and at least 4/3 of len(slots).
type table struct {
	index []uint32 // slot number plus one; 0 is free
	slots []slot
	arena []byte
}

type slot struct {
	hash     uint32
	key, val uint32 // offsets into the arena
	keyLen   uint32
	valLen   int32  // -1: tombstone
	valCap   uint32 // bytes that an overwrite may use
}

const slotBytes = 24 + 8 // with its share of the index

// bytes is what the table holds on to.
func (t *table) bytes() int64 { return int64(len(t.slots))*slotBytes + int64(len(t.arena)) }

func (t *table) key(s *slot) []byte { return t.arena[s.key : s.key+s.keyLen : s.key+s.keyLen] }

// value is nil for a tombstone.
func (t *table) value(s *slot) []byte {
	if s.valLen < 0 {
		return nil
	}
	if s.valLen == 0 {
		return []byte{} // empty is not a tombstone
	}
	end := s.val + uint32(s.valLen)
	return t.arena[s.val:end:end]
}

func (t *table) find(key []byte) *slot {
	if len(t.index) == 0 {
		return nil
	}
	h := uint32(maphash.Bytes(tableSeed, key))
	mask := uint32(len(t.index) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		n := t.index[i]
		if n == 0 {
			return nil
		}
		if s := &t.slots[n-1]; s.hash == h && bytes.Equal(t.key(s), key) {
			return s
		}
	}
}

// put sets a value; nil is a tombstone. It returns the growth in bytes.
func (t *table) put(key, value []byte) int64 {
	before := t.bytes()
	if len(t.index)*3 <= (len(t.slots)+1)*4 {
		t.grow()
	}
	h := uint32(maphash.Bytes(tableSeed, key))
	mask := uint32(len(t.index) - 1)
	i := h & mask
	for ; t.index[i] != 0; i = (i + 1) & mask {
		if s := &t.slots[t.index[i]-1]; s.hash == h && bytes.Equal(t.key(s), key) {
			t.setValue(s, value)
			return t.bytes() - before
		}
	}
	s := slot{hash: h, key: uint32(len(t.arena)), keyLen: uint32(len(key)), valLen: -1}
	t.arena = append(t.arena, key...)
	t.slots = append(t.slots, s)
	t.index[i] = uint32(len(t.slots))
	t.setValue(&t.slots[len(t.slots)-1], value)
	return t.bytes() - before
}

func (t *table) setValue(s *slot, value []byte) {
	if value == nil {
		s.valLen = -1
		return
	}
	if uint32(len(value)) <= s.valCap {
		copy(t.arena[s.val:], value)
	} else {
		s.val, s.valCap = uint32(len(t.arena)), uint32(len(value))
		t.arena = append(t.arena, value...)
	}
	s.valLen = int32(len(value))
}

func (t *table) grow() {
	n := max(16, 2*len(t.index))
	t.index = make([]uint32, n)
	mask := uint32(n - 1)
	for j := range t.slots {
		i := t.slots[j].hash & mask
		for t.index[i] != 0 {
			i = (i + 1) & mask
		}
		t.index[i] = uint32(j + 1)
	}
}
