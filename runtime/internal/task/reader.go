package task

// Reader reads a task's committed state from any goroutine: a snapshot of one
// commit, never the running transaction.
type Reader struct{ o *overlay }

// Reader makes a reader; it lives as long as the task.
func (t *Task) Reader() Reader { return Reader{t.overlay} }

// Get appends the committed value of key.
func (r Reader) Get(store int, key, dst []byte) (value []byte, ok bool, at []Position, err error) {
	r.o.mu.RLock()
	defer r.o.mu.RUnlock()
	value, ok, err = r.o.get(store, key, dst)
	return value, ok, r.o.positions, err
}

// Range calls fn for the committed entries with from <= key < to in key order;
// a nil to has no end. fn may take its time: commits do not wait for it.
func (r Reader) Range(store int, from, to []byte, fn func(key, value []byte) bool) error {
	r.o.mu.RLock()
	held := true
	release := func() {
		if held {
			held = false
			r.o.mu.RUnlock()
		}
	}
	defer release()
	return r.o.scan(store, from, to, release, fn)
}

// Positions are the committed input offsets, and the stream time then.
func (r Reader) Positions() ([]Position, int64) {
	r.o.mu.RLock()
	defer r.o.mu.RUnlock()
	return r.o.positions, r.o.streamTime
}

// Sizes are the entries and bytes of a store that wait for a checkpoint.
func (r Reader) Sizes(store int) (entries, bytes int64) {
	r.o.mu.RLock()
	defer r.o.mu.RUnlock()
	for _, l := range [2]*layer{r.o.active, r.o.frozen} {
		if l == nil {
			continue
		}
		for _, t := range l.stores[store].tables {
			entries += int64(len(t.slots))
			bytes += t.bytes()
		}
	}
	return entries, bytes
}
