package syslog

import (
	"fmt"
	"time"
)

// YearRule says how the year is found that RFC 3164's times lack.
type YearRule uint8

const (
	// FollowYear begins with the current year; a step back of more than 300 days
	// from one line to the next goes to the next year. For files, in their order.
	FollowYear YearRule = iota
	// NearestYear takes the year that brings the time closest to when the line
	// was received. For lines from many senders at once, where a step of one says
	// nothing of the others.
	NearestYear
	// FixedYear gives every line the same year.
	FixedYear
)

const (
	dayMS      = 24 * 60 * 60 * 1000
	stepBackMS = 300 * dayMS
	minuteLen  = len("Jan _2 15:04")
)

// calendar turns the minutes of stamps into milliseconds since the Unix epoch.
// It remembers the last one: lines come in bursts of the same minute.
//
// Invariant: if cached, baseMS is the start of the minute key in cacheYear, and
// exists says whether that day is in that year's calendar.
type calendar struct {
	loc       *time.Location
	cached    bool
	exists    bool
	key       [minuteLen]byte
	cacheYear int
	baseMS    int64
}

// at is the time of a stamp (15 bytes, stampShaped) in a year. exists is false
// for the 29th of February where there is none, and the like; ms is then a day
// or so later.
func (c *calendar) at(stamp []byte, year int) (ms int64, exists bool) {
	key := [minuteLen]byte(stamp)
	if !c.cached || key != c.key || year != c.cacheYear {
		day := twoDigits(stamp[4], stamp[5])
		if stamp[4] == ' ' {
			day = twoDigits('0', stamp[5])
		}
		mon := time.Month(month(stamp))
		t := time.Date(year, mon, day, twoDigits(stamp[7], stamp[8]), twoDigits(stamp[10], stamp[11]), 0, 0, c.loc)
		c.exists = time.Date(year, mon, day, 0, 0, 0, 0, time.UTC).Month() == mon
		c.cached, c.key, c.cacheYear, c.baseMS = true, key, year, t.UnixMilli()
	}
	return c.baseMS + int64(twoDigits(stamp[13], stamp[14]))*1000, c.exists
}

// years finds the year of every stamp.
//
// Invariant: lastMS is the time of the last line that had one, if any is true.
type years struct {
	rule   YearRule
	cal    calendar
	year   int // of FixedYear, and where FollowYear is now
	any    bool
	lastMS int64
}

// resolve is the time of a stamp in milliseconds, in a calendar: the years' own,
// or that of UTC. received counts for NearestYear.
func (y *years) resolve(cal *calendar, stamp []byte, received time.Time) (int64, error) {
	year := y.year
	if y.rule == NearestYear {
		year = nearest(cal, stamp, received)
	}
	ms, exists := cal.at(stamp, year)
	if y.rule == FollowYear && y.any && y.lastMS-ms > stepBackMS {
		year++
		ms, exists = cal.at(stamp, year)
	}
	if !exists {
		return 0, fmt.Errorf("%s is no day of the year %d", string(stamp[:6]), year)
	}
	if y.rule == FollowYear {
		y.year, y.any, y.lastMS = year, true, ms
	}
	return ms, nil
}

// nearest is the year that brings the stamp closest to received.
func nearest(cal *calendar, stamp []byte, received time.Time) int {
	const halfYear = 183 * dayMS
	now := received.UnixMilli()
	year := received.In(cal.loc).Year()
	ms, _ := cal.at(stamp, year)
	switch {
	case now-ms > halfYear:
		return year + 1
	case ms-now > halfYear:
		return year - 1
	}
	return year
}
