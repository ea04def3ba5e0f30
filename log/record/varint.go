package record

import "math/bits"

// Varints are protocol buffers' zigzag varints: docs/format/batch.md, "Varints".
//
// The readers take a position and give the next one; a negative position is an
// error that passes through, so that a chain of reads is checked once.

// varint32 reads an int32 of at most 5 bytes. The one-byte case is inlined.
func varint32(b []byte, p int) (int32, int) {
	if uint(p) < uint(len(b)) && b[p] < 0x80 {
		return int32(b[p]>>1) ^ -int32(b[p]&1), p + 1
	}
	return varint32Long(b, p)
}

func varint32Long(b []byte, p int) (int32, int) {
	if p < 0 {
		return 0, p
	}
	if p+1 < len(b) && b[p+1] < 0x80 { // two bytes: most keys, values and records
		u := uint32(b[p]&0x7f) | uint32(b[p+1])<<7
		return int32(u>>1) ^ -int32(u&1), p + 2
	}
	var u uint32
	for shift := 0; shift < 35; shift += 7 {
		if p >= len(b) {
			return 0, -1
		}
		c := b[p]
		p++
		if shift == 28 && c > 0x0f { // more than 32 bits
			return 0, -1
		}
		u |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return int32(u>>1) ^ -int32(u&1), p
		}
	}
	return 0, -1
}

// varint64 reads an int64 of at most 10 bytes. The one-byte case is inlined.
func varint64(b []byte, p int) (int64, int) {
	if uint(p) < uint(len(b)) && b[p] < 0x80 {
		return int64(b[p]>>1) ^ -int64(b[p]&1), p + 1
	}
	return varint64Long(b, p)
}

func varint64Long(b []byte, p int) (int64, int) {
	if p < 0 {
		return 0, p
	}
	var u uint64
	for shift := 0; shift < 70; shift += 7 {
		if p >= len(b) {
			return 0, -1
		}
		c := b[p]
		p++
		if shift == 63 && c > 1 { // more than 64 bits
			return 0, -1
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), p
		}
	}
	return 0, -1
}

func zigzag32(v int32) uint64 { return uint64(uint32(v<<1) ^ uint32(v>>31)) }
func zigzag64(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// uvarintSize is the bytes of an unsigned varint: ceil(bits/7) without a division.
func uvarintSize(u uint64) int { return (9*bits.Len64(u|1) + 64) >> 6 }

// putUvarint writes u at b[p:], which has room, and gives the next position.
func putUvarint(b []byte, p int, u uint64) int {
	for u >= 0x80 {
		b[p] = byte(u) | 0x80
		u >>= 7
		p++
	}
	b[p] = byte(u)
	return p + 1
}
