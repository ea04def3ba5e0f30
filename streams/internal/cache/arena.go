package cache

const (
	arenaBits  = 12
	arenaChunk = 1 << arenaBits // bytes
)

// arena keeps key bytes in chunks that never move. A reference is the chunk's
// index and the offset in it, so entries hold no pointers to their keys. A key
// longer than a chunk gets a chunk of its own.
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
		a.chunks = append(a.chunks, append([]byte(nil), key...))
		return uint32(len(a.chunks)-1) << arenaBits
	}
	if len(a.chunks) == 0 || len(a.chunks[a.cur]) != arenaChunk || a.off+len(key) > arenaChunk {
		a.chunks = append(a.chunks, p.arenaChunk())
		a.cur, a.off = len(a.chunks)-1, 0
	}
	ref := uint32(a.cur)<<arenaBits | uint32(a.off)
	if a.off == arenaChunk { // an empty key at the chunk's very end
		ref = uint32(a.cur) << arenaBits
	}
	a.off += copy(a.chunks[a.cur][a.off:], key)
	return ref
}

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
		if len(c) == arenaChunk {
			p.putArenaChunk(c)
		}
	}
	clear(a.chunks)
	*a = arena{chunks: a.chunks[:0]}
}
