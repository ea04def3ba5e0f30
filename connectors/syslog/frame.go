package syslog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// frames cuts a TCP stream into lines, RFC 6587: every frame that begins with
// digits and a space is octet-counted ("LEN SP line"), every other one ends at
// LF. Memory is bounded by the limit, whatever the stream says.
type frames struct {
	r     *bufio.Reader
	limit int
	line  []byte
}

// Octet counts have at most this many digits: 99,999,999 bytes.
const maxCountDigits = 8

// next returns a line without its frame, borrowed until the next call. With a
// line of which it could keep only the beginning, err is ErrTooLong or
// ErrTruncated; every other error ends the stream.
func (f *frames) next() ([]byte, error) {
	for {
		n, head, err := f.count()
		if err != nil {
			return nil, err
		}
		var line []byte
		if n > 0 {
			if _, err := f.r.Discard(head); err != nil {
				return nil, err
			}
			line, err = f.counted(n)
		} else {
			line, err = f.newline()
		}
		line = TrimEnd(line)
		if len(line) > 0 || err != nil && !errors.Is(err, ErrTooLong) {
			return line, err
		} // an empty line is a newline after a counted frame, or a sign of life
	}
}

// count looks at the head of a frame: "123 " is 123 octets after 4 bytes; 0 is
// a frame that ends at LF.
func (f *frames) count() (octets, head int, err error) {
	for head = 1; head <= maxCountDigits+1; head++ {
		b, err := f.r.Peek(head)
		if len(b) < head {
			if head > 1 { // what there is decides as a line
				return 0, 0, nil
			}
			return 0, 0, err
		}
		c := b[head-1]
		switch {
		case c == ' ' && head > 1:
			return octets, head, nil
		case c-'0' > 9 || head == 1 && c == '0':
			return 0, 0, nil
		}
		octets = octets*10 + int(c-'0')
	}
	return 0, 0, nil
}

// counted reads a frame of n bytes.
func (f *frames) counted(n int) ([]byte, error) {
	keep := min(n, f.limit)
	if cap(f.line) < keep {
		f.line = make([]byte, keep)
	}
	got, err := io.ReadFull(f.r, f.line[:keep])
	if err != nil {
		return f.line[:got], truncated(fmt.Errorf("%w: %d of %d bytes came", ErrTruncated, got, n), err)
	}
	if rest := n - keep; rest > 0 {
		if _, err := f.r.Discard(rest); err != nil {
			return f.line[:keep], truncated(ErrTruncated, err)
		}
		return f.line[:keep], fmt.Errorf("%w of %d bytes: it has %d", ErrTooLong, f.limit, n)
	}
	return f.line[:keep], nil
}

// truncated is err itself unless the stream just ended.
func truncated(as, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return as
	}
	return err
}

// newline reads up to LF; the last line of a stream may lack it.
func (f *frames) newline() ([]byte, error) {
	f.line = f.line[:0]
	size := 0
	for {
		part, err := f.r.ReadSlice('\n')
		size += len(part)
		f.line = append(f.line, part[:min(len(part), f.limit+2-len(f.line))]...)
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && size > 0: // the next call says EOF
		case err != nil:
			return f.line, err
		}
		if len(TrimEnd(f.line)) > f.limit {
			return f.line[:f.limit], fmt.Errorf("%w of %d bytes: it has %d", ErrTooLong, f.limit, size)
		}
		return f.line, nil
	}
}
