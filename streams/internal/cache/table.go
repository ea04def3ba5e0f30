package cache

import "hash/maphash"

const (
	slabBits    = 6
	slabEntries = 1 << slabBits
	minSlots    = 8
	minEntries  = 4 // of a table's first slab, which doubles until it is a whole one
)

// seed is one for the process: hashes never leave it, and nothing that is
// written or emitted depends on their order.
var seed = maphash.MakeSeed()

func hashKey(key []byte) uint32 { return uint32(maphash.Bytes(seed, key)) }

// slot is a place of the open-addressing table: the key's hash and the entry's
// index plus one; 0 is empty.
type slot struct{ hash, idx uint32 }

type slab[V any] []Entry[V]

// table is a hash table from key bytes to entries: linear probing at most two
// thirds full, entries in slabs, keys in an arena. All
// begin small, because there may be very many windows of a few keys.
//
// Invariant: an entry that is not on the free list has exactly one slot.
type table[V any] struct {
	slots []slot
	mask  uint32
	slabs []slab[V]
	next  uint32 // entries ever taken from the slabs
	free  []uint32
	n     int // entries in use
	keys  arena
	hand  uint32 // CLOCK
	heap  int64  // sum of the entries' heap
}

func (t *table[V]) entry(i uint32) *Entry[V] { return &t.slabs[i>>slabBits][i&(slabEntries-1)] }

func (t *table[V]) key(e *Entry[V]) []byte { return t.keys.get(e.keyRef, e.keyLen) }

// find returns the entry of key, nil if there is none.
func (t *table[V]) find(hash uint32, key []byte) *Entry[V] {
	if t.n == 0 {
		return nil
	}
	slots := t.slots
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		s := slots[i]
		if s.idx == 0 {
			return nil
		}
		if s.hash == hash {
			e := t.entry(s.idx - 1)
			if string(t.keys.get(e.keyRef, e.keyLen)) == string(key) {
				return e
			}
		}
	}
}

// insert adds an entry for a key that the table does not hold.
func (t *table[V]) insert(hash uint32, key []byte, p *entryPool[V]) *Entry[V] {
	if (t.n+1)*3 > len(t.slots)*2 {
		t.grow(max(minSlots, 2*len(t.slots)), &p.pool)
	}
	var idx uint32
	if k := len(t.free); k > 0 {
		idx, t.free = t.free[k-1], t.free[:k-1]
	} else {
		idx = t.next
		t.next++
		if idx&(slabEntries-1) == 0 || idx < slabEntries && int(idx) == len(t.slabs[0]) {
			t.addEntries(idx, p)
		}
	}
	e := t.entry(idx)
	*e = Entry[V]{TimestampMS: noTime, keyRef: t.keys.put(key, &p.pool), keyLen: uint32(len(key)), self: idx, flags: flagUsed}
	t.n++
	t.place(slot{hash, idx + 1})
	return e
}

// addEntries makes room for entry idx, the first that there is none for: in the
// first slab, which moves as it grows, or in a new one.
func (t *table[V]) addEntries(idx uint32, p *entryPool[V]) {
	switch {
	case idx >= slabEntries:
		t.slabs = append(t.slabs, p.slab(slabEntries))
	case idx == 0:
		t.slabs = append(t.slabs, p.slab(minEntries))
	default:
		old := t.slabs[0]
		t.slabs[0] = p.slab(2 * len(old))
		copy(t.slabs[0], old)
		p.putSlab(old)
	}
}

func (t *table[V]) place(s slot) {
	i := s.hash & t.mask
	for t.slots[i].idx != 0 {
		i = (i + 1) & t.mask
	}
	t.slots[i] = s
}

// grow makes room for n slots; n is a power of two.
func (t *table[V]) grow(n int, p *pool) {
	old := t.slots
	t.slots = p.slotTable(n)
	t.mask = uint32(n - 1)
	for _, s := range old {
		if s.idx != 0 {
			t.place(s)
		}
	}
	p.putSlotTable(old)
}

// remove takes an entry out; its slab place is used again.
func (t *table[V]) remove(e *Entry[V], p *pool) {
	t.unlink(e.self+1, hashKey(t.key(e)))
	t.keys.drop(int(e.keyLen))
	t.heap -= int64(e.heap)
	t.n--
	t.free = append(t.free, e.self)
	*e = Entry[V]{self: e.self, flags: flagFree}
	if t.keys.dead > t.keys.live+16*arenaChunk {
		t.compactKeys(p)
	}
}

// unlink empties the slot of idx and moves the followers that probed past it.
func (t *table[V]) unlink(idx, hash uint32) {
	i := hash & t.mask
	for t.slots[i].idx != idx {
		i = (i + 1) & t.mask
	}
	for j := i; ; {
		j = (j + 1) & t.mask
		s := t.slots[j]
		if s.idx == 0 {
			break
		}
		if (j-s.hash)&t.mask >= (j-i)&t.mask {
			t.slots[i] = s
			i = j
		}
	}
	t.slots[i] = slot{}
}

// compactKeys copies the keys in use to a fresh arena.
func (t *table[V]) compactKeys(p *pool) {
	old := t.keys
	t.keys = arena{}
	for i := range t.next {
		if e := t.entry(i); e.flags&flagFree == 0 {
			e.keyRef = t.keys.put(old.get(e.keyRef, e.keyLen), p)
		}
	}
	old.release(p)
}

// release gives all memory to the pool and leaves an empty table.
func (t *table[V]) release(p *entryPool[V]) {
	for _, s := range t.slabs {
		p.putSlab(s)
	}
	clear(t.slabs)
	t.keys.release(&p.pool)
	p.putSlotTable(t.slots)
	*t = table[V]{slabs: t.slabs[:0], free: t.free[:0], keys: t.keys}
}
