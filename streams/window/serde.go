package window

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/millstream-io/millstream/streams/serde"
)

// SerdeOf is the serde of windowed keys, byte for byte Kafka's
// TimeWindowedSerializer:
//
//	+---------------------+-----------------------------------+
//	| the key's own bytes | window start, ms, 8 B, big-endian |
//	+---------------------+-----------------------------------+
//
// The end is not in the bytes: decoded windows end size after their start, or,
// with a size of 0, at the end of time, as Kafka's deserializer has it. A null
// key has no windowed form.
func SerdeOf[K any](key serde.Serde[K], size time.Duration) serde.Serde[Windowed[K]] {
	return windowedSerde[K]{key, size.Milliseconds()}
}

type windowedSerde[K any] struct {
	key    serde.Serde[K]
	sizeMS int64
}

func (s windowedSerde[K]) Append(dst []byte, v Windowed[K]) ([]byte, error) {
	dst, err := s.key.Append(dst, v.Key)
	if err != nil {
		return dst, err
	}
	return binary.BigEndian.AppendUint64(dst, uint64(v.Start)), nil
}

func (s windowedSerde[K]) Decode(b []byte) (Windowed[K], error) {
	var w Windowed[K]
	if len(b) < 8 {
		return w, fmt.Errorf("windowed key: %d bytes, expected at least 8", len(b))
	}
	key, err := s.key.Decode(b[: len(b)-8 : len(b)-8])
	if err != nil {
		return w, err
	}
	w.Key, w.Start, w.End = key, int64(binary.BigEndian.Uint64(b[len(b)-8:])), math.MaxInt64
	if s.sizeMS > 0 {
		w.End = add(w.Start, s.sizeMS)
	}
	return w, nil
}

func (s windowedSerde[K]) Aliases() bool            { return s.key.Aliases() }
func (s windowedSerde[K]) Lifetime() serde.Lifetime { return serde.LifetimeOf(s.key) }
func (s windowedSerde[K]) Name() string             { return "windowed(" + s.key.Name() + ")" }

func (s windowedSerde[K]) Own(v Windowed[K]) Windowed[K] {
	v.Key = s.key.Own(v.Key)
	return v
}
