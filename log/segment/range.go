package segment

import (
	"io"
	"os"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Range is a run of whole batches as they lie in one .log file, lent to who
// sends them: sendfile from OSFile, or ReadAt. The zero Range is empty.
//
// The file stays open, and its bytes as they are, until Release, whatever
// happens to the segment meanwhile: appends write behind the range, retention
// and compaction retire the file's entry in the FileCache, which closes it when
// its last user is done, and remove or replace the name only. So a slow reader
// holds one open file and its disk space, no lock. Only reopening an offline
// partition may cut a file: then the sender comes up short and must give up.
type Range struct {
	handle *handle
	file   vfs.File
	pos    int64
	len    int64
	next   record.Offset
}

// Len is the range's size in bytes.
func (r *Range) Len() int64 { return r.len }

// Pos is where the range begins in its file.
func (r *Range) Pos() int64 { return r.pos }

// Next is the offset after the last batch; the offset asked for if the range is empty.
func (r *Range) Next() record.Offset { return r.next }

// OSFile is the operating system's file, for sendfile from Pos; ok is false in
// other file systems. It must not be closed, and its position not be used.
func (r *Range) OSFile() (f *os.File, ok bool) {
	if r.file == nil {
		return nil, false
	}
	return vfs.SyscallFile(r.file)
}

// ReadAt reads len(p) bytes of the range from off, which counts from its beginning.
func (r *Range) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.len {
		return 0, io.EOF
	}
	short := int64(len(p)) > r.len-off
	if short {
		p = p[:r.len-off]
	}
	n, err := r.file.ReadAt(p, r.pos+off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// Release gives the file back. It may be called twice.
func (r *Range) Release() {
	if r.handle != nil {
		r.handle.release()
	}
	r.handle, r.file = nil, nil
}

// Range finds whole batches from the one that holds offset up to maxBytes, all
// beginning below upTo, and lends them. A first batch above maxBytes comes
// alone with atLeastOne, else not. Range reads headers only: a few KiB, whatever
// the size. Errors as of Read; at upTo or the end the range is empty.
func (l *Log) Range(offset, upTo record.Offset, maxBytes int, atLeastOne bool) (Range, error) {
	none := Range{next: offset}
	for {
		if err := l.usable(); err != nil {
			return none, err
		}
		start, end := l.Start(), l.End()
		if offset < start || offset > end {
			return none, &OffsetOutOfRangeError{Partition: l.cfg.Partition, Offset: offset, Start: start, End: end}
		}
		upTo := min(upTo, end)
		if offset >= upTo {
			return none, nil
		}
		segs := l.list()
		r := none
		var err error
		for i := find(segs, offset); i < len(segs) && segs[i].base < upTo; i++ {
			var more bool
			r, more, err = l.rangeIn(segs[i], offset, upTo, maxBytes, atLeastOne)
			if err != nil || !more {
				break
			}
		}
		if err == nil {
			return r, nil
		}
		if !l.gone(err) {
			return none, err
		}
	}
}

// rangeIn is Range within one segment; more says that no batch at or after
// offset is in it, so that the next segment is to be asked.
func (l *Log) rangeIn(s *segment, offset, upTo record.Offset, maxBytes int, atLeastOne bool) (r Range, more bool, err error) {
	limit := s.size.Load()
	f, err := s.log.acquire()
	if err != nil {
		return Range{}, false, l.readError(s, offset, 0, err)
	}
	r = Range{handle: &s.log, file: f, next: offset}
	pos, first, err := l.position(s, f, offset, limit)
	if err != nil || pos < 0 || first > maxBytes && !atLeastOne {
		r.Release()
		return Range{next: offset}, err == nil && pos < 0, err
	}
	to := min(pos+int64(max(maxBytes, first)), limit)
	end, next, err := l.lastBoundary(s, f, pos, to, limit, upTo)
	if err != nil || end <= pos {
		r.Release()
		return Range{next: offset}, false, err
	}
	r.pos, r.len, r.next = pos, end-pos, next
	l.hint(s, next, end)
	return r, false, nil
}

// lastBoundary is the greatest end of a batch in [pos, to] that begins below
// upTo, and the offset after it. pos is the beginning of a batch; the file has
// whole batches up to limit, which is at least to.
func (l *Log) lastBoundary(s *segment, f vfs.File, pos, to, limit int64, upTo record.Offset) (end int64, next record.Offset, err error) {
	end = pos
	if to-pos > searchBlock {
		// From the last index entry in the range on, rather than through all its headers.
		e, ok, err := s.index.searchFunc(func(b []byte) bool {
			return indexedAt(b) <= to && s.base+record.Offset(offsetKey(b)) < upTo
		})
		if err != nil {
			return 0, 0, l.readError(s, s.base, 0, err)
		}
		if ok && e.position() > pos {
			end = e.position()
		}
	}
	buf := blockPool.Get().(*[searchBlock]byte)
	defer blockPool.Put(buf)
	next = record.NoOffset
	for end < limit {
		b := buf[:min(searchBlock, limit-end)]
		if _, err := f.ReadAt(b, end); err != nil {
			return 0, 0, l.readError(s, s.base, end, err)
		}
		at := 0
		for at == 0 || at+record.HeaderSize <= len(b) {
			h, err := record.ParseHeader(b[at:])
			if err != nil {
				return 0, 0, l.readError(s, s.base, end+int64(at), err)
			}
			if h.BaseOffset >= upTo || end+int64(at)+int64(h.Size()) > to {
				if next == record.NoOffset {
					next = h.BaseOffset
				}
				return end + int64(at), next, nil
			}
			next = h.NextOffset()
			at += h.Size()
		}
		end += int64(at)
	}
	return end, next, nil
}
