package task

// Reader reads a task's committed state from any goroutine: a snapshot of one
// commit, never the running transaction.
type Reader struct{ o *overlay }

// Reader makes a reader; it lives as long as the task.
func (t *Task) Reader() Reader { return Reader{t.overlay} }

// Committed is what a reader's answer reflects: the input offsets of a commit, and
// the stream time then. Its slice is never changed.
type Committed struct {
	Positions    []Position
	StreamTimeMS int64
}

// at is what is committed now, under mu.
func (o *overlay) at() Committed { return Committed{o.positions, o.streamTime} }

// Get appends the committed value of key.
func (r Reader) Get(store int, key, dst []byte) (value []byte, ok bool, at Committed, err error) {
	r.o.mu.RLock()
	defer r.o.mu.RUnlock()
	value, ok, err = r.o.get(store, key, dst)
	return value, ok, r.o.at(), err
}

// Range calls fn for the committed entries with from <= key < to in key order;
// a nil to has no end. fn may take its time: commits do not wait for it. began is
// told first what the entries reflect; nil: nobody.
func (r Reader) Range(store int, from, to []byte, began func(Committed), fn func(key, value []byte) bool) error {
	r.o.mu.RLock()
	if began != nil {
		began(r.o.at())
	}
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

// Committed is what answers reflect now.
func (r Reader) Committed() Committed {
	r.o.mu.RLock()
	defer r.o.mu.RUnlock()
	return r.o.at()
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
