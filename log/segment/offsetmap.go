package segment

import (
	"hash/maphash"

	"github.com/millstream-io/millstream/log/record"
)

const (
	offsetMapSlot   = 24 // two hashes and an offset
	defaultMapBytes = 4 << 20
	offsetMapLoad   = 0.9
)

type mapSlot struct {
	h1, h2 uint64
	offset record.Offset // +1: 0 is an empty slot
}

// OffsetMap is the cleaner's memory: key hashes to last offsets, at most maxBytes.
//
// Keys are known by 128 bits of two hashes with secret seeds, so two keys are
// taken for one with a chance of about n²/2^129, and nobody can choose such
// keys. Not safe for concurrent use; one map may serve many logs in turn.
type OffsetMap struct {
	seed1, seed2 maphash.Seed
	slots        []mapSlot
	used         int
}

// NewOffsetMap makes a map of maxBytes (24 bytes per key).
func NewOffsetMap(maxBytes int) *OffsetMap {
	return &OffsetMap{
		seed1: maphash.MakeSeed(), seed2: maphash.MakeSeed(),
		slots: make([]mapSlot, max(maxBytes/offsetMapSlot, 8)),
	}
}

func (m *OffsetMap) reset() {
	clear(m.slots)
	m.used = 0
}

// room is how many more keys fit.
func (m *OffsetMap) room() int { return int(float64(len(m.slots))*offsetMapLoad) - m.used }

func (m *OffsetMap) hash(key []byte) (h1, h2 uint64) {
	return maphash.Bytes(m.seed1, key), maphash.Bytes(m.seed2, key)
}

func (m *OffsetMap) slot(h1, h2 uint64) *mapSlot {
	for i := h1 % uint64(len(m.slots)); ; i++ {
		if i == uint64(len(m.slots)) {
			i = 0
		}
		if s := &m.slots[i]; s.offset == 0 || s.h1 == h1 && s.h2 == h2 {
			return s
		}
	}
}

// put notes that a key is written at an offset, which rises from call to call.
func (m *OffsetMap) put(k *mapSlot) {
	s := m.slot(k.h1, k.h2)
	if s.offset == 0 {
		m.used++
	}
	*s = mapSlot{k.h1, k.h2, k.offset + 1}
}

// get is the last offset of key, NoOffset if it was not seen.
func (m *OffsetMap) get(key []byte) record.Offset { return m.slot(m.hash(key)).offset - 1 }
