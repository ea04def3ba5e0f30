package syslog

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// parts is a line of any dialect taken apart: offsets into it, and its time.
type parts struct {
	layout
	rfc5424 bool
	hasTime bool
	when    moment

	idFrom, idTo int // MSGID of RFC 5424
	sdFrom, sdTo int // STRUCTURED-DATA of RFC 5424; equal: none
}

// dissect takes a line apart that is not of the common shape. ok is false if it
// is no syslog line; then p has nothing but its priority.
func dissect(line []byte) (p parts, ok bool) {
	p.priority = -1
	i := 0
	if len(line) > 0 && line[0] == '<' {
		if p.priority, i, ok = scanPriority(line); !ok {
			return p, false
		}
		if i+1 < len(line) && line[i] == '1' && line[i+1] == ' ' {
			if p.scan5424(line, i+2) {
				return p, true
			}
			p = parts{layout: layout{priority: p.priority}}
			n, ok := p.epoch(line[i+2:])
			if !ok {
				return parts{layout: layout{priority: p.priority}}, false
			}
			p.afterTime(line, i+2+n)
			return p, visible(line)
		}
	}
	if !visible(line) || i == len(line) || !p.scan3164(line, i) {
		return parts{layout: layout{priority: p.priority}}, false
	}
	return p, true
}

// epoch reads Meraki's "1563249630.774247467 " after the version.
func (p *parts) epoch(b []byte) (n int, ok bool) {
	seconds, n := number(b, 10)
	if n != 10 || len(b) < n+2 || b[n] != '.' {
		return 0, false
	}
	nanos, k := number(b[n+1:], 9)
	if n += 1 + k; k == 0 || n >= len(b) || b[n] != ' ' {
		return 0, false
	}
	for ; k < 9; k++ {
		nanos *= 10
	}
	p.when = moment{year: 1970, month: 1, day: 1, second: seconds, nanos: nanos, hasYear: true, hasZone: true}
	p.hasTime = true
	return n, true
}

// scan3164 reads a line of RFC 3164's dialects from after its priority.
func (p *parts) scan3164(line []byte, i int) bool {
	b := line[i:]
	at := i + blanks(b)
	m, n := scanMoment(line[at:])
	if n == 0 {
		var ok bool
		if ok, at = p.ciscoHead(line, i); ok {
			m, n = scanMoment(line[at:])
		}
	}
	if n == 0 {
		return p.timeless(line, i)
	}
	p.when, p.hasTime = m, true
	p.afterTime(line, at+n)
	return at+n < len(line)
}

// ciscoHead reads what Cisco's systems put before the time: a sequence number,
// "123: ", a host's name, "router1: ", and a mark for clocks that are not set,
// "*" or ".". at is where the time begins.
func (p *parts) ciscoHead(line []byte, i int) (ok bool, at int) {
	_, n := number(line[i:], 12)
	numbered := i+n < len(line) && line[i+n] == ':'
	if numbered {
		i += n + 1
	}
	i += blanks(line[i:])
	if mark, ok := momentAt(line[i:]); ok {
		return true, i + mark
	}
	end := bytes.IndexByte(line[i:], ':')
	if end <= 0 || end > maxHost || i+end+1 >= len(line) || !isBlank(line[i+end+1]) || !graphic(line[i:i+end]) {
		return false, 0
	}
	next := i + end + 1
	next += blanks(line[next:])
	if mark, ok := momentAt(line[next:]); ok && (numbered || mark > 0) { // otherwise a tag and a text
		p.hostFrom, p.hostTo = i, i+end
		return true, next + mark
	}
	return false, 0
}

// momentAt says whether a time stands at the beginning of b, after a mark.
func momentAt(b []byte) (mark int, ok bool) {
	if len(b) > 0 && (b[0] == '*' || b[0] == '.') {
		mark = 1
	}
	_, n := scanMoment(b[mark:])
	return mark, n > 0
}

// timeless reads a line without a time, which RFC 3164 section 4.3.2 allows after
// a priority; payloads that carry their own mark need none either.
func (p *parts) timeless(line []byte, i int) bool {
	b := line[i+blanks(line[i:]):]
	if len(b) == 0 || dated(b) || p.priority < 0 && !payload(b) {
		return false
	}
	if len(b) > 1 && (b[0] == '*' || b[0] == '.') && dated(b[1:]) {
		return false
	}
	if b[0] == ':' { // a Cisco ASA that is told to send no time
		b = b[1:]
		b = b[blanks(b):]
	}
	p.tag(line, len(line)-len(b))
	return true
}

// payload says whether b begins with the mark of a format that syslog carries.
func payload(b []byte) bool {
	return bytes.HasPrefix(b, cefMark) || bytes.HasPrefix(b, leefMark) || bytes.HasPrefix(b, ceeMark)
}

// afterTime reads host and tag from after the time.
func (p *parts) afterTime(line []byte, i int) {
	if i < len(line) && line[i] == ':' { // Cisco: no host follows
		i++
		p.tag(line, i+blanks(line[i:]))
		return
	}
	i += blanks(line[i:])
	b := line[i:]
	end := 0
	for end < len(b) && !isBlank(b[end]) {
		end++
	}
	token := b[:end]
	switch {
	case p.hostTo > p.hostFrom, end == len(b), payload(b), end == 0:
	case len(token) == 1 && token[0] == '-':
		i += end + blanks(b[end:])
	case isHost(token):
		p.hostFrom, p.hostTo = i, i+end
		if token[0] == '[' && token[end-1] == ']' {
			p.hostFrom, p.hostTo = i+1, i+end-1
		}
		i += end + blanks(b[end:])
	case token[end-1] == ':' && isIPv6(token[:end-1]):
		p.hostFrom, p.hostTo = i, i+end-1
		i += end + blanks(b[end:])
	}
	if i+2 < len(line) && line[i] == ':' && line[i+1] == ' ' && line[i+2] == '%' { // Cisco ASA: "asa1 : %ASA-6-..."
		i += 2
	}
	p.tag(line, i)
}

// isHost says whether a word after the time is a host's name or address and not
// a tag.
func isHost(token []byte) bool {
	if len(token) > maxHost || !graphic(token) {
		return false
	}
	if i := bytes.IndexAny(token, ":["); i < 0 {
		return true
	} else if i > 0 && token[i] == '[' {
		return false
	}
	if n := len(token); token[0] == '[' && token[n-1] == ']' {
		token = token[1 : n-1]
	}
	return isIPv6(token)
}

func isIPv6(b []byte) bool {
	if bytes.Count(b, colon) < 2 {
		return false
	}
	for i, c := range b {
		if c == '%' && i > 0 {
			break
		}
		if c != ':' && c != '.' && c-'0' > 9 && c|0x20-'a' > 5 {
			return false
		}
	}
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b)))
	return err == nil && addr.Is6()
}

var colon = []byte(":")

func graphic(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(b) > 0
}

// tag reads "tag[pid]: text", or only text, from i to the end.
func (p *parts) tag(line []byte, i int) {
	p.tagFrom, p.tagTo, p.pidFrom, p.pidTo, p.text = i, i, i, i, i
	b := line[i:]
	n := 0
	for n < len(b) && graph[b[n]]&tagByte != 0 {
		n++
	}
	if n == 0 || n > maxTag || n == len(b) || n == 1 && b[0] == '-' {
		return
	}
	end, pid := n, 0
	if b[end] == '[' {
		for end++; end < len(b) && graph[b[end]]&pidByte != 0; end++ {
		}
		if end == len(b) || b[end] != ']' {
			return
		}
		pid, end = end-n-1, end+1
	}
	if end == len(b) || b[end] != ':' {
		return
	}
	p.tagTo = i + n
	if pid > 0 && (pid != 1 || b[n+1] != '-') {
		p.pidFrom, p.pidTo = i+n+1, i+n+1+pid
	}
	if end+1 < len(b) && isBlank(b[end+1]) {
		p.text = i + end + 2
	} // without a blank the tag may be the beginning of the text, like CEF:0|
}
