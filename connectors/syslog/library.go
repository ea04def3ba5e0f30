package syslog

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	gosyslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

// library is go-syslog: it says what is wrong with a line that dissect refuses,
// and is what tests hold the scanners against. The zero value is ready. One
// goroutine at a time.
type library struct {
	m3164, m5424 gosyslog.Machine
	line         []byte
}

// noPriority stands before lines that have none: the library insists on one.
const noPriority = "<13>"

// is5424 says whether a line begins like RFC 5424's: "<PRI>1 ".
func is5424(line []byte) bool {
	if len(line) == 0 || line[0] != '<' {
		return false
	}
	_, i, ok := scanPriority(line)
	return ok && i+1 < len(line) && line[i] == '1' && line[i+1] == ' '
}

// errNoDialect is for what neither the library nor we have a better word for.
var errNoDialect = errors.New("the line is not RFC 3164 or RFC 5424")

// explain says what is wrong with a line.
func (l *library) explain(line []byte) error {
	if is5424(line) {
		_, err := l.parse5424(line)
		return reason(err)
	}
	head := 0
	if line[0] == '<' {
		_, i, ok := scanPriority(line)
		if !ok {
			_, err := l.parse3164(line)
			return reason(err)
		}
		head = i
	}
	for i, c := range line {
		if !visibleBytes(line[i : i+1]) {
			return fmt.Errorf("%w: byte 0x%02x in column %d", ErrControlChar, c, i+1)
		}
	}
	rest := bytes.TrimLeft(line[head:], " \t")
	if len(rest) == 0 {
		return ErrEmptyLine
	}
	if !dated(rest) {
		return fmt.Errorf("%w where one like %q is expected, in column %d", ErrNoTime, time.Stamp, len(line)-len(rest)+1)
	}
	if _, err := l.parse3164(line); err != nil && month(rest) > 0 {
		return err
	}
	return fmt.Errorf("the line begins with a date that is none, or has no text: %.30q", rest)
}

func reason(err error) error {
	if err == nil {
		return errNoDialect
	}
	return err
}

// parse3164 parses a line without trailing newline, with a priority if it has
// none. The time is in the year 0, UTC.
func (l *library) parse3164(line []byte) (b gosyslog.Base, err error) {
	if l.m3164 == nil {
		l.m3164 = rfc3164.NewMachine(rfc3164.WithLenientDay(), rfc3164.WithSecondFractions(),
			rfc3164.WithRFC3339(), rfc3164.WithEmbeddedNewlines())
	}
	l.line = l.line[:0]
	if len(line) == 0 || line[0] != '<' {
		l.line = append(l.line, noPriority...)
	}
	msg, err := l.m3164.Parse(append(l.line, line...))
	if err != nil || msg == nil { // a nil message is the library's way to refuse without a reason
		return b, reason(err)
	}
	return msg.(*rfc3164.SyslogMessage).Base, nil
}

// parse5424 parses an RFC 5424 line without trailing newline.
func (l *library) parse5424(line []byte) (*rfc5424.SyslogMessage, error) {
	if l.m5424 == nil {
		l.m5424 = rfc5424.NewMachine()
	}
	msg, err := l.m5424.Parse(line)
	if err != nil || msg == nil {
		return nil, reason(err)
	}
	return msg.(*rfc5424.SyslogMessage), nil
}
