package syslog

import "time"

// moment is a time as it stands in a line. Without hasYear the year is for the
// years to find; without hasZone it is in the parser's location.
type moment struct {
	year, month, day     int
	hour, minute, second int
	nanos                int
	hasYear, hasZone     bool
	east                 int    // seconds east of UTC, with hasZone
	zone                 []byte // a zone's name that is not known here; borrowed
}

// unixMS is the moment in milliseconds since the Unix epoch. It needs a year.
func (m *moment) unixMS(loc *time.Location) int64 {
	if !m.hasZone && loc != time.UTC {
		return time.Date(m.year, time.Month(m.month), m.day, m.hour, m.minute, m.second, m.nanos, loc).UnixMilli()
	}
	seconds := int64(daysSinceEpoch(m.year, m.month, m.day))*24*3600 + int64(m.hour*3600+m.minute*60+m.second-m.east)
	return seconds*1000 + int64(m.nanos/1_000_000)
}

// time is the moment as a time: in the year 0 if it has none, in UTC without a zone.
func (m *moment) time() time.Time {
	zone := time.UTC
	if m.hasZone && m.east != 0 {
		zone = time.FixedZone(string(m.zone), m.east)
	}
	return time.Date(m.year, time.Month(m.month), m.day, m.hour, m.minute, m.second, m.nanos, zone)
}

// stamp writes "Jan _2 15:04:05".
func (m *moment) stamp() (b [stampLen]byte) {
	copy(b[:], monthNames[3*(m.month-1):3*m.month])
	two := func(at, n int) { b[at], b[at+1] = '0'+byte(n/10), '0'+byte(n%10) }
	two(4, m.day)
	if m.day < 10 {
		b[4] = ' '
	}
	two(7, m.hour)
	two(10, m.minute)
	two(13, m.second)
	b[3], b[6], b[9], b[12] = ' ', ' ', ':', ':'
	return b
}

const monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"

// daysSinceEpoch counts days of the Gregorian calendar from 1970-01-01, for years
// from 0 on.
func daysSinceEpoch(year, month, day int) int {
	if month <= 2 {
		year--
	}
	era := (year+400)/400 - 1 // rounds down for the year -1 too
	ofEra := year - era*400
	ofYear := (153*((month+9)%12)+2)/5 + day - 1
	return era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719468
}

// exists says whether a month has a day: in the year, or in any year if it is 0.
func exists(year, month, day int) bool {
	switch month {
	case 2:
		leap := year%4 == 0 && (year%100 != 0 || year%400 == 0)
		return day <= 28 || day == 29 && leap
	case 4, 6, 9, 11:
		return day >= 1 && day <= 30
	}
	return day >= 1 && day <= 31
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// blanks is how many spaces and tabs b begins with.
func blanks(b []byte) int {
	i := 0
	for i < len(b) && isBlank(b[i]) {
		i++
	}
	return i
}

// number reads up to most digits.
func number(b []byte, most int) (v, n int) {
	for n < len(b) && n < most && b[n]-'0' <= 9 {
		v = v*10 + int(b[n]-'0')
		n++
	}
	return v, n
}

// dated says whether b begins like a date, right or wrong: a line that does
// must have a right one.
func dated(b []byte) bool {
	if len(b) >= 5 && month(b) > 0 && isBlank(b[3]) {
		_, n := number(b[3+blanks(b[3:]):], 2)
		return n > 0
	}
	_, n := number(b, 5)
	return n == 4 && len(b) > 6 && (b[4] == '-' || b[4] == '/') && b[5]-'0' <= 9
}

// scanMoment reads a time at the beginning of b; n is 0 if there is none. What
// follows is a blank, a colon or the end.
func scanMoment(b []byte) (m moment, n int) {
	if len(b) < len("1 Jan 1 0:00:00") {
		return m, 0
	}
	switch {
	case b[0]-'0' <= 9 && (b[4] == '-' || b[4] == '/'):
		n = m.isoDate(b)
	case b[0]-'0' <= 9: // NX-OS: 2024 Mar  1 18:46:11
		n = m.leadingYear(b)
	default:
		n = m.namedDate(b)
	}
	if n == 0 {
		return m, 0
	}
	k := m.clock(b[n:])
	if k == 0 {
		return m, 0
	}
	n += k
	n += m.trailingYear(b[n:])
	n += m.zoneAt(b[n:])
	if n < len(b) && !isBlank(b[n]) && b[n] != ':' || !exists(m.year, m.month, m.day) {
		return m, 0
	}
	return m, n
}

// isoDate reads 2024-12-10T, 2024-12-10 and 2024/12/10.
func (m *moment) isoDate(b []byte) int {
	year, n := number(b, 4)
	m.year, m.month, m.day, m.hasYear = year, twoDigits(b[5], b[6]), twoDigits(b[8], b[9]), true
	if n != 4 || b[7] != b[4] || b[10] != 'T' && b[10] != ' ' || m.month < 1 || m.month > 12 || m.day > 31 {
		return 0
	}
	return 11
}

// leadingYear reads "2024 Mar  1 ".
func (m *moment) leadingYear(b []byte) int {
	year, n := number(b, 4)
	if n != 4 || b[4] != ' ' {
		return 0
	}
	k := m.namedDate(b[5:])
	if k == 0 || m.hasYear {
		return 0
	}
	m.year, m.hasYear = year, true
	return 5 + k
}

// namedDate reads "Mar  1 ", "Mar 1 2024 " and "Fri Mar  1 ".
func (m *moment) namedDate(b []byte) int {
	n := 0
	if weekday(b) && month(b) == 0 {
		n = 4
	}
	if len(b) < n+6 || b[n+3] != ' ' && b[n+3] != '\t' {
		return 0
	}
	if m.month = month(b[n:]); m.month == 0 {
		return 0
	}
	n += 3
	k := blanks(b[n:])
	if k > 2 {
		return 0
	}
	n += k
	if m.day, k = number(b[n:], 2); k == 0 {
		return 0
	}
	n += k
	if k = blanks(b[n:]); k == 0 {
		return 0
	}
	n += k
	if year, k := number(b[n:], 4); k == 4 && n+4 < len(b) && isBlank(b[n+4]) {
		m.year, m.hasYear = year, true
		n += k + blanks(b[n+k:])
	}
	return n
}

func weekday(b []byte) bool {
	if len(b) < 4 || b[3] != ' ' {
		return false
	}
	switch string(b[:3]) {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		return true
	}
	return false
}

// clock reads "18:46:11" and a fraction of up to nine digits after a dot or comma.
func (m *moment) clock(b []byte) (n int) {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return 0
	}
	m.hour, m.minute, m.second = twoDigits(b[0], b[1]), twoDigits(b[3], b[4]), twoDigits(b[6], b[7])
	if m.hour > 23 || m.minute > 59 || m.second > 59 {
		return 0
	}
	if n = 8; len(b) == n || b[n] != '.' && b[n] != ',' {
		return n
	}
	v, k := number(b[n+1:], 9)
	if k == 0 {
		return 0
	}
	for i := k; i < 9; i++ {
		v *= 10
	}
	m.nanos = v
	return n + 1 + k
}

// trailingYear reads " 2024" before a blank or colon.
func (m *moment) trailingYear(b []byte) int {
	if m.hasYear || len(b) < 6 || b[0] != ' ' {
		return 0
	}
	year, k := number(b[1:], 5)
	if k != 4 || year < 1970 || !isBlank(b[5]) && (b[5] != ':' || len(b) > 6 && !isBlank(b[6])) {
		return 0 // 2001:db8::1 is a host
	}
	m.year, m.hasYear = year, true
	return 5
}

// zoneAt reads Z, +01:00, +0100, +01, and after a blank one of these or a known name.
func (m *moment) zoneAt(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	n := 0
	if b[0] == ' ' && len(b) > 1 {
		n = 1
	}
	rest := b[n:]
	switch c := rest[0]; {
	case c == '+' || c == '-':
		k := m.offset(rest)
		if k == 0 || n+k < len(b) && !isBlank(b[n+k]) && b[n+k] != ':' {
			return 0
		}
		return n + k
	case c == 'Z' && n == 0:
		m.hasZone = true
		return 1
	}
	k := 0
	for k < len(rest) && k < 6 && rest[k] >= 'A' && rest[k] <= 'Z' {
		k++
	}
	if n == 0 || k < 2 || k == len(rest) || !isBlank(rest[k]) && rest[k] != ':' {
		return 0
	}
	if east, ok := zones[string(rest[:k])]; ok {
		m.hasZone, m.east, m.zone = true, east, rest[:k]
		return n + k
	}
	if rest[k] == ':' && k <= 5 && k+1 < len(rest) && isBlank(rest[k+1]) && len(rest) > k+2 && rest[k+2] == '%' {
		m.zone = rest[:k] // Cisco's own, like "NCST: %SYS-5-...": the parser may know it
		return n + k
	}
	return 0
}

// offset reads "+01:00", "+0100" and "+01".
func (m *moment) offset(b []byte) int {
	if len(b) < 3 {
		return 0
	}
	hours, minutes, n := twoDigits(b[1], b[2]), 0, 3
	switch {
	case len(b) >= 6 && b[3] == ':':
		minutes, n = twoDigits(b[4], b[5]), 6
	case len(b) >= 5 && b[3]-'0' <= 9:
		minutes, n = twoDigits(b[3], b[4]), 5
	}
	if hours > 23 || minutes > 59 {
		return 0
	}
	m.hasZone, m.east = true, hours*3600+minutes*60
	if b[0] == '-' {
		m.east = -m.east
	}
	return n
}

// zones are seconds east of UTC of the names that Cisco and others write. Of
// names that several zones share it is the one that most senders mean;
// ParserConfig.Zones goes first.
var zones = map[string]int{
	"UTC": 0, "GMT": 0, "WET": 0, "WEST": 3600, "BST": 3600, "CET": 3600, "CEST": 7200, "MET": 3600, "MEST": 7200,
	"EET": 7200, "EEST": 10800, "MSK": 10800, "IST": 19800, "HKT": 28800, "SGT": 28800, "AWST": 28800, "JST": 32400, "KST": 32400,
	"AEST": 36000, "AEDT": 39600, "ACST": 34200, "ACDT": 37800, "NZST": 43200, "NZDT": 46800,
	"EST": -18000, "EDT": -14400, "CST": -21600, "CDT": -18000, "MST": -25200, "MDT": -21600, "PST": -28800, "PDT": -25200,
	"AKST": -32400, "AKDT": -28800, "HST": -36000, "AST": -14400, "ADT": -10800, "NST": -12600, "NDT": -9000, "BRT": -10800,
}
