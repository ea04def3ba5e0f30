package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// memFile is an open file of a Mem. Closed files refuse everything; a file
// that was removed stays readable and writable, as on Unix.
type memFile struct {
	fs       *Mem
	node     *memNode
	name     string
	writable bool
	closed   bool // guarded by fs.mu
}

func (f *memFile) usable(op string, write bool) error {
	switch {
	case f.closed:
		return pathError(op, f.name, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("close", false); err != nil {
		return err
	}
	f.closed = true
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.usable("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.name, fmt.Errorf("negative offset %d", off))
	}
	b := f.node.live.b
	if off >= int64(len(b)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	return f.WritevAt([][]byte{p}, off)
}

// WritevAt keeps one write operation per buffer, so that a crash may keep some and lose others.
func (f *memFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("write", f.name, fmt.Errorf("negative offset %d", off))
	}
	total := 0
	for _, b := range bufs {
		f.node.write(b, off+int64(total))
		total += len(b)
	}
	return total, nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.usable("stat", false); err != nil {
		return 0, err
	}
	return int64(len(f.node.live.b)), nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	f.node.truncate(size)
	return nil
}

func (f *memFile) Preallocate(int64) error {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	return f.usable("fallocate", true)
}

// Sync makes bytes and length durable; not the file's name, which is SyncDir's.
func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("sync", false); err != nil {
		return err
	}
	for _, op := range f.node.writes {
		op.apply(&f.node.synced)
	}
	clear(f.node.writes)
	f.node.writes = f.node.writes[:0]
	return nil
}

func (n *memNode) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	n.do(fileOp{off: off, data: slices.Clone(p)})
}

func (n *memNode) truncate(size int64) {
	if int64(len(n.live.b)) != size {
		n.do(fileOp{off: size})
	}
}

func (n *memNode) do(op fileOp) {
	op.apply(&n.live)
	n.writes = append(n.writes, op)
}

// bytesCOW is a file's bytes, whose first frozen bytes may be shared with
// clones: they are copied before one of them is overwritten. Appending needs
// no copy, because a clone's slice has no capacity beyond its length.
type bytesCOW struct {
	b      []byte
	frozen int
}

func (c *bytesCOW) share() bytesCOW {
	c.frozen = max(c.frozen, len(c.b))
	return bytesCOW{b: c.b[:len(c.b):len(c.b)], frozen: len(c.b)}
}

func (c *bytesCOW) own(off int64) {
	if off < int64(c.frozen) {
		c.b, c.frozen = slices.Clone(c.b), 0
	}
}

func (c *bytesCOW) writeAt(p []byte, off int64) {
	end := off + int64(len(p))
	c.own(min(off, int64(len(c.b))))
	if end > int64(len(c.b)) {
		c.extend(end)
	}
	copy(c.b[off:end], p)
}

func (c *bytesCOW) truncate(size int64) {
	if size <= int64(len(c.b)) {
		c.b = c.b[:size]
		return
	}
	c.own(int64(len(c.b)))
	c.extend(size)
}

// extend grows to size with zeros; what lies beyond the length may be old bytes.
func (c *bytesCOW) extend(size int64) {
	old := len(c.b)
	c.b = slices.Grow(c.b, int(size)-old)[:size]
	clear(c.b[old:])
}
