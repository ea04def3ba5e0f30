package file

import (
	"sync/atomic"

	"github.com/millstream-io/millstream/connectors"
)

// sizes counts bytes of the files as they lie on the disk.
type sizes struct {
	rest        atomic.Int64 // taken of all files but the current one
	now         atomic.Int64 // of the current one
	total       atomic.Int64
	currentFile *tracked // on the goroutine of Read
}

// update looks at all files anew.
func (z *sizes) update(files []*tracked) {
	var done, total int64
	for _, t := range files {
		size := max(t.size(), 0)
		total += size
		switch {
		case t == z.currentFile:
		case t.sizeAtEnd >= 0 || t.place.gaveUp || t.place.complete:
			done += size
		default:
			done += min(t.place.offset, size)
		}
	}
	z.rest.Store(done)
	z.total.Store(total)
}

// read takes over how far the current file was read.
func (z *sizes) read(t *tracked) {
	if z.currentFile != t {
		z.currentFile = t
	}
	z.now.Store(t.in.raw.Load())
}

// leave says that no file is current.
func (z *sizes) leave() {
	z.currentFile = nil
	z.now.Store(0)
}

// Progress is how many bytes of how many on the disk were read, over all files
// known by now; compressed ones count by their compressed size. Of standard
// input and pipes nothing is known: total is 0. Any goroutine may call it.
func (s *Source) Progress() (done, total int64) {
	total = s.sizes.total.Load()
	return min(s.sizes.rest.Load()+s.sizes.now.Load(), total), total
}

// Measures says how many bytes wait in the files.
func (s *Source) Measures() connectors.Measures {
	m := connectors.Measures{LagRecords: -1, LagBytes: -1}
	if !s.stream {
		s.sizes.update(s.files)
		done, total := s.Progress()
		m.LagBytes = total - done
	}
	return m
}
