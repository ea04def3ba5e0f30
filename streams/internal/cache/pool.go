package cache

import "math/bits"

// pool keeps the memory of expired and evicted tables for the next ones, so
// that memory stays flat while windows come and go. It holds at most what the
// budget leaves.
type pool struct {
	budget *Budget
	bytes  int64
	arenas [arenaBits + 1][][]byte // by the log2 of their length
	slots  [32][][]slot            // by the log2 of their length
}

const slotBytes = 8

func (p *pool) room(n int64) bool { return p.budget.used+p.bytes+n <= p.budget.limit }

// arenaChunk returns n bytes; n is a power of two.
func (p *pool) arenaChunk(n int) []byte {
	list := &p.arenas[bits.TrailingZeros(uint(n))]
	if k := len(*list); k > 0 {
		c := (*list)[k-1]
		(*list)[k-1] = nil
		*list = (*list)[:k-1]
		p.bytes -= int64(n)
		return c
	}
	return make([]byte, n)
}

func (p *pool) putArenaChunk(c []byte) {
	if n := int64(len(c)); p.room(n) {
		class := bits.TrailingZeros(uint(len(c)))
		p.arenas[class] = append(p.arenas[class], c)
		p.bytes += n
	}
}

// slotTable returns n empty slots; n is a power of two.
func (p *pool) slotTable(n int) []slot {
	class := bits.TrailingZeros(uint(n))
	if list := p.slots[class]; len(list) > 0 {
		s := list[len(list)-1]
		list[len(list)-1] = nil
		p.slots[class] = list[:len(list)-1]
		p.bytes -= int64(n) * slotBytes
		clear(s)
		return s
	}
	return make([]slot, n)
}

func (p *pool) putSlotTable(s []slot) {
	if n := int64(len(s)) * slotBytes; n > 0 && p.room(n) {
		class := bits.TrailingZeros(uint(len(s)))
		p.slots[class] = append(p.slots[class], s)
		p.bytes += n
	}
}

// trim drops what the budget no longer leaves.
func (p *pool) trim() {
	if p.room(0) {
		return
	}
	clear(p.arenas[:])
	clear(p.slots[:])
	p.bytes = 0
}

// entryPool is the pool with the slabs of one type of entry.
type entryPool[V any] struct {
	pool
	slabs      [slabBits + 1][]slab[V] // by the log2 of their length
	entryBytes int64
	refs       bool // V holds references: cleared before a slab is kept
}

// slab returns n entries; n is a power of two.
func (p *entryPool[V]) slab(n int) slab[V] {
	list := &p.slabs[bits.TrailingZeros(uint(n))]
	if k := len(*list); k > 0 {
		s := (*list)[k-1]
		(*list)[k-1] = nil
		*list = (*list)[:k-1]
		p.bytes -= int64(n) * p.entryBytes
		return s
	}
	return make(slab[V], n)
}

func (p *entryPool[V]) putSlab(s slab[V]) {
	n := int64(len(s)) * p.entryBytes
	if !p.room(n) {
		return
	}
	if p.refs {
		clear(s)
	}
	class := bits.TrailingZeros(uint(len(s)))
	p.slabs[class] = append(p.slabs[class], s)
	p.bytes += n
}

func (p *entryPool[V]) trim() {
	if p.room(0) {
		return
	}
	clear(p.slabs[:])
	p.pool.trim()
}
