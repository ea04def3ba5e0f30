package streams

import (
	"time"

	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/window"
)

// Window is a span of event time: Start and End in milliseconds, StartTime and
// EndTime as times.
type Window = window.Window

// Windowed is a key in a window.
type Windowed[K any] = window.Windowed[K]

// Windows is a definition of windows.
type Windows = window.Windows

// Tumbling defines windows that follow one another. Methods: Grace, Retention.
func Tumbling(size time.Duration) Windows { return window.Tumbling(size) }

// Hopping defines windows of a size that begin every advance.
func Hopping(size, advance time.Duration) Windows { return window.Hopping(size, advance) }

// Keyed makes the key of a windowed result: the key with its window. Its bytes
// are the key's, then the window's start (window.SerdeOf).
func Keyed[K any](key K, w Window) Windowed[K] { return Windowed[K]{Key: key, Window: w} }

// At is a key at a moment: engine.Get looks the window up that holds it (of
// hopping windows the last to start).
func At[K any](key K, t time.Time) Windowed[K] {
	ms := t.UnixMilli()
	return Windowed[K]{Key: key, Window: Window{Start: ms, End: ms + 1}}
}

// KeyOnly makes the key of a windowed result: the key without its window.
func KeyOnly[K any](key K, _ Window) K { return key }

// WindowedKeys is the serde of windowed keys whose windows have the given size,
// for reading with From what To wrote: the bytes hold a window's start only.
func WindowedKeys[K any](key serde.Serde[K], size time.Duration) serde.Serde[Windowed[K]] {
	return window.SerdeOf(key, size)
}
