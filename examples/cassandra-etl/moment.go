package main

import (
	"errors"
	"time"
)

var (
	errTimeForm = errors.New("time is not RFC 3339, such as 2026-03-01T12:30:00Z")
	errTimeDay  = errors.New("time is none that exists")
	errTimeSpan = errors.New("time is not from 1970 to 9999")
)

// maxMS is the first millisecond after the year 9999.
const maxMS = 253402300800000

// parseTime reads an RFC 3339 time, strictly: upper-case T and Z, a dot before
// fractions, offsets up to 23:59, no leap seconds. The result is in milliseconds
// since the Unix epoch; what is finer is cut off.
func parseTime(s string) (ms int64, err error) {
	if len(s) < len("2006-01-02T15:04:05Z") {
		return 0, errTimeForm
	}
	var f [6]int
	from := 0
	for i, n := range [6]int{4, 2, 2, 2, 2, 2} {
		var ok bool
		if f[i], ok = digits(s[from : from+n]); !ok {
			return 0, errTimeForm
		}
		if from += n; i < 5 && s[from] != "--T::"[i] {
			return 0, errTimeForm
		}
		from++
	}
	rest := s[from-1:]
	fraction := 0
	if rest[0] == '.' {
		n, unit := 1, 100
		for ; n < len(rest) && rest[n] >= '0' && rest[n] <= '9'; n++ {
			fraction += int(rest[n]-'0') * unit
			unit /= 10
		}
		if n == 1 {
			return 0, errTimeForm
		}
		rest = rest[n:]
	}
	offset, ok := zone(rest)
	if !ok {
		return 0, errTimeForm
	}
	t := time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], 0, time.UTC)
	if t.Month() != time.Month(f[1]) || t.Day() != f[2] || f[3] > 23 || f[4] > 59 || f[5] > 59 {
		return 0, errTimeDay
	}
	ms = t.Add(-offset).UnixMilli() + int64(fraction)
	if ms < 0 || ms >= maxMS {
		return 0, errTimeSpan
	}
	return ms, nil
}

// zone is the offset at the end of a time: Z or +hh:mm.
func zone(s string) (time.Duration, bool) {
	if s == "Z" {
		return 0, true
	}
	if len(s) != len("+00:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	h, ok1 := digits(s[1:3])
	m, ok2 := digits(s[4:])
	if !ok1 || !ok2 || h > 23 || m > 59 {
		return 0, false
	}
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if s[0] == '-' {
		d = -d
	}
	return d, true
}

func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
