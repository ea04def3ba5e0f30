package record

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/golang/snappy"
)

// xerial's snappy-java framing, which Kafka's Java client writes and expects:
// docs/format/batch.md, "Snappy".
var xerialMagic = [8]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeaderSize = 16
	xerialVersion    = 1
	xerialBlock      = 32 << 10 // what snappy-java compresses at a time
)

func compressXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic[:]...)
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion) // version
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion) // least version that reads it
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlock)]
		src = src[len(block):]
		at := len(dst)
		dst = slices.Grow(dst, 4+snappy.MaxEncodedLen(len(block)))
		out := snappy.Encode(dst[at+4:cap(dst)], block)
		dst = dst[:at+4+len(out)]
		binary.BigEndian.PutUint32(dst[at:], uint32(len(out)))
	}
	return dst
}

func decompressXerial(dst, src []byte, limit int) ([]byte, error) {
	if len(src) < xerialHeaderSize {
		return dst, fmt.Errorf("xerial header of %d bytes: expected %d", len(src), xerialHeaderSize)
	}
	if compatible := binary.BigEndian.Uint32(src[12:]); compatible > xerialVersion {
		return dst, fmt.Errorf("xerial stream for version %d: expected %d", compatible, xerialVersion)
	}
	src = src[xerialHeaderSize:]
	for len(src) > 0 {
		if len(src) < 4 {
			return dst, fmt.Errorf("xerial block length of %d bytes: expected 4", len(src))
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return dst, fmt.Errorf("xerial block of %d bytes: expected at most %d", n, len(src))
		}
		var err error
		if dst, err = appendSnappyBlock(dst, src[:n], limit); err != nil {
			return dst, err
		}
		src = src[n:]
	}
	return dst, nil
}
