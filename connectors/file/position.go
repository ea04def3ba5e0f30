package file

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	positionVersion  = 1
	flagUnterminated = 1
	maxHead          = 1024
	fixedBytes       = 1 + 1 + 2 + sha256.Size + 8
)

// position is where a source stands in its file; the package comment draws it.
type position struct {
	unterminated bool
	head         int
	hash         [sha256.Size]byte
	offset       int64
	state        []byte
}

func (p *position) append(dst []byte) []byte {
	flags := byte(0)
	if p.unterminated {
		flags = flagUnterminated
	}
	dst = append(dst, positionVersion, flags)
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.head))
	dst = append(dst, p.hash[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.offset))
	return append(dst, p.state...)
}

func parsePosition(b []byte) (p position, err error) {
	switch {
	case len(b) < fixedBytes:
		return p, fmt.Errorf("the saved position has %d bytes, expected at least %d", len(b), fixedBytes)
	case b[0] != positionVersion:
		return p, fmt.Errorf("the saved position has version %d, this program knows %d: run the newer program", b[0], positionVersion)
	}
	p.unterminated = b[1]&flagUnterminated != 0
	p.head = int(binary.BigEndian.Uint16(b[2:]))
	copy(p.hash[:], b[4:])
	p.offset = int64(binary.BigEndian.Uint64(b[4+sha256.Size:]))
	p.state = b[fixedBytes:]
	if p.head > maxHead || p.offset < 0 {
		return p, fmt.Errorf("the saved position is damaged: head of %d bytes, offset %d", p.head, p.offset)
	}
	return p, nil
}
