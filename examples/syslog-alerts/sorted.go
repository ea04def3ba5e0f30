package main

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// sorter puts lines into the order of (start, key) in bounded memory: what does
// not fit is sorted and spilled to files, which are merged at the end.
type sorter struct {
	dir   string // for the files
	limit int    // bytes kept in memory
	kept  []sortable
	bytes int
	runs  []*os.File
}

// sortable is a line and what it is ordered by. Equal ones keep their order.
type sortable struct {
	start int64
	key   string
	line  string
}

func (a sortable) compare(b sortable) int {
	return cmp.Or(cmp.Compare(a.start, b.start), strings.Compare(a.key, b.key))
}

// sortBytes bounds the lines kept in memory; a line costs about 80 bytes more.
const sortBytes = 16 << 20

// add takes a line.
func (s *sorter) add(l sortable) error {
	s.kept = append(s.kept, l)
	s.bytes += len(l.key) + len(l.line) + 80
	if s.bytes < s.limit {
		return nil
	}
	return s.spill()
}

// spill writes what is in memory to a file of its own, which is unlinked at
// once so that nothing is left behind.
func (s *sorter) spill() error {
	slices.SortStableFunc(s.kept, sortable.compare)
	f, err := os.CreateTemp(s.dir, "alerts-*.run")
	if err != nil {
		return fmt.Errorf("sorting the alerts: %w", err)
	}
	s.runs = append(s.runs, f)
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("sorting the alerts: %w", err)
	}
	w := bufio.NewWriterSize(f, 64<<10)
	var buf []byte
	for _, l := range s.kept {
		buf = binary.AppendVarint(buf[:0], l.start)
		for _, part := range []string{l.key, l.line} {
			buf = append(binary.AppendUvarint(buf, uint64(len(part))), part...)
		}
		w.Write(buf) // Flush returns the first error
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("sorting the alerts: %w", err)
	}
	clear(s.kept)
	s.kept, s.bytes = s.kept[:0], 0
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// write prints all lines in order.
func (s *sorter) write(w io.Writer) error {
	slices.SortStableFunc(s.kept, sortable.compare)
	var m merge
	for _, f := range s.runs {
		if err := m.push(&sortedRun{r: bufio.NewReaderSize(f, 32<<10), index: len(m)}); err != nil {
			return err
		}
	}
	if err := m.push(&sortedRun{kept: s.kept, index: len(m)}); err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	for len(m) > 0 {
		if _, err := out.WriteString(m[0].now.line); err != nil {
			return err
		}
		if err := m.next(); err != nil {
			return err
		}
	}
	return out.Flush()
}

// close gives the files back.
func (s *sorter) close() error {
	var errs []error
	for _, f := range s.runs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// sortedRun is a sorted sequence: a file, or what is left in memory.
type sortedRun struct {
	r     *bufio.Reader
	kept  []sortable
	now   sortable
	index int
}

// advance goes to the next line; io.EOF at the end.
func (r *sortedRun) advance() error {
	if r.r == nil {
		if len(r.kept) == 0 {
			return io.EOF
		}
		r.now, r.kept = r.kept[0], r.kept[1:]
		return nil
	}
	start, err := binary.ReadVarint(r.r)
	if err != nil {
		return err
	}
	r.now.start = start
	for _, part := range []*string{&r.now.key, &r.now.line} {
		n, err := binary.ReadUvarint(r.r)
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		buf := make([]byte, n)
		if _, err := io.ReadFull(r.r, buf); err != nil {
			return io.ErrUnexpectedEOF
		}
		*part = string(buf)
	}
	return nil
}

// merge is a heap of runs by their next line.
type merge []*sortedRun

func (m merge) Len() int { return len(m) }
func (m merge) Less(i, j int) bool {
	return cmp.Or(m[i].now.compare(m[j].now), cmp.Compare(m[i].index, m[j].index)) < 0
}
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)   { *m = append(*m, x.(*sortedRun)) }
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// push adds a run at its first line.
func (m *merge) push(r *sortedRun) error {
	switch err := r.advance(); err {
	case nil:
		heap.Push(m, r)
	case io.EOF:
	default:
		return fmt.Errorf("sorting the alerts: %w", err)
	}
	return nil
}

// next goes on after the first run's line.
func (m *merge) next() error {
	switch err := (*m)[0].advance(); err {
	case nil:
		heap.Fix(m, 0)
	case io.EOF:
		heap.Pop(m)
	default:
		return fmt.Errorf("sorting the alerts: %w", err)
	}
	return nil
}
