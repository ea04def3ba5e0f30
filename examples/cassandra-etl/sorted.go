package main

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// sorter orders lines by key in bounded memory and keeps, of those with one key,
// the one that was added last. What does not fit is sorted and spilled to files
// that are merged at the end.
type sorter struct {
	dir   string // for the files
	limit int    // bytes kept in memory
	arena []byte // keys and lines
	kept  []entry
	runs  []*os.File
}

// entry is a key and its line, in the arena.
type entry struct{ key, line, end int }

const entryBytes = 24

// sortBytes bounds the lines kept in memory.
const sortBytes = 24 << 20

// add copies a line.
func (s *sorter) add(key, line []byte) error {
	e := entry{key: len(s.arena), line: len(s.arena) + len(key), end: len(s.arena) + len(key) + len(line)}
	s.arena = append(append(s.arena, key...), line...)
	s.kept = append(s.kept, e)
	if len(s.arena)+entryBytes*len(s.kept) < s.limit {
		return nil
	}
	if err := s.spill(); err != nil {
		return fmt.Errorf("sorting the rows: %w", err)
	}
	return nil
}

func (s *sorter) key(e entry) []byte { return s.arena[e.key:e.line] }

// sort orders what is in memory, the last of each key only.
func (s *sorter) sort() {
	slices.SortStableFunc(s.kept, func(a, b entry) int { return bytes.Compare(s.key(a), s.key(b)) })
	n := 0
	for i, e := range s.kept {
		if i+1 < len(s.kept) && bytes.Equal(s.key(e), s.key(s.kept[i+1])) {
			continue
		}
		s.kept[n] = e
		n++
	}
	s.kept = s.kept[:n]
}

// spill writes what is in memory to a file of its own, unlinked at once.
func (s *sorter) spill() error {
	s.sort()
	f, err := os.CreateTemp(s.dir, "rows-*.run")
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	var sizes [8]byte
	for _, e := range s.kept {
		binary.BigEndian.PutUint32(sizes[:], uint32(e.line-e.key))
		binary.BigEndian.PutUint32(sizes[4:], uint32(e.end-e.line))
		w.Write(sizes[:]) // Flush returns the first error
		w.Write(s.arena[e.key:e.end])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.arena, s.kept = s.arena[:0], s.kept[:0]
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// each calls fn for every line in order. The sorter is empty afterwards.
func (s *sorter) each(fn func(key, line []byte) error) error {
	s.sort()
	var h cursors
	for i, f := range s.runs {
		h = append(h, &cursor{age: i, r: bufio.NewReaderSize(f, 32<<10)})
	}
	h = append(h, &cursor{age: len(h), s: s})
	h = slices.DeleteFunc(h, func(c *cursor) bool { return !c.next() })
	if err := h.failed(); err != nil {
		return err
	}
	heap.Init(&h)
	var key, line []byte
	for len(h) > 0 {
		c := h[0]
		// Of equal keys the youngest run comes first: the others are older states.
		if key == nil || !bytes.Equal(key, c.key) {
			key, line = append(key[:0], c.key...), append(line[:0], c.line...)
			if err := fn(key, line); err != nil {
				return err
			}
		}
		if c.next() {
			heap.Fix(&h, 0)
		} else if c.err != nil {
			return fmt.Errorf("sorting the rows: %w", c.err)
		} else {
			heap.Pop(&h)
		}
	}
	return nil
}

// close gives the files back.
func (s *sorter) close() error {
	var errs []error
	for _, f := range s.runs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// cursor goes through a sorted run: a file, or what is in memory.
type cursor struct {
	age       int
	r         *bufio.Reader // nil: s
	s         *sorter
	at        int
	key, line []byte
	buf       []byte
	err       error
}

// next goes to the next line; false at the end or after an error.
func (c *cursor) next() bool {
	if c.r == nil {
		if c.at == len(c.s.kept) {
			return false
		}
		e := c.s.kept[c.at]
		c.key, c.line, c.at = c.s.arena[e.key:e.line], c.s.arena[e.line:e.end], c.at+1
		return true
	}
	var sizes [8]byte
	if _, err := io.ReadFull(c.r, sizes[:]); err != nil {
		if err != io.EOF {
			c.err = err
		}
		return false
	}
	n := int(binary.BigEndian.Uint32(sizes[:]))
	all := n + int(binary.BigEndian.Uint32(sizes[4:]))
	c.buf = slices.Grow(c.buf[:0], all)[:all]
	if _, c.err = io.ReadFull(c.r, c.buf); c.err != nil {
		return false
	}
	c.key, c.line = c.buf[:n], c.buf[n:]
	return true
}

// cursors is a heap by key; of equal keys the youngest first.
type cursors []*cursor

func (h cursors) failed() error {
	for _, c := range h {
		if c.err != nil {
			return fmt.Errorf("sorting the rows: %w", c.err)
		}
	}
	return nil
}

func (h cursors) Len() int { return len(h) }
func (h cursors) Less(i, j int) bool {
	if c := bytes.Compare(h[i].key, h[j].key); c != 0 {
		return c < 0
	}
	return h[i].age > h[j].age
}
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)   { *h = append(*h, x.(*cursor)) }
func (h *cursors) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
