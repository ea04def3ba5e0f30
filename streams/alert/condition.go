package alert

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/streams"
)

// Number is what is computed of a key's records: say over which time with In or
// Over.
type Number struct {
	fold aggregate
	of   any // func(v V) float64; nil for Count
}

type aggregate uint8

const (
	count aggregate = iota
	sum
	avg
	least
	most
	last
)

var aggregateNames = [...]string{"count", "sum", "avg", "min", "max", "last"}

// Count is the number of records.
func Count() Number { return Number{fold: count} }

// Sum, Avg, Min, Max and Last are of a number that is taken from each record. V
// is the type of the stream's values.
func Sum[V any](of func(v V) float64) Number  { return Number{sum, of} }
func Avg[V any](of func(v V) float64) Number  { return Number{avg, of} }
func Min[V any](of func(v V) float64) Number  { return Number{least, of} }
func Max[V any](of func(v V) float64) Number  { return Number{most, of} }
func Last[V any](of func(v V) float64) Number { return Number{last, of} }

// In computes the number in tumbling windows of event time. Grace says how long
// after its end a window still takes records.
func (n Number) In(w streams.Windows) Measure {
	return Measure{number: n, windows: w, sliceMS: w.SizeMS(), slices: 1, tumbling: true}
}

// Over computes the number over the last d, at every moment. The time is cut into
// slices, 60 if Slices does not say otherwise, and what is in a slice leaves it
// together: at time t it is the number of the slice that holds t and of the 59
// before it, so of d or up to a sixtieth less. A record older than that changes
// nothing; it is counted as late.
func (n Number) Over(d time.Duration) Measure {
	return Measure{number: n, over: d, slices: 60}
}

// Measure is a number over time: say when it is bad.
type Measure struct {
	number   Number
	windows  streams.Windows
	over     time.Duration
	slices   int64
	sliceMS  int64
	tumbling bool
	change   change
}

type change uint8

const (
	none change = iota
	absolute
	relative
)

// Slices is into how many slices Over cuts its time, 2 to 1000.
func (m Measure) Slices(n int) Measure {
	m.slices = int64(n)
	return m
}

// Change is the difference to the window before (In), or to the d before the last
// d (Over). There is none until the key has a window, or d, before.
func (m Measure) Change() Measure {
	m.change = absolute
	return m
}

// RelativeChange is Change divided by what was before: 0.5 is half as much again,
// -1 is none left. There is none where there was nothing before.
func (m Measure) RelativeChange() Measure {
	m.change = relative
	return m
}

type comparison uint8

const (
	atLeast comparison = iota
	above
	atMost
	below
	beyond
)

var comparisonNames = [...]string{">=", ">", "<=", "<", "beyond"}

// AtLeast holds while the number is x or more.
func (m Measure) AtLeast(x float64) Condition { return m.condition(atLeast, x) }

// Above holds while the number is more than x.
func (m Measure) Above(x float64) Condition { return m.condition(above, x) }

// AtMost holds while the number is x or less.
func (m Measure) AtMost(x float64) Condition { return m.condition(atMost, x) }

// Below holds while the number is less than x.
func (m Measure) Below(x float64) Condition { return m.condition(below, x) }

// Beyond holds while the number is x or more, or -x or less: for changes either way.
func (m Measure) Beyond(x float64) Condition { return m.condition(beyond, x) }

func (m Measure) condition(c comparison, x float64) Condition {
	return Condition{measure: m, compare: c, limit: x, until: x, untilOp: c}
}

// Condition is what When watches for, per key.
type Condition struct {
	measure Measure
	compare comparison
	limit   float64
	until   float64
	untilOp comparison
	hyst    bool
	absent  time.Duration
}

// Until keeps an alert that fires going until the number is on the other side of
// x: below it for AtLeast and Above, above it for AtMost and Below, within it for
// Beyond. Between the two it neither fires nor ends (hysteresis).
func (c Condition) Until(x float64) Condition {
	c.until, c.hyst = x, true
	switch c.compare {
	case atLeast, above:
		c.untilOp = atLeast
	case atMost, below:
		c.untilOp = atMost
	}
	return c
}

// Absent holds while a key that is known has had no record for d. A key is known
// from its first record on, or from the start by Expect.
func Absent(d time.Duration) Condition { return Condition{absent: d} }

func holds(c comparison, v, x float64) bool {
	switch c {
	case atLeast:
		return v >= x
	case above:
		return v > x
	case atMost:
		return v <= x
	case below:
		return v < x
	default:
		return v >= x || v <= -x
	}
}

// String is the condition in words, for Describe and the fingerprint.
func (c Condition) String() string {
	if c.absent > 0 {
		return fmt.Sprintf("absent %v", c.absent)
	}
	m := c.measure
	s := aggregateNames[m.number.fold]
	if m.tumbling {
		s += " in " + m.windows.String()
	} else {
		s += fmt.Sprintf(" over %v in %d slices", m.over, m.slices)
	}
	s += [...]string{"", " change", " relative change"}[m.change]
	s += fmt.Sprintf(" %s %v", comparisonNames[c.compare], c.limit)
	if c.hyst {
		s += fmt.Sprintf(" until %v", c.until)
	}
	return s
}

// validate reports every mistake of the condition.
func (c Condition) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	m := c.measure
	switch {
	case c.absent != 0:
		if c.absent < time.Millisecond || c.absent%time.Millisecond != 0 {
			add("Absent %v, expected whole milliseconds, at least one", c.absent)
		}
		if c.hyst {
			add("Until has no meaning for Absent: it ends with the next record")
		}
	case m.tumbling:
		if err := m.windows.Validate(); err != nil {
			errs = append(errs, err)
		}
		if m.windows.AdvanceMS() != m.windows.SizeMS() {
			add("%v: In takes tumbling windows; for hopping ones use Over", m.windows)
		}
	case m.over == 0:
		add("the condition is empty: make one with Count, Sum, ... and In or Over, or with Absent")
	default:
		if m.slices < 2 || m.slices > 1000 {
			add("%d slices, expected 2 to 1000", m.slices)
		} else if m.over < time.Duration(m.slices)*time.Millisecond {
			add("Over %v in %d slices: a slice is at least a millisecond", m.over, m.slices)
		}
	}
	if c.hyst {
		if up := c.compare == atLeast || c.compare == above || c.compare == beyond; up && c.until > c.limit || !up && c.until < c.limit {
			add("Until %v is on the wrong side of %v: the alert would end as it begins", c.until, c.limit)
		}
	}
	return errors.Join(errs...)
}
