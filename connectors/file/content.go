package file

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of a zstd decoder (zstd --long=27 needs as much).
const maxWindow = 128 << 20

var (
	magicGzip = []byte{0x1f, 0x8b}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	utf8BOM   = []byte{0xef, 0xbb, 0xbf}
)

// content is an open file as what is in it, decompressed.
type content struct {
	f       *os.File // nil: standard input
	in      io.Reader
	raw     atomic.Int64 // bytes of the file that were read
	regular bool
	packed  bool
	unpack  func(io.Reader) (io.Reader, error) // of packed
	free    func()
}

// openContent opens a file. It is read after start.
func openContent(path string) (*content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s: is a directory, expected a file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	c := &content{f: f, regular: info.Mode().IsRegular()}
	if c.regular {
		magic := make([]byte, 4)
		n, _ := f.ReadAt(magic, 0)
		c.unpack = unpacker(magic[:n])
		c.packed = c.unpack != nil
	}
	return c, nil
}

// unpacker tells by the first bytes how a file is compressed; nil: not at all.
func unpacker(magic []byte) func(io.Reader) (io.Reader, error) {
	switch {
	case bytes.HasPrefix(magic, magicGzip):
		return func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case bytes.HasPrefix(magic, magicZstd):
		return func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		}
	}
	return nil
}

// Read reads decompressed bytes.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	if err != nil && err != io.EOF && c.packed {
		err = damaged(err)
	}
	return n, err
}

// damaged is an error of a decompressor. What the disk says stays as it is.
func damaged(err error) error {
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// counted counts what a content reads of its file.
type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// start makes offset the next byte that Read returns.
func (c *content) start(offset int64) error {
	if !c.packed {
		if c.regular {
			if _, err := c.f.Seek(offset, io.SeekStart); err != nil {
				return err
			}
		}
		c.raw.Store(offset)
		c.in = counted{c.f, &c.raw}
		return nil
	}
	c.release()
	if _, err := c.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	c.raw.Store(0)
	in, err := c.unpack(counted{c.f, &c.raw})
	if err != nil {
		return damaged(err)
	}
	c.in = in
	if d, ok := in.(*zstd.Decoder); ok {
		c.free = d.Close
	}
	if _, err := io.CopyN(io.Discard, c, offset); err == io.EOF {
		return fmt.Errorf("%w: %w", ErrShorter, io.ErrUnexpectedEOF)
	} else if err != nil {
		return err
	}
	return nil
}

// head hashes the first n bytes of the content, or what there is of them.
// start has to be called afterwards.
func (c *content) head(n int) (int, [sha256.Size]byte, error) {
	head := make([]byte, n)
	var err error
	if c.packed {
		if err = c.start(0); err == nil {
			n, err = io.ReadFull(c, head)
		} else {
			n = 0
		}
	} else {
		n, err = c.f.ReadAt(head, 0)
	}
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, [sha256.Size]byte{}, err
	}
	return n, sha256.Sum256(head[:n]), nil
}

func (c *content) release() {
	if c.free != nil {
		c.free()
		c.free = nil
	}
}

func (c *content) close() error {
	if c == nil || c.f == nil {
		return nil
	}
	c.release()
	return c.f.Close()
}

// sniffed is a stream (standard input, a pipe) as what is in it: its first bytes
// tell whether it is compressed, waiting for no more of them than needed.
type sniffed struct {
	r      io.Reader
	in     io.Reader // nil before the first Read
	packed bool
}

func (s *sniffed) Read(p []byte) (int, error) {
	if s.in == nil {
		if err := s.sniff(); err != nil {
			return 0, err
		}
	}
	n, err := s.in.Read(p)
	if err != nil && err != io.EOF && s.packed {
		err = damaged(err)
	}
	return n, err
}

func (s *sniffed) sniff() error {
	var first []byte
	var err error
	for err == nil && (len(first) == 0 || len(first) < len(magicZstd) && mayBeMagic(first)) {
		var b [1]byte
		var n int
		n, err = s.r.Read(b[:])
		first = append(first, b[:n]...)
	}
	if err != nil && err != io.EOF {
		return err
	}
	s.in = io.MultiReader(bytes.NewReader(first), s.r)
	if err == io.EOF {
		s.in = bytes.NewReader(first)
	}
	if unpack := unpacker(first); unpack != nil {
		in, err := unpack(s.in)
		if err != nil {
			return damaged(err)
		}
		s.in, s.packed = in, true
	}
	return nil
}

func mayBeMagic(first []byte) bool {
	return bytes.HasPrefix(magicZstd, first) || bytes.HasPrefix(first, magicGzip) || bytes.HasPrefix(magicGzip, first)
}
