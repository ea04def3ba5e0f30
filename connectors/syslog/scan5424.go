package syslog

// Limits of RFC 5424's header fields.
const (
	maxApp     = 48
	maxProcID  = 128
	maxMsgID   = 32
	maxSDName  = 32
	maxSeconds = len("2006-01-02T15:04:05")
)

// scan5424 reads RFC 5424 from after the version: TIMESTAMP SP HOSTNAME SP
// APP-NAME SP PROCID SP MSGID SP STRUCTURED-DATA [SP MSG]. It is more lenient
// than the RFC with fractions of seconds: up to nine digits.
func (p *parts) scan5424(line []byte, i int) bool {
	p.rfc5424 = true
	var ok bool
	if i, ok = p.stamp5424(line, i); !ok {
		return false
	}
	for _, f := range [...]struct {
		from, to *int
		most     int
	}{{&p.hostFrom, &p.hostTo, maxHost}, {&p.tagFrom, &p.tagTo, maxApp}, {&p.pidFrom, &p.pidTo, maxProcID}, {&p.idFrom, &p.idTo, maxMsgID}} {
		from := i
		for i < len(line) && line[i] > ' ' && line[i] < 0x7f {
			i++
		}
		if n := i - from; n == 0 || n > f.most || i == len(line) || line[i] != ' ' {
			return false
		}
		*f.from, *f.to = from, i
		if i == from+1 && line[from] == '-' {
			*f.to = from
		}
		i++
	}
	if i, ok = p.structured(line, i); !ok {
		return false
	}
	switch {
	case i == len(line):
		p.text = i
		return true
	case line[i] != ' ':
		return false
	}
	p.text = i + 1
	if b := line[p.text:]; len(b) >= 3 && b[0] == 0xef && b[1] == 0xbb && b[2] == 0xbf { // the BOM says UTF-8 and is no text
		p.text += 3
	}
	return true
}

// stamp5424 reads the time, or "-", and the space after it.
func (p *parts) stamp5424(line []byte, i int) (next int, ok bool) {
	if i+1 < len(line) && line[i] == '-' && line[i+1] == ' ' {
		return i + 2, true
	}
	b := line[i:]
	if len(b) < maxSeconds+2 || b[4] != '-' || b[10] != 'T' || b[maxSeconds] == ',' {
		return 0, false
	}
	m, n := &p.when, 0
	if n = m.isoDate(b); n == 0 || !exists(m.year, m.month, m.day) {
		return 0, false
	}
	n += m.clock(b[n:])
	if n == 11 || n == len(b) {
		return 0, false
	}
	switch {
	case b[n] == 'Z':
		m.hasZone = true
		n++
	case (b[n] == '+' || b[n] == '-') && len(b) > n+6 && b[n+3] == ':':
		k := m.offset(b[n:])
		if k == 0 {
			return 0, false
		}
		n += k
	default:
		return 0, false
	}
	if n >= len(b) || b[n] != ' ' {
		return 0, false
	}
	p.hasTime = true
	return i + n + 1, true
}

// structured reads "-" or "[id name="value" ...][...]".
func (p *parts) structured(line []byte, i int) (next int, ok bool) {
	p.sdFrom, p.sdTo = i, i
	if i == len(line) {
		return 0, false
	}
	if line[i] == '-' {
		return i + 1, true
	}
	for i < len(line) && line[i] == '[' {
		if i, ok = sdName(line, i+1); !ok {
			return 0, false
		}
		for i < len(line) && line[i] == ' ' {
			if i, ok = sdName(line, i+1); !ok || i+1 >= len(line) || line[i] != '=' || line[i+1] != '"' {
				return 0, false
			}
			if i, ok = sdValue(line, i+2); !ok {
				return 0, false
			}
		}
		if i == len(line) || line[i] != ']' {
			return 0, false
		}
		i++
	}
	p.sdTo = i
	return i, p.sdTo > p.sdFrom
}

// sdName reads an SD-NAME: 1 to 32 graphic characters but = ] and ".
func sdName(line []byte, i int) (next int, ok bool) {
	from := i
	for i < len(line) && line[i] > ' ' && line[i] < 0x7f && line[i] != '=' && line[i] != ']' && line[i] != '"' {
		i++
	}
	return i, i > from && i-from <= maxSDName
}

// sdValue reads a PARAM-VALUE and the quote that ends it.
func sdValue(line []byte, i int) (next int, ok bool) {
	for ; i < len(line); i++ {
		switch line[i] {
		case '"':
			return i + 1, true
		case ']':
			return 0, false
		case '\\':
			if i++; i == len(line) || line[i] != '"' && line[i] != '\\' && line[i] != ']' {
				return 0, false
			}
		}
	}
	return 0, false
}
