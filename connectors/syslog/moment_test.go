package syslog

import (
	"testing"
	"time"
)

func TestDaysSinceEpochIsTheCalendarOfPackageTime(t *testing.T) {
	day := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	for day.Year() < 2400 {
		if got := daysSinceEpoch(day.Year(), int(day.Month()), day.Day()); int64(got)*86400 != day.Unix() {
			t.Fatalf("%v is day %d, want %d", day, got, day.Unix()/86400)
		}
		day = day.AddDate(0, 0, 1)
	}
}
