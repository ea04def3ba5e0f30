package serde

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// JSON encodes T with encoding/json (without HTML escaping). A nil pointer, map
// or slice is null. Decoded values share nothing with the bytes.
func JSON[T any]() Serde[T] {
	t := reflect.TypeFor[T]()
	return jsonSerde[T]{name: "json:" + t.String(), clone: holdsStrings(t, nil)}
}

type jsonSerde[T any] struct {
	name  string
	clone bool // T holds strings, which may point into a batch when a program puts them there
}

// appender is an io.Writer over a slice.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func (s jsonSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	if isNil(reflect.ValueOf(&v).Elem()) {
		return dst, ErrNull
	}
	a := appender{dst}
	enc := json.NewEncoder(&a)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return dst, fmt.Errorf("%s: %w", s.name, err)
	}
	return bytes.TrimSuffix(a.b, []byte("\n")), nil
}

func (s jsonSerde[T]) Decode(b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		var zero T
		return zero, fmt.Errorf("%s: %w", s.name, err)
	}
	return v, nil
}

func (s jsonSerde[T]) Aliases() bool      { return false }
func (s jsonSerde[T]) Lifetime() Lifetime { return Safe }
func (s jsonSerde[T]) Name() string       { return s.name }

// Own copies the strings that v holds in exported fields, elements and map
// entries, and with them the slices, maps and pointers on the way.
func (s jsonSerde[T]) Own(v T) T {
	if !s.clone {
		return v
	}
	return own(reflect.ValueOf(&v).Elem()).Interface().(T)
}

func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return v.IsNil()
	}
	return false
}

func holdsStrings(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t.Name() != "" { // only named types can hold themselves
		if seen[t] {
			return false
		}
		if seen == nil {
			seen = map[reflect.Type]bool{}
		}
		seen[t] = true
	}
	switch t.Kind() {
	case reflect.String, reflect.Interface:
		return true
	case reflect.Slice, reflect.Array, reflect.Pointer:
		return holdsStrings(t.Elem(), seen)
	case reflect.Map:
		return holdsStrings(t.Key(), seen) || holdsStrings(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() && holdsStrings(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// own returns a copy of v whose strings are its own.
func own(v reflect.Value) reflect.Value {
	if isNil(v) || !holdsStrings(v.Type(), nil) {
		return v
	}
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(strings.Clone(v.String()))
	case reflect.Interface:
		out.Set(own(v.Elem()))
	case reflect.Pointer:
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(own(v.Elem()))
	case reflect.Slice:
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(own(v.Index(i)))
		}
	case reflect.Array:
		for i := range v.Len() {
			out.Index(i).Set(own(v.Index(i)))
		}
	case reflect.Map:
		out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for it := v.MapRange(); it.Next(); {
			out.SetMapIndex(own(it.Key()), own(it.Value()))
		}
	case reflect.Struct:
		out.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(own(v.Field(i)))
			}
		}
	default:
		return v
	}
	return out
}
