package syslog

import (
	"bytes"
	"time"
	"unsafe"
)

// Message is a view of one syslog line. Its methods read the line when they are
// called; none keeps anything. The zero Message is an empty line.
//
// Its bytes are borrowed: a Message that a topology's function gets is valid
// until that function returns. Clone it to keep it. Strings that methods return
// may be kept.
//
// Of a line that does not parse the methods return what its priority says, or
// zero values; such lines do not come out of this package's sources.
type Message struct {
	raw []byte
}

// NewMessage is a view of line, which it borrows; without a frame and trailing newline.
func NewMessage(line []byte) Message { return Message{line} }

// Raw is the line as it came, borrowed.
func (m Message) Raw() []byte { return m.raw }

// String is a copy of the line.
func (m Message) String() string { return string(m.raw) }

// Clone is a message with bytes of its own.
func (m Message) Clone() Message { return Message{bytes.Clone(m.raw)} }

// Contains says whether substr stands anywhere in the line. It does not allocate.
func (m Message) Contains(substr string) bool {
	return bytes.Contains(m.raw, unsafe.Slice(unsafe.StringData(substr), len(substr)))
}

// Hostname is the host that the line names, "" if it names none.
func (m Message) Hostname() string {
	if l, ok := scan(m.raw); ok {
		return intern(m.raw[l.hostFrom:l.hostTo])
	}
	p, _ := dissect(m.raw)
	return intern(m.raw[p.hostFrom:p.hostTo])
}

// AppName is the program: RFC 3164's tag, RFC 5424's APP-NAME.
func (m Message) AppName() string {
	if l, ok := scan(m.raw); ok {
		return intern(m.raw[l.tagFrom:l.tagTo])
	}
	p, _ := dissect(m.raw)
	return intern(m.raw[p.tagFrom:p.tagTo])
}

// ProcID is the process id, "" if there is none. It need not be a number.
func (m Message) ProcID() string {
	if l, ok := scan(m.raw); ok {
		return string(m.raw[l.pidFrom:l.pidTo])
	}
	p, _ := dissect(m.raw)
	return string(m.raw[p.pidFrom:p.pidTo])
}

// MsgID is RFC 5424's MSGID, "" if there is none.
func (m Message) MsgID() string {
	p, _ := dissect(m.raw)
	return intern(m.raw[p.idFrom:p.idTo])
}

// Text is what follows the line's head: RFC 3164's CONTENT after the tag, RFC
// 5424's MSG without its BOM. A tag that no blank follows is part of the text, as
// in "CEF:0|...". It is borrowed.
func (m Message) Text() []byte {
	if l, ok := scan(m.raw); ok {
		return m.raw[l.text:]
	}
	if p, ok := dissect(m.raw); ok {
		return m.raw[p.text:]
	}
	return nil
}

// Timestamp is the time in the line. RFC 3164 has no year: such a time is in
// the year 0, UTC unless the line says otherwise; the record's timestamp is the
// one with the year and zone that the source worked out. ok is false if the line
// has no time.
func (m Message) Timestamp() (t time.Time, ok bool) {
	if l, ok := scan(m.raw); ok {
		when, n := scanMoment(m.raw[l.stamp : l.stamp+stampLen])
		return when.time(), n > 0
	}
	if p, ok := dissect(m.raw); ok && p.hasTime {
		return p.when.time(), true
	}
	return time.Time{}, false
}

// Priority is the line's <PRI>, from 0 to 191. ok is false if the line has
// none; then it is 13, user.notice, as RFC 3164 section 4.3.3 says.
func (m Message) Priority() (priority int, ok bool) {
	if len(m.raw) > 0 && m.raw[0] == '<' {
		if n, _, ok := scanPriority(m.raw); ok {
			return n, true
		}
	}
	return 13, false
}

// Severity is 0 (emergency) to 7 (debug).
func (m Message) Severity() int { p, _ := m.Priority(); return p & 7 }

// Facility is 0 (kernel) to 23 (local7).
func (m Message) Facility() int { p, _ := m.Priority(); return p >> 3 }
