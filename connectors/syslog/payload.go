package syslog

import "bytes"

// Marks of formats that syslog carries.
var (
	cefMark  = []byte("CEF:")
	leefMark = []byte("LEEF:")
	ceeMark  = []byte("@cee:")
)

// CEF is the head of a Common Event Format message (ArcSight), borrowed from the
// line, still with its escapes (\| and \\).
type CEF struct {
	Version, DeviceVendor, DeviceProduct, DeviceVersion []byte
	SignatureID, Name, Severity                         []byte
	Extension                                           []byte // "key=value key=value"
}

// CEF takes a Common Event Format message apart; ok is false if the line has none.
func (m Message) CEF() (c CEF, ok bool) {
	b, ok := bytes.CutPrefix(bytes.TrimLeft(m.Text(), " \t"), cefMark)
	if !ok {
		return c, false
	}
	for _, f := range []*[]byte{&c.Version, &c.DeviceVendor, &c.DeviceProduct, &c.DeviceVersion, &c.SignatureID, &c.Name, &c.Severity} {
		if *f, b, ok = cutPipe(b); !ok {
			return CEF{}, false
		}
	}
	c.Extension = b
	return c, true
}

// cutPipe cuts at the first | that no backslash escapes.
func cutPipe(b []byte) (before, after []byte, ok bool) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '|':
			return b[:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

// Field is a field of the extension without its escapes; ok is false if there is none.
func (c CEF) Field(key string) (value string, ok bool) {
	b := c.Extension
	for at := 0; at < len(b); {
		eq := nextKey(b, at)
		if eq < 0 {
			return "", false
		}
		from := keyStart(b[:eq])
		end := len(b)
		if next := nextKey(b, eq+1); next >= 0 {
			end = keyStart(b[:next])
		}
		if string(b[from:eq]) == key {
			return unescape(bytes.TrimRight(b[eq+1:end], " ")), true
		}
		at = eq + 1
	}
	return "", false
}

// nextKey is where the = of the next "key=" stands at or after from, -1 if there is none.
func nextKey(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '=':
			if k := keyStart(b[:i]); k < i && k >= from-1 && (k == 0 || b[k-1] == ' ' || b[k-1] == '\t') {
				return i
			}
		}
	}
	return -1
}

// keyStart is where the word begins that b ends with.
func keyStart(b []byte) int {
	i := len(b)
	for i > 0 && !isBlank(b[i-1]) && b[i-1] != '=' && b[i-1] != '\\' {
		i--
	}
	return i
}

// unescape takes CEF's escapes out of a value.
func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			i++
			switch c = b[i]; c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// LEEF is the head of a Log Event Extended Format message (QRadar), borrowed.
type LEEF struct {
	Version, Vendor, Product, ProductVersion, EventID []byte
	Attributes                                        []byte // "key=value", separated by Delimiter
	Delimiter                                         byte   // a tab unless the head of LEEF 2.0 says otherwise
}

// LEEF takes a Log Event Extended Format message apart; ok is false if the line has none.
func (m Message) LEEF() (l LEEF, ok bool) {
	b, ok := bytes.CutPrefix(bytes.TrimLeft(m.Text(), " \t"), leefMark)
	if !ok {
		return l, false
	}
	for _, f := range []*[]byte{&l.Version, &l.Vendor, &l.Product, &l.ProductVersion, &l.EventID} {
		if *f, b, ok = bytes.Cut(b, []byte("|")); !ok {
			return LEEF{}, false
		}
	}
	l.Delimiter, l.Attributes = '\t', b
	if string(l.Version) == "1.0" {
		return l, true
	}
	if d, rest, ok := bytes.Cut(b, []byte("|")); ok {
		if c, ok := delimiter(d); ok {
			l.Delimiter, l.Attributes = c, rest
		}
	}
	return l, true
}

// delimiter reads "^", "x5E", "0x5E" or nothing (a tab).
func delimiter(d []byte) (byte, bool) {
	switch len(d) {
	case 0:
		return '\t', true
	case 1:
		return d[0], true
	}
	d = bytes.TrimPrefix(d, []byte("0"))
	if len(d) < 2 || len(d) > 3 || d[0] != 'x' && d[0] != 'X' {
		return 0, false
	}
	var c byte
	for _, h := range d[1:] {
		switch {
		case h-'0' <= 9:
			c = c<<4 | h - '0'
		case h|0x20-'a' <= 5:
			c = c<<4 | (h | 0x20 - 'a' + 10)
		default:
			return 0, false
		}
	}
	return c, true
}

// Field is an attribute; ok is false if there is none.
func (l LEEF) Field(key string) (value string, ok bool) {
	for b := l.Attributes; len(b) > 0; {
		var one []byte
		one, b, _ = bytes.Cut(b, []byte{l.Delimiter})
		if name, v, ok := bytes.Cut(one, []byte("=")); ok && string(bytes.TrimLeft(name, " ")) == key {
			return string(v), true
		}
	}
	return "", false
}

// JSON is the object that the line carries as its whole text, with or without
// the mark "@cee:"; borrowed, and not checked beyond its braces.
func (m Message) JSON() (object []byte, ok bool) {
	b := bytes.TrimSpace(m.Text())
	b = bytes.TrimSpace(bytes.TrimPrefix(b, ceeMark))
	return b, len(b) >= 2 && b[0] == '{' && b[len(b)-1] == '}'
}

// StructuredData is RFC 5424's, "[id name=\"value\"]...", nil if there is none;
// borrowed.
func (m Message) StructuredData() []byte {
	if p, ok := dissect(m.raw); ok && p.sdTo > p.sdFrom {
		return m.raw[p.sdFrom:p.sdTo]
	}
	return nil
}

// Param is a parameter of RFC 5424's structured data without its escapes, the
// first of its name; ok is false if there is none.
func (m Message) Param(id, name string) (value string, ok bool) {
	for b := m.StructuredData(); len(b) > 0; {
		end, _ := sdName(b, 1)
		mine := string(b[1:end]) == id
		for b[end] == ' ' {
			from := end + 1
			eq, _ := sdName(b, from)
			end, _ = sdValue(b, eq+2)
			if mine && string(b[from:eq]) == name {
				return unescapeParam(b[eq+2 : end-1]), true
			}
		}
		b = b[end+1:]
	}
	return "", false
}

func unescapeParam(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			i++
		}
		out = append(out, b[i])
	}
	return string(out)
}
