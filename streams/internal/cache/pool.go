package cache

import "math/bits"

// pool keeps the memory of expired and evicted tables for the next ones, so
// that memory stays flat while windows come and go. It holds at most what the
// budget leaves.
type pool struct {
	budget *Budget
	bytes  int64
	arenas [][]byte
	slots  [32][][]slot // by the log2 of their length
}

const slotBytes = 8

func (p *pool) room(n int64) bool { return p.budget.used+p.bytes+n <= p.budget.limit }

func (p *pool) arenaChunk() []byte {
	if n := len(p.arenas); n > 0 {
		c := p.arenas[n-1]
		p.arenas[n-1] = nil
		p.arenas = p.arenas[:n-1]
		p.bytes -= arenaChunk
		return c
	}
	return make([]byte, arenaChunk)
}

func (p *pool) putArenaChunk(c []byte) {
	if p.room(arenaChunk) {
		p.arenas = append(p.arenas, c)
		p.bytes += arenaChunk
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
	for i := range p.arenas {
		p.arenas[i] = nil
	}
	p.arenas = p.arenas[:0]
	p.slots = [32][][]slot{}
	p.bytes = 0
}

// entryPool is the pool with the slabs of one type of entry.
type entryPool[V any] struct {
	pool
	slabs     []*slab[V]
	slabBytes int64
	refs      bool // V holds references: cleared before a slab is kept
}

func (p *entryPool[V]) slab() *slab[V] {
	if n := len(p.slabs); n > 0 {
		s := p.slabs[n-1]
		p.slabs[n-1] = nil
		p.slabs = p.slabs[:n-1]
		p.bytes -= p.slabBytes
		return s
	}
	return new(slab[V])
}

func (p *entryPool[V]) putSlab(s *slab[V]) {
	if !p.room(p.slabBytes) {
		return
	}
	if p.refs {
		clear(s[:])
	}
	p.slabs = append(p.slabs, s)
	p.bytes += p.slabBytes
}

func (p *entryPool[V]) trim() {
	if p.room(0) {
		return
	}
	clear(p.slabs)
	p.slabs = p.slabs[:0]
	p.pool.trim()
}
