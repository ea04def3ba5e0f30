package record

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// The frame of LZ4 (lz4_Frame_format.md 1.6.1), read straight into the
// destination: the library's reader goes through buffers of its own and takes
// four times as long. The blocks are the library's to decompress, and so is
// everything that clients of Kafka do not write.
const (
	lz4Magic      = 0x184d2204
	lz4Version    = 1 << 6
	lz4Independs  = 1 << 5 // blocks do not look back into those before
	lz4BlockSums  = 1 << 4
	lz4Size       = 1 << 3
	lz4ContentSum = 1 << 2
	lz4Raw        = 1 << 31 // in a block's length: not compressed
	lz4Window     = 64 << 10
)

// decodeLZ4 appends the one frame that src is, decompressed, to dst. false: it
// is damaged, unusual or beyond limit, and the library's reader is to say what
// it is; dst's length is then as it was.
func decodeLZ4(dst, src []byte, limit int) ([]byte, bool) {
	flags, blockMax, src, ok := lz4Header(src)
	if !ok {
		return dst, false
	}
	from := len(dst)
	dst = slices.Grow(dst, min(max(3*len(src), 512), limit))
	for {
		if len(src) < 4 {
			return dst[:from], false
		}
		length := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if length == 0 { // the end mark
			break
		}
		n := int(length &^ lz4Raw)
		if n > blockMax || n > len(src) {
			return dst[:from], false
		}
		block := src[:n]
		src = src[n:]
		if flags&lz4BlockSums != 0 {
			if len(src) < 4 || binary.LittleEndian.Uint32(src) != xxh32(block) {
				return dst[:from], false
			}
			src = src[4:]
		}
		at := len(dst)
		room := min(blockMax, limit-(at-from))
		dst = slices.Grow(dst, room)
		size := 0
		if length&lz4Raw != 0 {
			if size = copy(dst[at:at+room], block); size < n {
				return dst[:from], false
			}
		} else {
			var window []byte
			if flags&lz4Independs == 0 {
				window = dst[max(from, at-lz4Window):at]
			}
			var err error
			if size, err = lz4.UncompressBlockWithDict(block, dst[at:at+room], window); err != nil {
				return dst[:from], false
			}
		}
		dst = dst[:at+size]
	}
	if flags&lz4ContentSum != 0 {
		// Not compared, as Kafka's own reader does not: the batch's CRC-32C covers
		// these bytes, and the sum would cost as much as the decompression.
		if len(src) < 4 {
			return dst[:from], false
		}
		src = src[4:]
	}
	return dst, len(src) == 0
}

// lz4Header reads a frame's header and gives what follows it.
func lz4Header(src []byte) (flags byte, blockMax int, rest []byte, ok bool) {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return 0, 0, nil, false
	}
	flags = src[4]
	block := src[5]
	if flags&0b1100_0011 != lz4Version || block&0b1000_1111 != 0 || block < 4<<4 {
		return 0, 0, nil, false // another version, a dictionary, bits that are reserved
	}
	end := 6
	if flags&lz4Size != 0 {
		end += 8
	}
	if len(src) <= end || src[end] != byte(xxh32(src[4:end])>>8) {
		return 0, 0, nil, false
	}
	return flags, 1 << (8 + 2*(block>>4)), src[end+1:], true
}

// xxh32 is xxHash's 32-bit sum with seed 0, which LZ4's frames use.
func xxh32(b []byte) uint32 {
	const p1, p2, p3, p4, p5 uint32 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	h := p5
	n := uint32(len(b))
	if len(b) >= 16 {
		v1, v2, v3, v4 := p1, p2, uint32(0), uint32(0)
		v1 += p2
		v4 -= p1
		for ; len(b) >= 16; b = b[16:] {
			v1 = bits.RotateLeft32(v1+binary.LittleEndian.Uint32(b)*p2, 13) * p1
			v2 = bits.RotateLeft32(v2+binary.LittleEndian.Uint32(b[4:])*p2, 13) * p1
			v3 = bits.RotateLeft32(v3+binary.LittleEndian.Uint32(b[8:])*p2, 13) * p1
			v4 = bits.RotateLeft32(v4+binary.LittleEndian.Uint32(b[12:])*p2, 13) * p1
		}
		h = bits.RotateLeft32(v1, 1) + bits.RotateLeft32(v2, 7) + bits.RotateLeft32(v3, 12) + bits.RotateLeft32(v4, 18)
	}
	h += n
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*p3, 17) * p4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*p5, 11) * p1
	}
	h ^= h >> 15
	h *= p2
	h ^= h >> 13
	h *= p3
	return h ^ h>>16
}
