package cassandra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// encoder appends a value as the native protocol has it (without its length), or
// returns errNull for null. Any other error says why the value is refused.
type encoder func(dst []byte, v reflect.Value) ([]byte, error)

// errNull stands for CQL's null.
var errNull = errors.New("null")

// encoderFor makes the encoder of a Go type into a CQL type; the error says why
// there is none. UnsetValue is not its business.
func encoderFor(of reflect.Type, t cqlType) (encoder, error) {
	if of.Kind() == reflect.Pointer {
		inner, err := encoderFor(of.Elem(), t)
		return func(dst []byte, v reflect.Value) ([]byte, error) {
			if v.IsNil() {
				return dst, errNull
			}
			return inner(dst, v.Elem())
		}, err
	}
	if _, special := typesOfStructs[of]; !special && marshals(of) && !isUUID(of) {
		return marshalerEncoder(t)
	}
	if e := scalarEncoder(of, t); e != nil {
		return e, nil
	}
	switch {
	case t.name == "vector" && (of.Kind() == reflect.Slice || of.Kind() == reflect.Array):
		return vectorEncoder(of, t)
	case (t.name == "list" || t.name == "set") && (of.Kind() == reflect.Slice || of.Kind() == reflect.Array) && of.Elem().Kind() != reflect.Uint8:
		return elementsEncoder(of, t)
	case t.name == "set" && of.Kind() == reflect.Map && of.Elem().Kind() == reflect.Struct && of.Elem().NumField() == 0:
		return mapEncoder(of, t)
	case t.name == "map" && of.Kind() == reflect.Map && len(t.args) == 2:
		return mapEncoder(of, t)
	case !t.builtIn() && of.Kind() == reflect.Struct && typesOfStructs[of] == "":
		return structEncoder(of, t)
	}
	return nil, fmt.Errorf("a Go %v cannot be written as %v", of, t)
}

func nativeInfo(t cqlType) (gocql.TypeInfo, bool) {
	n, ok := native[t.name]
	if !ok {
		return nil, false
	}
	return gocql.NewNativeType(4, n, ""), true
}

// marshalerEncoder is for types that implement gocql.Marshaler.
func marshalerEncoder(t cqlType) (encoder, error) {
	info, ok := nativeInfo(t)
	if !ok {
		return nil, fmt.Errorf("a gocql.Marshaler can only be written as a type without parameters, not as %v", t)
	}
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		b, err := addressable(v).Addr().Interface().(gocql.Marshaler).MarshalCQL(info)
		if err == nil && b == nil {
			err = errNull
		}
		return append(dst, b...), err
	}, nil
}

// element appends one element with its length before it.
func element(dst []byte, e encoder, v reflect.Value) ([]byte, error) {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst, err := e(dst, v)
	if err != nil {
		return dst, err
	}
	return dst, setLength(dst[at:], len(dst)-at-4)
}

func setLength(dst []byte, n int) error {
	if n > math.MaxInt32 {
		return fmt.Errorf("%d bytes, at most 2 GiB fit", n)
	}
	binary.BigEndian.PutUint32(dst, uint32(n))
	return nil
}

func elementsEncoder(of reflect.Type, t cqlType) (encoder, error) {
	e, err := encoderFor(of.Elem(), t.args[0])
	if err != nil {
		return nil, err
	}
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		if v.Kind() == reflect.Slice && v.IsNil() {
			return dst, errNull
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(v.Len()))
		for i := range v.Len() {
			var err error
			if dst, err = element(dst, e, v.Index(i)); err != nil {
				return dst, fmt.Errorf("element %d: %w", i, notNull(err))
			}
		}
		return dst, nil
	}, nil
}

// errNullElement: a null within a collection.
var errNullElement = errors.New("null cannot be an element of a collection")

func notNull(err error) error {
	if errors.Is(err, errNull) {
		return errNullElement
	}
	return err
}

// mapEncoder is for maps, and for sets as map[K]struct{}.
func mapEncoder(of reflect.Type, t cqlType) (encoder, error) {
	key, err := encoderFor(of.Key(), t.args[0])
	if err != nil {
		return nil, err
	}
	var value encoder
	if t.name == "map" {
		if value, err = encoderFor(of.Elem(), t.args[1]); err != nil {
			return nil, err
		}
	}
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		if v.IsNil() {
			return dst, errNull
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(v.Len()))
		for it := v.MapRange(); it.Next(); {
			var err error
			if dst, err = element(dst, key, it.Key()); err != nil {
				return dst, fmt.Errorf("key %v: %w", it.Key(), notNull(err))
			}
			if value == nil {
				continue
			}
			if dst, err = element(dst, value, it.Value()); err != nil {
				return dst, fmt.Errorf("value of key %v: %w", it.Key(), notNull(err))
			}
		}
		return dst, nil
	}, nil
}

// vectorEncoder is for vector<float, N>: N floats, one after the other.
func vectorEncoder(of reflect.Type, t cqlType) (encoder, error) {
	n, err := strconv.Atoi(t.args[1].name)
	if err != nil || n < 1 || t.args[0].name != "float" || of.Elem().Kind() != reflect.Float32 {
		return nil, fmt.Errorf("a Go %v cannot be written as %v: []float32 as vector<float, N> can", of, t)
	}
	if of.Kind() == reflect.Array && of.Len() != n {
		return nil, fmt.Errorf("a Go %v has %d elements, %v %d", of, of.Len(), t, n)
	}
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		if v.Kind() == reflect.Slice && v.IsNil() {
			return dst, errNull
		}
		if v.Len() != n {
			return dst, fmt.Errorf("%d elements, expected %d", v.Len(), n)
		}
		for i := range n {
			dst = binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(v.Index(i).Float())))
		}
		return dst, nil
	}, nil
}

// structEncoder is for user-defined types: the type's fields in its order, null
// where the struct has none of that name.
func structEncoder(of reflect.Type, t cqlType) (encoder, error) {
	columns, err := structFields(of)
	if err != nil {
		return nil, err
	}
	byName := map[string]column{}
	for _, c := range columns {
		byName[c.name] = c
	}
	fields := t.fields
	if fields == nil { // not known yet: as the struct says
		for _, c := range columns {
			fields = append(fields, typeField{c.name, c.typ})
		}
	}
	type part struct {
		name string
		path []int
		e    encoder
	}
	var parts []part
	for _, f := range fields {
		c, ok := byName[f.name]
		if !ok {
			parts = append(parts, part{name: f.name})
			continue
		}
		e, err := encoderFor(c.goType, f.typ)
		if err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", f.name, t.name, err)
		}
		parts = append(parts, part{f.name, c.field, e})
		delete(byName, f.name)
	}
	for name := range byName {
		return nil, fmt.Errorf("type %s has no field %s, which %v has: ALTER TYPE %s ADD %s %v", t.name, name, of, quoted(t.name), quoted(name), byName[name].typ)
	}
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		for _, p := range parts {
			if p.e == nil {
				dst = append(dst, 0xff, 0xff, 0xff, 0xff)
				continue
			}
			at := len(dst)
			var err error
			if dst, err = element(dst, p.e, v.FieldByIndex(p.path)); errors.Is(err, errNull) {
				dst = append(dst[:at], 0xff, 0xff, 0xff, 0xff)
			} else if err != nil {
				return dst, fmt.Errorf("field %s: %w", p.name, err)
			}
		}
		return dst, nil
	}, nil
}

// addressable is v, or a copy of it where v has no address (the elements of a map).
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

const day = 24 * time.Hour

// days are the days since the epoch that the date type counts, the epoch's at 2^31.
func days(t time.Time) (uint32, error) {
	d := t.Unix() / 86400
	if t.Unix()%86400 < 0 {
		d--
	}
	if d < math.MinInt32 || d > math.MaxInt32 {
		return 0, fmt.Errorf("year %d is out of the range of a date", t.Year())
	}
	return uint32(d + 1<<31), nil
}
