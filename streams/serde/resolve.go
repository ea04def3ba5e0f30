package serde

import (
	"fmt"
	"reflect"
	"time"
	"unsafe"
)

// Registry holds a program's own serdes by type. The zero value is empty. It is
// filled before it is used and not locked.
type Registry struct {
	byType map[reflect.Type]any
}

// Register makes s the serde of T.
func (r *Registry) Register[T any](s Serde[T]) {
	if r.byType == nil {
		r.byType = map[reflect.Type]any{}
	}
	r.byType[reflect.TypeFor[T]()] = s
}

// For finds the serde of T: the registry's (which may be nil), what the method
// Serde() of T returns, the built-in one of string, []byte, integers, floats,
// bool (and of types defined as one of these) and time.Time, JSON for other
// structs, maps, slices, arrays and pointers to structs. Anything else is an error.
func For[T any](r *Registry) (Serde[T], error) {
	t := reflect.TypeFor[T]()
	if r != nil {
		if s, ok := r.byType[t]; ok {
			return s.(Serde[T]), nil
		}
	}
	var zero T
	if own, ok := any(zero).(interface{ Serde() Serde[T] }); ok && t.Kind() != reflect.Pointer {
		if s := own.Serde(); s != nil {
			return s, nil
		}
		return nil, fmt.Errorf("no serde for %v: its method Serde returns nil", t)
	}
	if s, ok := builtin(zero).(Serde[T]); ok {
		return s, nil
	}
	if s := ofKind[T](t); s != nil {
		return s, nil
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Array:
		return JSON[T](), nil
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return JSON[T](), nil
		}
	}
	return nil, fmt.Errorf("no serde for %v: give one with streams.Keys or streams.Values, register it, or give the type a method Serde()", t)
}

// builtin returns the Serde of a basic type, nil for others.
func builtin(zero any) any {
	switch zero.(type) {
	case string:
		return String()
	case []byte:
		return Bytes()
	case int64:
		return Int64()
	case int:
		return Int()
	case int32:
		return Int32()
	case int16:
		return Int16()
	case int8:
		return Int8()
	case uint64:
		return Uint64()
	case uint:
		return Uint()
	case uint32:
		return Uint32()
	case uint16:
		return Uint16()
	case uint8:
		return Uint8()
	case float64:
		return Float64()
	case float32:
		return Float32()
	case bool:
		return Bool()
	case time.Time:
		return Time()
	}
	return nil
}

// ofKind returns the serde of a type defined as a basic one (type UserID int64).
func ofKind[T any](t reflect.Type) Serde[T] {
	switch t.Kind() {
	case reflect.String:
		return defined[T, string]{String()}
	case reflect.Int64:
		return defined[T, int64]{Int64()}
	case reflect.Int:
		return defined[T, int]{Int()}
	case reflect.Int32:
		return defined[T, int32]{Int32()}
	case reflect.Int16:
		return defined[T, int16]{Int16()}
	case reflect.Int8:
		return defined[T, int8]{Int8()}
	case reflect.Uint64:
		return defined[T, uint64]{Uint64()}
	case reflect.Uint:
		return defined[T, uint]{Uint()}
	case reflect.Uint32:
		return defined[T, uint32]{Uint32()}
	case reflect.Uint16:
		return defined[T, uint16]{Uint16()}
	case reflect.Uint8:
		return defined[T, uint8]{Uint8()}
	case reflect.Float64:
		return defined[T, float64]{Float64()}
	case reflect.Float32:
		return defined[T, float32]{Float32()}
	case reflect.Bool:
		return defined[T, bool]{Bool()}
	case reflect.Slice:
		if t.Elem() == reflect.TypeFor[byte]() {
			return defined[T, []byte]{Bytes()}
		}
	}
	return nil
}

// defined is the serde of a type T whose underlying type is U.
//
// Invariant: T and U have the same memory layout (ofKind checks the kind).
type defined[T, U any] struct{ of Serde[U] }

func under[T, U any](v T) U { return *(*U)(unsafe.Pointer(&v)) }

func (s defined[T, U]) Append(dst []byte, v T) ([]byte, error) {
	return s.of.Append(dst, under[T, U](v))
}

func (s defined[T, U]) Decode(b []byte) (T, error) {
	v, err := s.of.Decode(b)
	return under[U, T](v), err
}
func (s defined[T, U]) Aliases() bool      { return s.of.Aliases() }
func (s defined[T, U]) Lifetime() Lifetime { return LifetimeOf(s.of) }
func (s defined[T, U]) Own(v T) T          { return under[U, T](s.of.Own(under[T, U](v))) }
func (s defined[T, U]) Name() string       { return s.of.Name() }

func (s defined[T, U]) keyDecoder() KeyDecoder[T] {
	return definedKey[T, U]{NewKeyDecoder(s.of)}
}

type definedKey[T, U any] struct{ of KeyDecoder[U] }

func (d definedKey[T, U]) Decode(b []byte) (T, error) {
	v, err := d.of.Decode(b)
	return under[U, T](v), err
}
