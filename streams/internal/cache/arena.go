package cache

import "math/bits"

const (
	arenaBits  = 12
	arenaChunk = 1 << arenaBits // bytes
	arenaFirst = 1 << 7         // of an arena's first chunk, which doubles until it is a whole one
)

// arena keeps key bytes in chunks. A reference is the chunk's index and the
// offset in it, so entries hold no pointers to their keys. A key longer than a
// chunk gets a chunk of its own. The first chunk begins small and moves as it
// grows: a window of a few keys takes little.
type arena struct {
	chunks [][]byte
	cur    int // index of the chunk that is being filled; chunks[cur] exists if len(chunks) > 0
	off    int // bytes used of it
	live   int // bytes of keys in use
	dead   int // bytes of keys dropped
}

// put copies key and returns its reference.
func (a *arena) put(key []byte, p *pool) uint32 {
	a.live += len(key)
	if len(key) > arenaChunk {
		if len(a.chunks) == 0 {
			a.grow(0, p) // cur is never a long key's chunk
		}
		a.chunks = append(a.chunks, append([]byte(nil), key...))
		return uint32(len(a.chunks)-1) << arenaBits
	}
	if len(a.chunks) == 0 || a.off+len(key) > len(a.chunks[a.cur]) {
		a.grow(len(key), p)
	}
	ref := uint32(a.cur)<<arenaBits | uint32(a.off)
	if a.off == arenaChunk { // an empty key at the chunk's very end
		ref = uint32(a.cur) << arenaBits
	}
	a.off += copy(a.chunks[a.cur][a.off:], key)
	return ref
}

// grow makes room for a key of n bytes.
func (a *arena) grow(n int, p *pool) {
	if len(a.chunks) == 0 {
		a.chunks = append(a.chunks, p.arenaChunk(arenaSize(n)))
		a.cur, a.off = 0, 0
		return
	}
	if old := a.chunks[a.cur]; a.off+n <= arenaChunk && len(old) < arenaChunk {
		c := p.arenaChunk(arenaSize(a.off + n))
		copy(c, old[:a.off])
		a.chunks[a.cur] = c
		p.putArenaChunk(old)
		return
	}
	a.chunks = append(a.chunks, p.arenaChunk(arenaChunk))
	a.cur, a.off = len(a.chunks)-1, 0
}

// arenaSize is the size of a first chunk that holds n bytes.
func arenaSize(n int) int { return max(arenaFirst, 1<<bits.Len(uint(max(n, 1)-1))) }

func (a *arena) get(ref, n uint32) []byte {
	off := ref & (arenaChunk - 1)
	return a.chunks[ref>>arenaBits][off : off+n : off+n]
}

func (a *arena) drop(n int) {
	a.live -= n
	a.dead += n
}

// release gives the chunks to the pool.
func (a *arena) release(p *pool) {
	for _, c := range a.chunks {
		if len(c) <= arenaChunk {
			p.putArenaChunk(c)
		}
	}
	clear(a.chunks)
	*a = arena{chunks: a.chunks[:0]}
}
