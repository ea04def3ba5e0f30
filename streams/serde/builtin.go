package serde

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unsafe"
)

// String is UTF-8 or whatever the string holds, as Kafka's StringSerde. Decoded
// values point into the bytes.
func String() Serde[string] { return stringSerde{} }

// Bytes is the bytes themselves. Decoded values are borrowed; nil is null.
func Bytes() Serde[[]byte] { return bytesSerde{} }

// Int64 is 8 bytes big-endian, as Kafka's LongSerde.
func Int64() Serde[int64] { return intSerde[int64]{name: "int64", size: 8} }

// Int is 8 bytes big-endian, as Int64.
func Int() Serde[int] { return intSerde[int]{name: "int", size: 8} }

// Int32 is 4 bytes big-endian, as Kafka's IntegerSerde.
func Int32() Serde[int32] { return intSerde[int32]{name: "int32", size: 4} }

// Int16 is 2 bytes big-endian, as Kafka's ShortSerde.
func Int16() Serde[int16] { return intSerde[int16]{name: "int16", size: 2} }

// Int8 is 1 byte.
func Int8() Serde[int8] { return intSerde[int8]{name: "int8", size: 1} }

// Uint64 is 8 bytes big-endian.
func Uint64() Serde[uint64] { return intSerde[uint64]{name: "uint64", size: 8} }

// Uint is 8 bytes big-endian.
func Uint() Serde[uint] { return intSerde[uint]{name: "uint", size: 8} }

// Uint32 is 4 bytes big-endian.
func Uint32() Serde[uint32] { return intSerde[uint32]{name: "uint32", size: 4} }

// Uint16 is 2 bytes big-endian.
func Uint16() Serde[uint16] { return intSerde[uint16]{name: "uint16", size: 2} }

// Uint8 is 1 byte.
func Uint8() Serde[uint8] { return intSerde[uint8]{name: "uint8", size: 1} }

// Float64 is IEEE 754, 8 bytes big-endian, as Kafka's DoubleSerde.
func Float64() Serde[float64] { return float64Serde{} }

// Float32 is IEEE 754, 4 bytes big-endian, as Kafka's FloatSerde.
func Float32() Serde[float32] { return float32Serde{} }

// Bool is 1 byte, 0 or 1, as Kafka's BooleanSerde.
func Bool() Serde[bool] { return boolSerde{} }

// Time is 12 bytes: seconds since the Unix epoch (8, big-endian), nanoseconds
// (4, big-endian). The location is not kept: decoded times are in UTC.
func Time() Serde[time.Time] { return timeSerde{} }

func wrongSize(name string, got, want int) error {
	return fmt.Errorf("%s: %d bytes, expected %d", name, got, want)
}

// plain is what serdes of values without pointers have in common.
type plain struct{}

func (plain) Aliases() bool      { return false }
func (plain) Lifetime() Lifetime { return Plain }

type stringSerde struct{}

func (stringSerde) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (stringSerde) Decode(b []byte) (string, error) {
	return unsafe.String(unsafe.SliceData(b), len(b)), nil
}
func (stringSerde) Aliases() bool       { return true }
func (stringSerde) Lifetime() Lifetime  { return Safe }
func (stringSerde) Own(v string) string { return strings.Clone(v) }
func (stringSerde) Name() string        { return "string" }

func (stringSerde) keyDecoder() KeyDecoder[string] { return new(interner) }

type bytesSerde struct{}

func (bytesSerde) Append(dst []byte, v []byte) ([]byte, error) {
	if v == nil {
		return dst, ErrNull
	}
	return append(dst, v...), nil
}
func (bytesSerde) Decode(b []byte) ([]byte, error) { return b[:len(b):len(b)], nil }
func (bytesSerde) Aliases() bool                   { return false }
func (bytesSerde) Lifetime() Lifetime              { return Borrowed }
func (bytesSerde) Name() string                    { return "bytes" }
func (bytesSerde) Own(v []byte) []byte {
	if v == nil {
		return nil
	}
	return append(make([]byte, 0, len(v)), v...)
}

type integer interface {
	int | int8 | int16 | int32 | int64 | uint | uint8 | uint16 | uint32 | uint64
}

// intSerde is two's complement, big-endian, in size bytes.
type intSerde[T integer] struct {
	plain
	name string
	size int
}

func (s intSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	switch s.size {
	case 8:
		return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
	case 4:
		return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
	case 2:
		return binary.BigEndian.AppendUint16(dst, uint16(v)), nil
	default:
		return append(dst, byte(v)), nil
	}
}

func (s intSerde[T]) Decode(b []byte) (T, error) {
	if len(b) != s.size {
		return 0, wrongSize(s.name, len(b), s.size)
	}
	switch s.size {
	case 8:
		return T(binary.BigEndian.Uint64(b)), nil
	case 4:
		return T(binary.BigEndian.Uint32(b)), nil
	case 2:
		return T(binary.BigEndian.Uint16(b)), nil
	default:
		return T(b[0]), nil
	}
}

func (s intSerde[T]) Own(v T) T    { return v }
func (s intSerde[T]) Name() string { return s.name }

type float64Serde struct{ plain }

func (float64Serde) Append(dst []byte, v float64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v)), nil
}

func (float64Serde) Decode(b []byte) (float64, error) {
	if len(b) != 8 {
		return 0, wrongSize("float64", len(b), 8)
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}
func (float64Serde) Own(v float64) float64 { return v }
func (float64Serde) Name() string          { return "float64" }

type float32Serde struct{ plain }

func (float32Serde) Append(dst []byte, v float32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(v)), nil
}

func (float32Serde) Decode(b []byte) (float32, error) {
	if len(b) != 4 {
		return 0, wrongSize("float32", len(b), 4)
	}
	return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
}
func (float32Serde) Own(v float32) float32 { return v }
func (float32Serde) Name() string          { return "float32" }

type boolSerde struct{ plain }

func (boolSerde) Append(dst []byte, v bool) ([]byte, error) {
	if v {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

func (boolSerde) Decode(b []byte) (bool, error) {
	if len(b) != 1 {
		return false, wrongSize("bool", len(b), 1)
	}
	if b[0] > 1 {
		return false, fmt.Errorf("bool: byte %d, expected 0 or 1", b[0])
	}
	return b[0] == 1, nil
}
func (boolSerde) Own(v bool) bool { return v }
func (boolSerde) Name() string    { return "bool" }

type timeSerde struct{}

func (timeSerde) Append(dst []byte, v time.Time) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.Unix()))
	return binary.BigEndian.AppendUint32(dst, uint32(v.Nanosecond())), nil
}

func (timeSerde) Decode(b []byte) (time.Time, error) {
	if len(b) != 12 {
		return time.Time{}, wrongSize("time", len(b), 12)
	}
	ns := binary.BigEndian.Uint32(b[8:])
	if ns > 999_999_999 {
		return time.Time{}, fmt.Errorf("time: %d nanoseconds, expected less than a second", ns)
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), int64(ns)).UTC(), nil
}
func (timeSerde) Aliases() bool             { return false }
func (timeSerde) Lifetime() Lifetime        { return Plain } // a time's location outlives every batch
func (timeSerde) Own(v time.Time) time.Time { return v }
func (timeSerde) Name() string              { return "time" }
