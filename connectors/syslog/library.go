package syslog

import (
	"bytes"
	"fmt"
	"time"

	gosyslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

// library is go-syslog with what real lines need around it: a priority where
// there is none, RFC 3339 times with fractions. The zero value is ready. One
// goroutine at a time.
type library struct {
	m3164, m5424 gosyslog.Machine
	line         []byte
}

// noPriority stands before lines that have none: the library insists on one.
const noPriority = "<13>"

// placeholder takes the place of a time that only time.Parse understands.
const placeholder = "Jan  1 00:00:00"

// is5424 says whether a line begins like RFC 5424's: "<PRI>1 ".
func is5424(line []byte) bool {
	if len(line) == 0 || line[0] != '<' {
		return false
	}
	_, i, ok := scanPriority(line)
	return ok && i+1 < len(line) && line[i] == '1' && line[i+1] == ' '
}

// parse3164 parses a line without trailing newline. The time is in the year 0,
// UTC, unless hasYear.
func (l *library) parse3164(line []byte) (b gosyslog.Base, hasYear bool, err error) {
	if l.m3164 == nil {
		l.m3164 = rfc3164.NewMachine(rfc3164.WithLenientDay(), rfc3164.WithSecondFractions(),
			rfc3164.WithRFC3339(), rfc3164.WithEmbeddedNewlines())
	}
	l.line = l.line[:0]
	head := 0
	if len(line) == 0 || line[0] != '<' {
		l.line = append(l.line, noPriority...)
	} else if _, i, ok := scanPriority(line); ok {
		head = i
		l.line = append(l.line, line[:i]...)
	}
	at, n := rfc3339At(line[head:])
	if n > 0 {
		l.line = append(append(l.line, placeholder...), line[head+n:]...)
	} else {
		l.line = append(l.line, line[head:]...)
	}
	msg, err := l.m3164.Parse(l.line)
	if err != nil {
		return b, false, explain(line, head, n, err)
	}
	if msg == nil { // the library's way to refuse without a reason
		return b, false, refusal(line)
	}
	b = msg.(*rfc3164.SyslogMessage).Base
	if n > 0 {
		b.Timestamp = &at
	}
	return b, b.Timestamp != nil && b.Timestamp.Year() != 0, nil
}

// parse5424 parses an RFC 5424 line without trailing newline.
func (l *library) parse5424(line []byte) (gosyslog.Base, error) {
	if l.m5424 == nil {
		l.m5424 = rfc5424.NewMachine()
	}
	msg, err := l.m5424.Parse(line)
	if err != nil {
		return gosyslog.Base{}, err
	}
	if msg == nil {
		return gosyslog.Base{}, refusal(line)
	}
	return msg.(*rfc5424.SyslogMessage).Base, nil
}

// rfc3339At reads an RFC 3339 time that a space follows; n is 0 if there is none.
func rfc3339At(b []byte) (t time.Time, n int) {
	if len(b) < len("2006-01-02T15:04:05Z ") || b[0]-'0' > 9 || b[4] != '-' {
		return t, 0
	}
	for n = 0; n < len(b) && n < 40 && b[n] != ' '; n++ {
	}
	if n == len(b) || b[n] != ' ' {
		return t, 0
	}
	t, err := time.Parse(time.RFC3339Nano, string(b[:n]))
	if err != nil {
		return t, 0
	}
	return t, n
}

// explain replaces what the library says of a line that does not begin with a
// time: with its options for other dialects on, it misses a sequence number.
func explain(line []byte, head, n int, err error) error {
	rest := bytes.TrimLeft(line[head:], " ")
	if head == 0 && len(line) > 0 && line[0] == '<' || n > 0 || len(rest) >= stampLen && month(rest) > 0 {
		return err
	}
	return fmt.Errorf("%w where one like %q is expected, in column %d", ErrNoTime, time.Stamp, len(line)-len(rest)+1)
}

// refusal finds the reason that the library does not give.
func refusal(line []byte) error {
	for i, c := range line {
		if !visibleBytes(line[i : i+1]) {
			return fmt.Errorf("%w: byte 0x%02x in column %d", ErrControlChar, c, i+1)
		}
	}
	return fmt.Errorf("the line is not RFC 3164 or RFC 5424")
}
