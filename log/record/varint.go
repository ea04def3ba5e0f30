package record

import (
	"math"
	"math/bits"
)

// Varints are protocol buffers' zigzag varints: docs/format/batch.md, "Varints".
//
// The readers take a position and give the next one; a negative position is an
// error that passes through, so that a chain of reads is checked once.

// tooLong is the position that short gives for anything but one or two bytes.
// It passes through short, and no buffer has it.
const tooLong = math.MaxInt / 2

// short reads a varint of one or two bytes, still in zigzag, where at least
// one byte follows the first. It is inlined.
func short(b []byte, p int) (uint32, int) {
	if uint(p+1) >= uint(len(b)) {
		return 0, tooLong
	}
	u := uint32(b[p])
	if u < 0x80 {
		return u, p + 1
	}
	c := uint32(b[p+1])
	if c < 0x80 {
		return u&0x7f | c<<7, p + 2
	}
	return 0, tooLong
}

// uvarint32 reads 32 bits of at most 5 bytes, still in zigzag: see unzigzag32.
func uvarint32(b []byte, p int) (uint32, int) {
	if uint(p) < uint(len(b)) && b[p] < 0x80 {
		return uint32(b[p]), p + 1
	}
	return uvarint32Long(b, p)
}

func uvarint32Long(b []byte, p int) (uint32, int) {
	if p < 0 || p+1 >= len(b) { // one byte that is left would not be long
		return 0, -1
	}
	if c := b[p+1]; c < 0x80 { // two bytes: most values and records
		return uint32(b[p]&0x7f) | uint32(c)<<7, p + 2
	}
	u := uint32(b[p]&0x7f) | uint32(b[p+1]&0x7f)<<7
	p += 2
	for shift := 14; shift < 35 && p < len(b); shift += 7 {
		c := b[p]
		p++
		if shift == 28 && c > 0x0f { // more than 32 bits
			return 0, -1
		}
		u |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return u, p
		}
	}
	return 0, -1
}

// uvarint64 reads 64 bits of at most 10 bytes, still in zigzag.
func uvarint64(b []byte, p int) (uint64, int) {
	if uint(p) < uint(len(b)) && b[p] < 0x80 {
		return uint64(b[p]), p + 1
	}
	return uvarint64Long(b, p)
}

func uvarint64Long(b []byte, p int) (uint64, int) {
	if p < 0 {
		return 0, -1
	}
	var u uint64
	for shift := 0; shift < 70 && p < len(b); shift += 7 {
		c := b[p]
		p++
		if shift == 63 && c > 1 { // more than 64 bits
			return 0, -1
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return u, p
		}
	}
	return 0, -1
}

func unzigzag32(u uint32) int32 { return int32(u>>1) ^ -int32(u&1) }
func unzigzag64(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// varint32 is uvarint32 with the sign undone, for the paths that are not hot.
func varint32(b []byte, p int) (int32, int) {
	u, p := uvarint32(b, p)
	return unzigzag32(u), p
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
