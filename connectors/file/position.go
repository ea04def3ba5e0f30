package file

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	positionVersion1 = 1
	positionVersion  = 2

	flagUnterminated = 1
	flagTooLong      = 2
	flagComplete     = 4
	flagGaveUp       = 8

	maxHead    = 1024
	fixedBytes = 1 + 2 + sha256.Size + 8 // flags to offset, in both versions
)

// position is where a source stands in one file; the package comment draws it.
type position struct {
	path         string
	unterminated bool // the last line taken had no newline yet
	tooLong      bool // offset is inside a line whose beginning is a dead letter
	complete     bool // compressed, and read to its end
	gaveUp       bool // a Glob's file that cannot be read, and was reported
	head         int
	hash         [sha256.Size]byte
	offset       int64 // into the decompressed content
	lines        int64 // newlines before offset
	state        []byte
}

func (p *position) flags() (f byte) {
	for bit, set := range [4]bool{p.unterminated, p.tooLong, p.complete, p.gaveUp} {
		if set {
			f |= 1 << bit
		}
	}
	return f
}

func appendPositions(dst []byte, files []*tracked) []byte {
	dst = binary.AppendUvarint(append(dst, positionVersion), uint64(len(files)))
	for _, t := range files {
		p := &t.place
		dst = appendSized(dst, []byte(p.path))
		dst = append(dst, p.flags())
		dst = binary.BigEndian.AppendUint16(dst, uint16(p.head))
		dst = append(dst, p.hash[:]...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.offset))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.lines))
		dst = appendSized(dst, p.state)
	}
	return dst
}

func appendSized(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// parsePositions reads what appendPositions wrote, or the one file of version 1,
// which had no path.
func parsePositions(b []byte) (out []position, err error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("the saved position has 0 bytes, expected at least 2")
	}
	r := positionReader{b: b[1:]}
	switch b[0] {
	case positionVersion1:
		p := r.fixed()
		p.state = r.b
		out = append(out, p)
	case positionVersion:
		for n := r.uvarint(); n > 0 && !r.short; n-- {
			path := r.sized()
			p := r.fixed()
			p.path = string(path)
			p.lines = int64(r.uint64())
			p.state = append([]byte(nil), r.sized()...)
			out = append(out, p)
		}
		r.short = r.short || len(r.b) > 0
	default:
		return nil, fmt.Errorf("the saved position has version %d, this program knows up to %d: run the newer program", b[0], positionVersion)
	}
	if r.short {
		return nil, fmt.Errorf("the saved position is damaged: %d bytes do not hold what they announce", len(b))
	}
	for _, p := range out {
		if p.head > maxHead || p.offset < 0 || p.lines < 0 {
			return nil, fmt.Errorf("the saved position is damaged: head of %d bytes, offset %d, line %d", p.head, p.offset, p.lines)
		}
	}
	return out, nil
}

// positionReader takes fields off b; short is set when there was too little.
type positionReader struct {
	b     []byte
	short bool
}

func (r *positionReader) take(n uint64) []byte {
	if r.short || uint64(len(r.b)) < n {
		r.short = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *positionReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.short = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *positionReader) sized() []byte { return r.take(r.uvarint()) }

func (r *positionReader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// fixed reads flags, head, hash and offset.
func (r *positionReader) fixed() (p position) {
	b := r.take(fixedBytes)
	if b == nil {
		return p
	}
	p.unterminated, p.tooLong = b[0]&flagUnterminated != 0, b[0]&flagTooLong != 0
	p.complete, p.gaveUp = b[0]&flagComplete != 0, b[0]&flagGaveUp != 0
	p.head = int(binary.BigEndian.Uint16(b[1:]))
	copy(p.hash[:], b[3:])
	p.offset = int64(binary.BigEndian.Uint64(b[3+sha256.Size:]))
	return p
}
