package segment

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/millstream-io/millstream/log/vfs"
)

const defaultOpenFiles = 64

// errRetired: the file behind a handle was replaced or removed; look the segment up again.
var errRetired = errors.New("segment file retired")

// FileCache bounds the files that all partitions of a process keep open.
//
// Files open when first used. Above the limit the longest unused one is
// closed; one with unsynced bytes only when no other is left, and after a
// sync, because a closed file may forget that its writeback failed. Files in
// use are never closed, so the limit can be exceeded by their number.
type FileCache struct {
	limit int

	mu   sync.Mutex
	open []*handle // in no order: a clock with a hand
	hand int
}

// NewFileCache makes a cache that keeps about limit files open; at least 4.
func NewFileCache(limit int) *FileCache {
	return &FileCache{limit: max(limit, 4)}
}

// Open is the number of files open now.
func (c *FileCache) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// handle is one file that opens when it is needed.
//
// Invariant: f is nil or listed in cache.open; a retired handle never opens.
type handle struct {
	cache *FileCache
	fs    vfs.FS
	path  string
	fail  func(error) // what a failed sync at eviction is reported to

	used  atomic.Bool // since the clock's hand passed
	dirty atomic.Bool // has bytes that no Sync covered

	mu      sync.Mutex
	f       vfs.File
	refs    int
	retired bool
}

// acquire gives the open file; release must follow.
func (h *handle) acquire() (vfs.File, error) {
	h.mu.Lock()
	if h.f == nil {
		if h.retired {
			h.mu.Unlock()
			return nil, errRetired
		}
		f, err := h.fs.OpenReadWrite(h.path)
		if err != nil {
			h.mu.Unlock()
			return nil, err
		}
		h.f = f
		h.refs++
		h.mu.Unlock()
		h.used.Store(true)
		h.cache.add(h)
		return f, nil
	}
	h.refs++
	f := h.f
	h.mu.Unlock()
	if !h.used.Load() {
		h.used.Store(true)
	}
	return f, nil
}

func (h *handle) release() {
	h.mu.Lock()
	h.refs--
	closing := h.retired && h.refs == 0 && h.f != nil
	f := h.f
	if closing {
		h.f = nil
	}
	h.mu.Unlock()
	if closing {
		h.cache.remove(h)
		_ = f.Close()
	}
}

// adopt gives a fresh handle the file that was just created.
func (h *handle) adopt(f vfs.File) {
	h.mu.Lock()
	h.f = f
	h.mu.Unlock()
	h.used.Store(true)
	h.cache.add(h)
}

// retire closes the file when its users are done; it does not open again.
func (h *handle) retire() {
	h.mu.Lock()
	h.retired = true
	h.refs++
	h.mu.Unlock()
	h.release()
}

// add lists an opened handle and closes others while there are too many.
func (c *FileCache) add(h *handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, h)
	for budget := 3 * len(c.open); len(c.open) > c.limit && budget > 0; budget-- {
		c.hand = (c.hand + 1) % len(c.open)
		victim := c.open[c.hand]
		if victim == h || victim.used.Swap(false) {
			continue
		}
		// Dirty files get two more rounds of the hand.
		if victim.dirty.Load() && budget > len(c.open) {
			continue
		}
		if victim.evict() {
			c.drop(c.hand)
		}
	}
}

func (c *FileCache) drop(i int) {
	last := len(c.open) - 1
	c.open[i] = c.open[last]
	c.open[last] = nil
	c.open = c.open[:last]
}

func (c *FileCache) remove(h *handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range c.open {
		if o == h {
			c.drop(i)
			return
		}
	}
}

// evict closes the file if nobody uses it. The caller holds cache.mu, which
// comes after handle.mu in the order, hence TryLock.
func (h *handle) evict() bool {
	if !h.mu.TryLock() {
		return false
	}
	defer h.mu.Unlock()
	if h.refs > 0 || h.f == nil {
		return false
	}
	if h.dirty.Load() {
		if err := h.f.Sync(); err != nil && h.fail != nil {
			h.fail(err)
		}
	}
	_ = h.f.Close()
	h.f = nil
	return true
}
