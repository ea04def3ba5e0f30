package serde

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// Text is a Serde for those who know nothing of its type: people, and programs
// that ask for a store over HTTP. Text goes in, JSON comes out. Any goroutine may
// use it.
type Text interface {
	// Parse appends the encoded form of the value that text stands for: the text
	// itself of strings and bytes, what strconv reads of numbers and bools, what
	// UnmarshalText reads (times: RFC 3339), JSON of everything else. The error
	// names what was expected.
	Parse(dst []byte, text string) ([]byte, error)
	// AppendJSON appends the JSON of an encoded value: a string, a number, a bool,
	// what the value's own MarshalJSON says, an object. What JSON cannot say is
	// {"base64":"..."} of the encoded bytes: bytes, strings that are not UTF-8,
	// numbers that are none, types that show nothing. So is, with an error, what
	// does not decode.
	AppendJSON(dst, encoded []byte) ([]byte, error)
	// Type is the type's name in Go.
	Type() string
	// Name is the serde's.
	Name() string
}

// TextOf is s without its type; nil if s is.
func TextOf[T any](s Serde[T]) Text {
	if s == nil {
		return nil
	}
	return textOf[T]{s, reflect.TypeFor[T]()}
}

type textOf[T any] struct {
	of Serde[T]
	t  reflect.Type
}

func (x textOf[T]) Type() string { return x.t.String() }
func (x textOf[T]) Name() string { return x.of.Name() }

func (x textOf[T]) Parse(dst []byte, text string) ([]byte, error) {
	var v T
	if err := parseText(reflect.ValueOf(&v), text); err != nil {
		return dst, err
	}
	out, err := x.of.Append(dst, v)
	if err != nil {
		return dst, fmt.Errorf("%q as %v: %w", text, x.t, err)
	}
	return out, nil
}

// parseText sets what p points to.
func parseText(p reflect.Value, text string) error {
	v := p.Elem()
	t := v.Type()
	if u, ok := p.Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("%q, expected %v: %w", text, t, err)
		}
		return nil
	}
	var err error
	switch t.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(text, 10, t.Bits())
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var n uint64
		n, err = strconv.ParseUint(text, 10, t.Bits())
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(text, t.Bits())
		v.SetFloat(f)
	default:
		if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(text))
			return nil
		}
		return parseJSON(p, text)
	}
	if err == nil {
		return nil
	}
	what := "expected " + t.String()
	if t.Kind().String() != t.String() {
		what += ", which is " + t.Kind().String()
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%q is out of range, %s", text, what)
	}
	return fmt.Errorf("%q, %s", text, what)
}

func parseJSON(p reflect.Value, text string) error {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	err := d.Decode(p.Interface())
	if err == nil && len(bytes.TrimSpace([]byte(text)[d.InputOffset():])) > 0 {
		err = errors.New("more after the end")
	}
	if err == nil {
		return nil
	}
	t := p.Elem().Type()
	if sample, bad := json.Marshal(reflect.Zero(t).Interface()); bad == nil && t.Kind() == reflect.Struct {
		return fmt.Errorf("%q, expected %v as JSON such as %s: %w", text, t, sample, err)
	}
	return fmt.Errorf("%q, expected %v as JSON: %w", text, t, err)
}

func (x textOf[T]) AppendJSON(dst, encoded []byte) ([]byte, error) {
	v, err := x.of.Decode(encoded)
	if err != nil {
		return appendBase64(dst, encoded), fmt.Errorf("decode %v: %w", x.t, err)
	}
	r := reflect.ValueOf(&v).Elem()
	if !sayable(r) {
		return appendBase64(dst, encoded), nil
	}
	a := appender{dst}
	enc := json.NewEncoder(&a)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return appendBase64(a.b[:len(dst)], encoded), nil // not a mistake: there is no JSON of it
	}
	return bytes.TrimSuffix(a.b, []byte("\n")), nil
}

// sayable reports whether encoding/json says all of v.
func sayable(v reflect.Value) bool {
	switch v.Interface().(type) {
	case json.Marshaler, encoding.TextMarshaler:
		return true
	}
	t := v.Type()
	switch t.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Slice:
		return t.Elem().Kind() != reflect.Uint8
	case reflect.Struct:
		if t.NumField() == 0 {
			return true
		}
		for f := range t.Fields() {
			if f.IsExported() {
				return true
			}
		}
		return false
	}
	return true
}

func appendBase64(dst, b []byte) []byte {
	dst = append(dst, `{"base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, `"}`...)
}
