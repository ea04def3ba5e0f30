package file

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// part is the file of a partition that is being written.
//
// Invariant: with file nil, journal.last has no file either. buf holds records
// that are in neither; they end before pending.next.
type part struct {
	s       *Sink
	base    string // topic-partition
	journal *journal
	file    *os.File
	began   time.Time // when its first record came, or this process took it up
	buf     []byte
	pending entry
}

// entry is what a journal says: the records before next are in files, and size
// bytes of them in the part file that begins with first.
type entry struct {
	next, first record.Offset
	size        int64
	open        bool // there is a part file
}

func (p *part) name(first record.Offset) string {
	return fmt.Sprintf("%s-%020d%s%s", p.base, first, p.s.cfg.Extension, p.s.cfg.Compression.extension())
}

func (p *part) path(first record.Offset) string { return filepath.Join(p.s.cfg.Dir, p.name(first)) }

func (p *part) partPath(first record.Offset) string {
	return filepath.Join(p.s.cfg.Dir, "."+p.name(first)+".part")
}

// recover cuts the part file back to what the journal says. One that is not
// there was finished just before the crash. One that no entry names never was
// acknowledged.
func (p *part) recover() error {
	p.pending = p.journal.last
	e := p.journal.last
	strays, err := filepath.Glob(filepath.Join(escaped(p.s.cfg.Dir), "."+escaped(p.base)+"-*.part"))
	if err != nil {
		return err
	}
	for _, path := range strays {
		if !e.open || path != p.partPath(e.first) {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	if !e.open {
		return nil
	}
	f, err := os.OpenFile(p.partPath(e.first), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		p.pending = entry{next: e.next}
		return p.journal.append(p.pending)
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < e.size {
		err = fmt.Errorf("%s has %d bytes, expected %d that were on the disk: it was changed; move it and its journal away to begin anew", f.Name(), info.Size(), e.size)
	}
	if err == nil {
		err = f.Truncate(e.size)
	}
	if err != nil {
		f.Close()
		return err
	}
	p.file, p.began = f, p.s.cfg.Now()
	return nil
}

// escaped is a name as a pattern that matches only it.
func escaped(name string) string {
	var b []byte
	for i := range len(name) {
		if c := name[i]; c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, name[i])
	}
	return string(b)
}

// add formats a record; its error is the record's own.
func (p *part) add(r *connectors.Record) error {
	if r.Offset < p.pending.next {
		return nil // it came again
	}
	n := len(p.buf)
	buf := p.buf
	if !p.pending.open {
		buf = p.s.cfg.Format.Begin(buf)
	}
	buf, err := p.s.cfg.Format.Append(buf, r)
	if err != nil {
		p.buf = buf[:n]
		return err
	}
	p.buf = buf
	if !p.pending.open {
		p.pending.first, p.pending.open, p.pending.size = r.Offset, true, 0
	}
	p.pending.next = r.Offset + 1
	return nil
}

// flush puts what was added on the disk, and finishes the file if it is due.
func (p *part) flush() (err error) {
	if len(p.buf) == 0 {
		return nil
	}
	if p.file == nil {
		if p.file, err = os.OpenFile(p.partPath(p.pending.first), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
			return err
		}
		p.began = p.s.cfg.Now()
	}
	data, err := p.s.packed.pack(p.s.cfg.Compression, p.buf)
	if err == nil {
		_, err = p.file.WriteAt(data, p.journal.last.size)
	}
	if err == nil {
		err = p.file.Sync()
	}
	if err == nil && !p.journal.last.open {
		err = p.s.dir.Sync() // the part file's name
	}
	p.pending.size = p.journal.last.size + int64(len(data))
	if err == nil {
		err = p.journal.append(p.pending)
	}
	if err != nil {
		return errors.Join(err, p.undo())
	}
	p.buf = p.buf[:0]
	if p.pending.size >= p.s.cfg.MaxBytes || p.s.cfg.MaxAge >= 0 && p.s.cfg.Now().Sub(p.began) >= p.s.cfg.MaxAge {
		return p.finish()
	}
	return nil
}

// undo goes back to what the journal says, after a write that failed.
func (p *part) undo() error {
	p.buf, p.pending = p.buf[:0], p.journal.last
	if p.file == nil {
		return nil
	}
	if p.pending.open {
		return p.file.Truncate(p.pending.size)
	}
	name := p.file.Name()
	err := errors.Join(p.file.Close(), os.Remove(name))
	p.file = nil
	return err
}

// finish gives the file its name. A crash after the rename finds the part file
// gone, and knows by that.
func (p *part) finish() error {
	first := p.pending.first
	if err := p.file.Truncate(p.journal.last.size); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(p.partPath(first), p.path(first)); err != nil {
		return err
	}
	if err := p.s.dir.Sync(); err != nil {
		return err
	}
	err := p.file.Close()
	p.file = nil
	p.pending = entry{next: p.pending.next}
	p.journal.last = p.pending // by the rename, even if the entry cannot be written now
	return errors.Join(err, p.journal.append(p.pending))
}

func (p *part) close() error {
	var err error
	if p.file != nil {
		err = p.file.Close()
	}
	return errors.Join(err, p.journal.close())
}

// packer compresses a piece of a file: a gzip member or zstd frame of its own, so
// that the file can be cut after each.
type packer struct {
	out  bytes.Buffer
	gzip *gzip.Writer
	zstd *zstd.Encoder
	buf  []byte
}

func (p *packer) pack(c Compression, b []byte) (_ []byte, err error) {
	switch c {
	case Gzip:
		p.out.Reset()
		if p.gzip == nil {
			p.gzip = gzip.NewWriter(&p.out)
		}
		p.gzip.Reset(&p.out)
		if _, err := p.gzip.Write(b); err != nil {
			return nil, err
		}
		if err := p.gzip.Close(); err != nil {
			return nil, err
		}
		return p.out.Bytes(), nil
	case Zstd:
		if p.zstd == nil {
			if p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)); err != nil {
				return nil, err
			}
		}
		p.buf = p.zstd.EncodeAll(b, p.buf[:0])
		return p.buf, nil
	}
	return b, nil
}
