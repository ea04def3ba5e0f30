package syslog

import (
	"bytes"
	"fmt"
)

// framer cuts a stream into lines (RFC 6587). It is stepped: bytes are put into
// space, then next is called until it has no more. Every message is judged by
// itself, see Framing. Memory is bounded by the limit, whatever the stream says.
//
// Invariant: buf[r:w] are the bytes that are not yet part of a line that was
// returned; the first scanned of them hold no end of a line.
type framer struct {
	framing Framing
	limit   int // of a line, bytes

	buf        []byte
	r, w       int
	scanned    int
	filledUp   bool // the last read left no space: larger ones pay
	counted    bool // the stream has had an octet-counted message
	skipOctets int  // of a counted message that is too long
	skipLine   bool // up to the end of a line that is too long
	broken     bool // the stream is not what its framing says
}

const (
	// Octet counts have at most this many digits: 99,999,999 bytes.
	maxCountDigits = 8
	firstBuffer    = 4 << 10  // of a connection; most are slow
	fullBuffer     = 64 << 10 // of one that is fast
	frameSlack     = maxCountDigits + 4
)

// space is where the next bytes of the stream go; it makes lines that next
// returned invalid.
func (f *framer) space() []byte {
	if f.r > 0 {
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	size := len(f.buf)
	switch {
	case size == 0:
		size = min(firstBuffer, f.limit+frameSlack)
	case f.filledUp && size < fullBuffer, f.w == size:
		size = min(2*size, max(fullBuffer, f.limit+frameSlack))
	}
	if size > len(f.buf) {
		buf := make([]byte, size)
		copy(buf, f.buf[:f.w])
		f.buf = buf
	}
	return f.buf[f.w:]
}

// filled says that n bytes were put into space.
func (f *framer) filled(n int) {
	f.w += n
	f.filledUp = f.w == len(f.buf)
}

// inLine says whether the stream stands in the middle of a line.
func (f *framer) inLine() bool { return f.w > f.r || f.skipOctets > 0 || f.skipLine }

// next is the next line without its frame, borrowed until space is called; ok is
// false if it needs more bytes, or if the stream is broken. bad says why a line
// is none: then line is its beginning.
func (f *framer) next() (line []byte, bad error, ok bool) {
	for !f.broken {
		if !f.skipped() {
			return nil, nil, false
		}
		n, head, known := f.count(f.buf[f.r:f.w])
		switch {
		case !known:
			return nil, nil, false
		case n > 0:
			line, bad, ok = f.countedLine(n, head)
		case f.framing == FramingOctets:
			f.broken = true
			return f.rest(), ErrFraming, true
		default:
			line, bad, ok = f.line()
		}
		if !ok || len(line) > 0 {
			return line, bad, ok
		} // an empty line is a newline after a counted message, or a sign of life
	}
	return nil, nil, false
}

// skipped leaves out the rest of a long line, and the ends of lines before a
// message; false if that needs more bytes.
func (f *framer) skipped() bool {
	if f.skipOctets > 0 {
		n := min(f.skipOctets, f.w-f.r)
		f.advance(n)
		if f.skipOctets -= n; f.skipOctets > 0 {
			return false
		}
	}
	if f.skipLine {
		i := f.end(f.buf[f.r:f.w])
		if i < 0 {
			f.advance(f.w - f.r)
			return false
		}
		f.advance(i + 1)
		f.skipLine = false
	}
	for f.r < f.w && isEnd(f.buf[f.r]) {
		f.advance(1)
	}
	return f.r < f.w
}

func isEnd(c byte) bool { return c == '\n' || c == '\r' || c == 0 }

func (f *framer) advance(n int) {
	f.r += n
	f.scanned = 0
}

// count looks at the head of a message: "123 <" is 123 octets after 4 bytes; 0
// octets is a line with an end. known is false if that needs more bytes.
func (f *framer) count(b []byte) (octets, head int, known bool) {
	if f.framing == FramingNewline || f.framing == FramingNUL {
		return 0, 0, true
	}
	for i := 0; i <= maxCountDigits; i++ {
		if i == len(b) {
			return 0, 0, false
		}
		c := b[i]
		switch {
		case c == ' ' && i > 0 && (f.counted || f.framing == FramingOctets):
			return octets, i + 1, true
		case c == ' ' && i > 0:
			if i+1 == len(b) {
				return 0, 0, false
			}
			if b[i+1] != '<' {
				return 0, 0, true
			}
			return octets, i + 1, true
		case c-'0' > 9 || i == 0 && c == '0':
			return 0, 0, true
		}
		octets = octets*10 + int(c-'0')
	}
	return 0, 0, true
}

// countedLine is a message of n octets after head bytes.
func (f *framer) countedLine(n, head int) ([]byte, error, bool) {
	keep := min(n, f.limit)
	if f.w-f.r < head+keep {
		return nil, nil, false
	}
	f.counted = true
	line := f.buf[f.r+head : f.r+head+keep]
	f.advance(head + keep)
	if n > keep {
		f.skipOctets = n - keep
		return line, fmt.Errorf("%w of %d bytes: it has %d", ErrTooLong, f.limit, n), true
	}
	return trimFrame(line), nil, true
}

// line is a message up to an end of line.
func (f *framer) line() ([]byte, error, bool) {
	b := f.buf[f.r:f.w]
	i := f.end(b[f.scanned:])
	if i < 0 {
		if f.scanned = len(b); len(b) < f.limit+len("\r\n") {
			return nil, nil, false
		}
		f.advance(len(b))
		f.skipLine = true
		return b[:f.limit], fmt.Errorf("%w of %d bytes", ErrTooLong, f.limit), true
	}
	i += f.scanned
	f.advance(i + 1)
	line := trimFrame(b[:i])
	if len(line) > f.limit {
		return line[:f.limit], fmt.Errorf("%w of %d bytes: it has %d", ErrTooLong, f.limit, len(line)), true
	}
	return line, nil, true
}

// end is where the first line of b ends, -1 if it does not.
func (f *framer) end(b []byte) int {
	if f.framing == FramingNUL {
		return bytes.IndexByte(b, 0)
	}
	i := bytes.IndexByte(b, '\n')
	if f.framing == FramingNewline {
		return i
	}
	if i >= 0 {
		b = b[:i]
	}
	if j := bytes.IndexByte(b, 0); j >= 0 {
		return j
	}
	return i
}

// rest is what the stream holds beyond the last line, at most the limit.
func (f *framer) rest() []byte {
	line := f.buf[f.r:f.w]
	f.advance(len(line))
	return line[:min(len(line), f.limit)]
}

// last is what is left when the stream has ended: a last line without its end,
// if the peer ended it in order, or the beginning of a message.
func (f *framer) last(orderly bool) (line []byte, bad error, ok bool) {
	if f.broken || !f.skipped() {
		return nil, nil, false
	}
	n, head, known := f.count(f.buf[f.r:f.w])
	if known && n > 0 {
		f.advance(head)
		line = f.rest()
		return line, fmt.Errorf("%w: %d of %d bytes came", ErrTruncated, len(line), n), true
	}
	line = trimFrame(f.rest())
	switch {
	case len(line) == 0:
		return nil, nil, false
	case f.framing == FramingOctets:
		return line, ErrFraming, true
	case !orderly:
		return line, ErrTruncated, true
	}
	return line, nil, true
}

// trimFrame takes CR, LF and NUL off the end of a line.
func trimFrame(line []byte) []byte {
	for len(line) > 0 && isEnd(line[len(line)-1]) {
		line = line[:len(line)-1]
	}
	return line
}
