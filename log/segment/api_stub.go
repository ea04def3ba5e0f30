package segment

import "github.com/millstream-io/millstream/log/record"

// OffsetMap is the cleaner's memory: key hashes to last offsets, at most maxBytes.
type OffsetMap struct{}

// NewOffsetMap makes a map of maxBytes (24 bytes per key).
func NewOffsetMap(maxBytes int) *OffsetMap { panic("todo") }

// Compact cleans [FirstDirty, what may be cleaned). Only segments below the offset last given to Checkpointed are touched.
func (l *Log) Compact(o CompactOptions) (CompactResult, error) { panic("todo") }

// Cleanable says what Compact would look at.
func (l *Log) Cleanable(firstDirty record.Offset, now int64) Cleanable { panic("todo") }

func (l *Log) finishSwap(base record.Offset, names []string) error { panic("todo") }
