package syslog

import "encoding/binary"

// layout says where the parts of a line of the common RFC 3164 shape stand.
// All are offsets into the line.
type layout struct {
	priority         int // -1: none
	stamp            int // "Mmm dd hh:mm:ss", 15 bytes
	hostFrom, hostTo int
	tagFrom, tagTo   int
	pidFrom, pidTo   int // equal: none
	text             int
}

const stampLen = len("Jan _2 15:04:05")

// Limits of go-syslog's grammar.
const (
	maxHost = 255
	maxTag  = 48
)

// scan takes a line of the common shape apart. ok is false for every other
// line, good or bad: those are for the library to judge. It does not look for
// control characters in the text (see visible).
func scan(line []byte) (l layout, ok bool) {
	l.priority = -1
	i := 0
	if len(line) > 0 && line[0] == '<' {
		if l.priority, i, ok = scanPriority(line); !ok {
			return l, false
		}
	}
	l.stamp = i
	if len(line) < i+stampLen+2 || !stampShaped(line[i:i+stampLen]) || line[i+stampLen] != ' ' {
		return l, false
	}
	i += stampLen + 1

	l.hostFrom = i
	for i < len(line) && graph[line[i]]&hostByte != 0 {
		i++
	}
	l.hostTo = i
	if n := l.hostTo - l.hostFrom; n == 0 || n > maxHost || n == 1 && line[l.hostFrom] == '-' {
		return l, false
	}
	if i == len(line) || line[i] != ' ' {
		return l, false
	}
	return scanTag(line, i+1, l)
}

// scanTag takes "tag[pid]: text" apart.
func scanTag(line []byte, i int, l layout) (layout, bool) {
	l.tagFrom = i
	for i < len(line) && graph[line[i]]&tagByte != 0 {
		i++
	}
	l.tagTo = i
	if n := l.tagTo - l.tagFrom; n == 0 || n > maxTag || n == 1 && line[l.tagFrom] == '-' {
		return l, false
	}
	if i < len(line) && line[i] == '[' {
		i++
		l.pidFrom = i
		for i < len(line) && graph[line[i]]&pidByte != 0 {
			i++
		}
		l.pidTo = i
		if i == len(line) || line[i] != ']' || l.pidTo-l.pidFrom == 1 && line[l.pidFrom] == '-' {
			return l, false
		}
		i++
	}
	if i+2 >= len(line) || line[i] != ':' || line[i+1] != ' ' {
		return l, false
	}
	l.text = i + 2
	return l, true
}

// scanPriority reads "<N>", N from 0 to 191 without leading zeros.
func scanPriority(line []byte) (priority, next int, ok bool) {
	i := 1
	for i < len(line) && i < 5 && line[i]-'0' <= 9 {
		priority = priority*10 + int(line[i]-'0')
		i++
	}
	if i == 1 || i >= len(line) || line[i] != '>' || priority > 191 || line[1] == '0' && i > 2 {
		return 0, 0, false
	}
	return priority, i + 1, true
}

// stampShaped says whether b (15 bytes) looks like "Jan _2 15:04:05". Whether
// the day exists is not its business.
func stampShaped(b []byte) bool {
	_ = b[stampLen-1]
	if b[3] != ' ' || b[6] != ' ' || b[9] != ':' || b[12] != ':' || month(b) == 0 {
		return false
	}
	day := twoDigits(b[4], b[5])
	if b[4] == ' ' {
		day = twoDigits('0', b[5])
	}
	return day >= 1 && day <= 31 && twoDigits(b[7], b[8]) <= 23 &&
		twoDigits(b[10], b[11]) <= 59 && twoDigits(b[13], b[14]) <= 59
}

// twoDigits is 100 or more if they are not two digits.
func twoDigits(a, b byte) int {
	a, b = a-'0', b-'0'
	if a > 9 || b > 9 {
		return 100
	}
	return int(a)*10 + int(b)
}

// month is 1 to 12, or 0 if the first three bytes are no month.
func month(b []byte) int {
	switch uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) {
	case 'J'<<16 | 'a'<<8 | 'n':
		return 1
	case 'F'<<16 | 'e'<<8 | 'b':
		return 2
	case 'M'<<16 | 'a'<<8 | 'r':
		return 3
	case 'A'<<16 | 'p'<<8 | 'r':
		return 4
	case 'M'<<16 | 'a'<<8 | 'y':
		return 5
	case 'J'<<16 | 'u'<<8 | 'n':
		return 6
	case 'J'<<16 | 'u'<<8 | 'l':
		return 7
	case 'A'<<16 | 'u'<<8 | 'g':
		return 8
	case 'S'<<16 | 'e'<<8 | 'p':
		return 9
	case 'O'<<16 | 'c'<<8 | 't':
		return 10
	case 'N'<<16 | 'o'<<8 | 'v':
		return 11
	case 'D'<<16 | 'e'<<8 | 'c':
		return 12
	}
	return 0
}

// Classes of bytes in the parts of a line.
const (
	hostByte = 1 << iota // graphic ASCII but ':' and '[', at which the library's grammar is ambiguous
	tagByte              // graphic ASCII but ':' and '['
	pidByte              // what a text may have, but brackets
)

var graph = func() (t [256]uint8) {
	for c := range 256 {
		visibleASCII := c > ' ' && c < 0x7f
		if visibleASCII && c != ':' && c != '[' {
			t[c] |= hostByte | tagByte
		}
		if (visibleASCII || c == ' ' || c == '\t' || c == '\n' || c == '\r' || c >= 0x80) && c != '[' && c != ']' {
			t[c] |= pidByte
		}
	}
	return t
}()

// visible says whether text has no control character but tab, CR and LF. It
// looks at eight bytes at a time and at single ones only where a word has
// something suspicious.
func visible(text []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(text) >= 8 {
		w := binary.LittleEndian.Uint64(text)
		below := (w - ones*0x20) &^ w & high // a byte below 0x20 (or a false alarm next to one)
		x := w ^ ones*0x7f                   // zero where DEL is
		del := (x - ones) &^ x & high
		if below|del != 0 && !visibleBytes(text[:8]) {
			return false
		}
		text = text[8:]
	}
	return visibleBytes(text)
}

func visibleBytes(text []byte) bool {
	for _, c := range text {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}
