// Package serde turns keys and values into bytes and back.
//
// A Serde[T] is stateless and may be used by any goroutine. What has state, the
// interning of hot string keys, lives in a KeyDecoder, one per task.
//
// # Null
//
// Kafka's null is a nil slice. An Append that returns ErrNull says that its
// value stands for null (a nil []byte, pointer, map or slice); streams never
// calls Decode with nil, a null value is the zero value there.
//
// # How long a decoded value may be kept
//
// Lifetime says it: numbers always (Plain); strings always, though they point
// into the bytes they were decoded from, which then must not be reused (Safe);
// []byte and views over the raw bytes only until the callback that got them
// returns (Borrowed). Own gives a copy that shares nothing.
//
// The package imports nothing of ours.
package serde

import "errors"

// Serde encodes and decodes values of type T.
type Serde[T any] interface {
	// Append appends the encoded v to dst. ErrNull stands for null.
	Append(dst []byte, v T) ([]byte, error)
	// Decode decodes b, all of it. The value may point into b. b is never nil.
	Decode(b []byte) (T, error)
	// Aliases reports whether decoded values point into b and may yet be kept as
	// long as one likes (strings): b must then never be written again. It is
	// false for values that copy, and for values that are borrowed.
	Aliases() bool
	// Own returns v, detached from any bytes it was decoded from.
	Own(v T) T
	// Name is printed by Describe and part of the topology's fingerprint: another
	// encoding needs another name.
	Name() string
}

// ErrNull is returned by Append for a value that stands for Kafka's null.
var ErrNull = errors.New("null")

// Lifetime says how long a decoded value may be kept without Own.
type Lifetime uint8

const (
	// Borrowed values are valid until the callback that got them returns.
	Borrowed Lifetime = iota
	// Safe values may be kept; they may hold on to the memory of a whole batch.
	Safe
	// Plain values hold no pointers.
	Plain
)

// LifetimeOf is the lifetime of what s decodes: what its method Lifetime() says,
// else Safe if it aliases, else Borrowed.
func LifetimeOf[T any](s Serde[T]) Lifetime {
	if l, ok := s.(interface{ Lifetime() Lifetime }); ok {
		return l.Lifetime()
	}
	if s.Aliases() {
		return Safe
	}
	return Borrowed
}
