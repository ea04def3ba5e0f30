package record

import (
	"fmt"
	"unsafe"
)

// decode reads the record at rec[at]: the plain case, which is nearly every
// record, by hand without a call (lengths and offset below 8,192, no headers,
// nothing wrong). All else it leaves untouched to decodeAny.
func (it *Iterator) decode(v *View) bool {
	b := it.rec
	size, p := short(b, it.at)
	end := p + int(size>>1)
	at := p + 1 // past the attributes: none defined
	time, p := short(b, at)
	timeDelta := uint64(time)
	if p == tooLong {
		if timeDelta, p = uvarint64(b, at); p < 0 {
			return it.decodeAny(v)
		}
	}
	delta, p := short(b, p)
	keyLen, p := short(b, p)
	var key, value []byte
	if keyLen != 1 { // zigzag of -1: null
		n := int(keyLen >> 1)
		if keyLen&1 != 0 || n > len(b)-p {
			return it.decodeAny(v)
		}
		key = b[p : p+n : p+n]
		p += n
	}
	valueLen, p := short(b, p)
	if valueLen != 1 {
		n := int(valueLen >> 1)
		if valueLen&1 != 0 || n > len(b)-p {
			return it.decodeAny(v)
		}
		value = b[p : p+n : p+n]
		p += n
	}
	if uint(p) >= uint(len(b)) || b[p] != 0 || p+1 != end || (size|delta)&1 != 0 {
		return it.decodeAny(v)
	}
	offsetDelta := int32(delta >> 1)
	last := it.index+1 == it.count
	if offsetDelta <= it.lastDelta || offsetDelta > it.h.LastOffsetDelta || last && end < len(b) {
		return it.decodeAny(v)
	}
	it.lastDelta = offsetDelta
	it.at = end
	it.index++
	it.place(v, offsetDelta, timeDelta)
	v.Key, v.Value, v.Headers = key, value, nil
	return true
}

// place turns the deltas into offset and timestamp.
func (it *Iterator) place(v *View, offsetDelta int32, timeDelta uint64) {
	v.Offset = it.h.BaseOffset + Offset(offsetDelta)
	v.Timestamp = it.h.BaseTimestamp + unzigzag64(timeDelta)
	if it.h.Attributes&LogAppendTime != 0 {
		v.Timestamp = it.h.MaxTimestamp
	}
}

// decodeAny reads the record at rec[at] whatever it holds, and says what is
// wrong with it; docs/format/batch.md, "Record".
//
// The field reads are chained: a negative position passes through, so that
// one check serves several. The View is written at the end, in one go.
func (it *Iterator) decodeAny(v *View) bool {
	length, p := uvarint32(it.rec, it.at)
	size := int(unzigzag32(length))
	if p < 0 || size < 0 || size > len(it.rec)-p {
		return it.failRecord("record length", fmt.Sprintf("a varint of 0..%d", len(it.rec)-it.at), size)
	}
	end := p + size
	b := it.rec[:end]

	timeDelta, p := uvarint64(b, p+1) // past the attributes: none defined
	delta, p := uvarint32(b, p)
	keyLen, p := uvarint32(b, p)
	key, p := field(b, p, keyLen)
	valueLen, p := uvarint32(b, p)
	value, p := field(b, p, valueLen)
	if p < 0 {
		return it.failRecord("record", fmt.Sprintf("its fields within %d bytes", size),
			fmt.Sprintf("key length %d, value length %d", unzigzag32(keyLen), unzigzag32(valueLen)))
	}
	var headers []Header
	if p < end && b[p] == 0 { // no headers
		p++
	} else if headers, p = it.decodeHeaders(b, p); p < 0 {
		return false
	}
	offsetDelta := unzigzag32(delta)
	switch {
	case p != end:
		return it.failRecord("record length", fmt.Sprintf("%d, what its fields take", size+p-end), size)
	case offsetDelta <= it.lastDelta || offsetDelta > it.h.LastOffsetDelta:
		return it.failRecord("offset delta", fmt.Sprintf("%d..%d", it.lastDelta+1, it.h.LastOffsetDelta), offsetDelta)
	}
	it.lastDelta = offsetDelta
	it.at = end
	it.index++
	if it.index == it.count && end < len(it.rec) {
		return it.failRecord("count", "no bytes after the last record", fmt.Sprintf("%d bytes", len(it.rec)-end))
	}
	it.place(v, offsetDelta, timeDelta)
	v.Key, v.Value, v.Headers = key, value, headers
	return true
}

// field is a key or value of that zigzag length at b[p:], nil for -1, and the
// position after it; a negative position passes through.
func field(b []byte, p int, zigzag uint32) ([]byte, int) {
	if zigzag == 1 {
		return nil, p
	}
	n := int(unzigzag32(zigzag))
	if p < 0 || n < 0 || n > len(b)-p {
		return nil, -1
	}
	return b[p : p+n : p+n], p + n
}

// decodeHeaders reads the headers at b[p:] into the iterator's slice and gives
// the position after them, negative after an error that it has reported.
func (it *Iterator) decodeHeaders(b []byte, p int) ([]Header, int) {
	count, p := varint32(b, p)
	if p < 0 || count < 0 || int(count) > (len(b)-p)/2 { // a header takes two bytes at least
		it.failRecord("header count", fmt.Sprintf("0..%d", len(b)/2), count)
		return nil, -1
	}
	headers := it.headers[:0]
	for range count {
		var keyLen, valueLen int32
		keyLen, p = varint32(b, p)
		if p < 0 || keyLen < 0 || int(keyLen) > len(b)-p {
			it.failRecord("header key length", fmt.Sprintf("0..%d", len(b)), keyLen)
			return nil, -1
		}
		var h Header
		if keyLen > 0 {
			h.Key = unsafe.String(&b[p], int(keyLen)) // the batch's memory: borrowed like everything in a View
			p += int(keyLen)
		}
		valueLen, p = varint32(b, p)
		if p < 0 || int(valueLen) > len(b)-p {
			it.failRecord("header value length", fmt.Sprintf("-1..%d", len(b)), valueLen)
			return nil, -1
		}
		if valueLen >= 0 {
			h.Value = b[p : p+int(valueLen) : p+int(valueLen)]
			p += int(valueLen)
		}
		headers = append(headers, h)
	}
	it.headers = headers
	return headers, p
}
