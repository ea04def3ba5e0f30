package vfs

import "math/rand/v2"

// PageSize is what a power cut tears writes at, unless CrashConfig says otherwise.
const PageSize = 4096

// CrashConfig says how much of what was not synced survives a power cut.
type CrashConfig struct {
	// UnsyncedPercent is the chance of each unsynced page of a write, change of
	// length, and directory operation to survive: 0 keeps exactly what was
	// synced, 100 everything.
	UnsyncedPercent int
	// Rand decides between 1 and 99; not needed for 0 and 100.
	Rand *rand.Rand
	// Tear is the size in bytes of the aligned pieces that survive or not;
	// PageSize if 0. A smaller one tears small writes too.
	Tear int
}

func (c CrashConfig) keep() bool {
	switch {
	case c.UnsyncedPercent <= 0:
		return false
	case c.UnsyncedPercent >= 100:
		return true
	}
	return c.Rand.IntN(100) < c.UnsyncedPercent
}

// CrashClone is the disk as it might look after a power cut now. The original
// goes on unchanged, and the two share no state that either can see.
//
// What was synced is always there. Each unsynced write survives or not page by
// page, on its own: a later one may survive an earlier one, which leaves a
// hole of zeros, or old bytes. A lost change of length shows the old length
// unless a surviving write extends it. Of each directory's unsynced operations
// a prefix survives; a rename between two directories survives in both or in neither.
//
// With one seed and one history the result is always the same.
func (m *Mem) CrashClone(cfg CrashConfig) *Mem {
	if cfg.Tear <= 0 {
		cfg.Tear = PageSize
	}
	m.mu.Lock() // not RLock: shared bytes are marked as such
	defer m.mu.Unlock()
	c := cloner{
		cfg: cfg, entries: map[*memNode]map[string]*memNode{}, clones: map[*memNode]*memNode{},
	}
	c.survivingEntries(m.pending)
	clone := NewMem()
	clone.root = c.node(m.root)
	return clone
}

type cloner struct {
	cfg     CrashConfig
	entries map[*memNode]map[string]*memNode // directories with surviving operations
	clones  map[*memNode]*memNode            // original -> clone: links stay links
}

// survivingEntries applies the prefix of operations that each directory keeps.
func (c *cloner) survivingEntries(pending []dirOp) {
	stopped := map[*memNode]bool{}
	for _, op := range pending {
		lost := false
		for _, change := range op {
			lost = lost || stopped[change.dir]
		}
		if lost || !c.cfg.keep() {
			for _, change := range op {
				stopped[change.dir] = true
			}
			continue
		}
		op.apply(c.mutableEntries)
	}
}

// mutableEntries is a copy of a directory's durable entries, for this clone.
func (c *cloner) mutableEntries(d *memNode) map[string]*memNode {
	e, ok := c.entries[d]
	if !ok {
		e = make(map[string]*memNode, len(d.durable))
		for name, n := range d.durable {
			e[name] = n
		}
		c.entries[d] = e
	}
	return e
}

func (c *cloner) node(n *memNode) *memNode {
	if clone, ok := c.clones[n]; ok {
		return clone
	}
	if !n.isDir() {
		clone := c.file(n)
		c.clones[n] = clone
		return clone
	}
	clone := newMemDir()
	c.clones[n] = clone
	entries, ok := c.entries[n]
	if !ok {
		entries = n.durable
	}
	if c.cfg.UnsyncedPercent <= 0 || c.cfg.UnsyncedPercent >= 100 {
		for name := range entries {
			c.child(clone, name, entries[name])
		}
		return clone
	}
	for _, name := range sortedNames(entries) { // in order, so that a seed decides alike every time
		c.child(clone, name, entries[name])
	}
	return clone
}

func (c *cloner) child(dir *memNode, name string, n *memNode) {
	child := c.node(n)
	dir.entries[name], dir.durable[name] = child, child
}

func (c *cloner) file(n *memNode) *memNode {
	disk := n.synced.share()
	if c.cfg.UnsyncedPercent >= 100 {
		disk = n.live.share()
	} else if c.cfg.UnsyncedPercent > 0 {
		for _, op := range n.writes {
			c.torn(op, &disk)
		}
	}
	return &memNode{live: disk.share(), synced: disk.share()}
}

// torn applies the pieces of a write that survive.
func (c *cloner) torn(op fileOp, disk *bytesCOW) {
	if op.data == nil {
		if c.cfg.keep() {
			op.apply(disk)
		}
		return
	}
	tear := int64(c.cfg.Tear)
	for data, off := op.data, op.off; len(data) > 0; {
		n := min(tear-off%tear, int64(len(data)))
		if c.cfg.keep() {
			disk.writeAt(data[:n], off)
		}
		data, off = data[n:], off+n
	}
}
