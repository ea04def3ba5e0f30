// Package window is the arithmetic of time windows: pure functions of numbers,
// in milliseconds since the Unix epoch, negative ones too.
//
// A window holds the times Start <= t < End. Windows of one definition start at
// the multiples of its advance. Package streams re-exports Window, Windowed and
// the constructors; programs use them from there.
package window

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millstream-io/millstream/streams/serde"
)

// Window is a span of event time.
//
// Invariant: Start <= t < End for every t in it.
type Window struct {
	Start, End int64 // milliseconds since the Unix epoch; End is exclusive
}

// StartTime is the window's first instant, in UTC.
func (w Window) StartTime() time.Time { return time.UnixMilli(w.Start).UTC() }

// EndTime is the first instant after the window, in UTC.
func (w Window) EndTime() time.Time { return time.UnixMilli(w.End).UTC() }

// Contains reports whether the time is in the window.
func (w Window) Contains(timeMS int64) bool { return w.Start <= timeMS && timeMS < w.End }

func (w Window) String() string {
	return w.StartTime().Format("2006-01-02T15:04:05.999Z") + "/" + w.EndTime().Format("2006-01-02T15:04:05.999Z")
}

// Windowed is a key in a window.
type Windowed[K any] struct {
	Key K
	Window
}

// String is the key, an at sign, and the window.
func (w Windowed[K]) String() string { return fmt.Sprint(w.Key) + "@" + w.Window.String() }

// Serde is the serde of windowed keys whose window size is not known: Kafka's
// TimeWindowedSerializer, see SerdeOf. Decoded windows end at the end of time.
func (Windowed[K]) Serde() serde.Serde[Windowed[K]] {
	key, err := serde.For[K](nil)
	if err != nil {
		return nil
	}
	return SerdeOf(key, 0)
}

// Windows defines how time is cut into windows. Make one with Tumbling or
// Hopping; the methods return changed copies.
type Windows struct {
	size, advance, grace, retention int64 // milliseconds
	kept                            bool  // retention was given
	hopping                         bool
	uneven                          bool // a duration was not whole milliseconds
}

// Tumbling windows follow one another without gap or overlap.
func Tumbling(size time.Duration) Windows {
	w := Windows{uneven: uneven(size)}
	w.size, w.advance = size.Milliseconds(), size.Milliseconds()
	return w
}

// Hopping windows of the given size begin every advance, so that a record falls
// into size/advance of them.
func Hopping(size, advance time.Duration) Windows {
	w := Windows{hopping: true, uneven: uneven(size) || uneven(advance)}
	w.size, w.advance = size.Milliseconds(), advance.Milliseconds()
	return w
}

func uneven(d time.Duration) bool { return d%time.Millisecond != 0 }

// Grace is how long after its end a window still takes records, by stream time.
// Default 0.
func (w Windows) Grace(d time.Duration) Windows {
	w.grace, w.uneven = d.Milliseconds(), w.uneven || uneven(d)
	return w
}

// Retention is how long after its start a window is kept for queries. Default
// and least: size plus grace.
func (w Windows) Retention(d time.Duration) Windows {
	w.retention, w.kept, w.uneven = d.Milliseconds(), true, w.uneven || uneven(d)
	return w
}

// Validate reports everything that is wrong with the definition.
func (w Windows) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if w.uneven {
		add("a window's durations must be whole milliseconds")
	}
	if w.size <= 0 {
		add("window size %v, expected at least 1ms", ms(w.size))
	}
	if w.hopping && (w.advance <= 0 || w.advance > w.size) {
		add("window advance %v, expected at least 1ms and at most the size %v", ms(w.advance), ms(w.size))
	}
	if w.grace < 0 {
		add("window grace %v, expected 0 or more", ms(w.grace))
	}
	if w.kept && w.retention < w.size+w.grace {
		add("window retention %v, expected at least size plus grace: %v", ms(w.retention), ms(w.size+w.grace))
	}
	return errors.Join(errs...)
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// SizeMS, AdvanceMS, GraceMS and RetentionMS are the definition's numbers.
func (w Windows) SizeMS() int64    { return w.size }
func (w Windows) AdvanceMS() int64 { return w.advance }
func (w Windows) GraceMS() int64   { return w.grace }
func (w Windows) RetentionMS() int64 {
	if w.kept {
		return w.retention
	}
	return w.size + w.grace
}

// String is "tumbling 1m0s grace 10s": for Describe and the fingerprint.
func (w Windows) String() string {
	s := fmt.Sprintf("tumbling %v", ms(w.size))
	if w.hopping {
		s = fmt.Sprintf("hopping %v by %v", ms(w.size), ms(w.advance))
	}
	if w.grace != 0 {
		s += fmt.Sprintf(" grace %v", ms(w.grace))
	}
	if w.kept {
		s += fmt.Sprintf(" retention %v", ms(w.retention))
	}
	return s
}

// First is the start of the earliest window that holds the time, Last of the
// latest; the windows between start every advance. First > Last if there is none.
func (w Windows) First(timeMS int64) int64 {
	return floor(add(timeMS, -w.size), w.advance) + w.advance
}

// Last: see First.
func (w Windows) Last(timeMS int64) int64 { return floor(timeMS, w.advance) }

// Window is the window that starts at startMS.
func (w Windows) Window(startMS int64) Window { return Window{startMS, add(startMS, w.size)} }

// CloseMS is the stream time at which the window that starts at startMS closes:
// from then on records for it are late.
func (w Windows) CloseMS(startMS int64) int64 { return add(startMS, w.size+w.grace) }

// ExpireMS is the stream time from which on the window is dropped.
func (w Windows) ExpireMS(startMS int64) int64 { return add(startMS, w.RetentionMS()) }

// Expired is the start before which windows have expired at the stream time.
func (w Windows) Expired(streamTimeMS int64) int64 {
	s := add(streamTimeMS, -w.RetentionMS())
	if s == math.MaxInt64 {
		return s
	}
	return s + 1
}

// floor is the greatest multiple of step that is not above t.
func floor(t, step int64) int64 {
	m := t % step
	if m < 0 {
		m += step
	}
	if t < math.MinInt64+m {
		return t - m + step // no multiple is that low: the lowest there is
	}
	return t - m
}

// add adds, and stays at the ends of time instead of wrapping round.
func add(a, b int64) int64 {
	c := a + b
	if b > 0 && c < a {
		return math.MaxInt64
	}
	if b < 0 && c > a {
		return math.MinInt64
	}
	return c
}
