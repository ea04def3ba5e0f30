package cache

import (
	"math"

	"github.com/millstream-io/millstream/streams/state"
)

// bounds are the store's keys that enclose one window; to is nil for the last.
func bounds(startMS int64) (from, to []byte) {
	from = state.AppendWindowStart(nil, startMS)
	if startMS < math.MaxInt64 {
		to = state.AppendWindowStart(nil, startMS+1)
	}
	return from, to
}
