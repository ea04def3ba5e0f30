package cassandra

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"time"
	"unicode/utf8"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"gopkg.in/inf.v0"
)

// scalarEncoder is the encoder of a value without parts, nil if there is none.
func scalarEncoder(of reflect.Type, t cqlType) encoder {
	if len(t.args) > 0 {
		return nil
	}
	switch of {
	case typeTime:
		return timeEncoder(t)
	case typeDuration:
		return durationEncoder(t)
	case typeIP, typeAddr:
		return inetEncoder(of, t)
	case typeDec, typeBig, typeCQLLength:
		if typesOfStructs[of] == t.name {
			return driverEncoder(t)
		}
		return nil
	}
	switch of.Kind() {
	case reflect.String:
		return stringEncoder(t)
	case reflect.Bool:
		if t.name == "boolean" {
			return encodeBool
		}
	case reflect.Float32, reflect.Float64:
		return floatEncoder(of.Kind(), t)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intEncoder(t)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return uintEncoder(t)
	case reflect.Array, reflect.Slice:
		return bytesEncoder(of, t)
	}
	return nil
}

// driverEncoder leaves the encoding to the driver.
func driverEncoder(t cqlType) encoder {
	info, ok := nativeInfo(t)
	if !ok {
		return nil
	}
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		b, err := gocql.Marshal(info, v.Interface())
		if err == nil && b == nil {
			err = errNull
		}
		return append(dst, b...), err
	}
}

func encodeBool(dst []byte, v reflect.Value) ([]byte, error) {
	if v.Bool() {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

var integerBytes = map[string]int{"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}

func appendInteger(dst []byte, n int64, size int) []byte {
	for shift := 8 * (size - 1); shift >= 0; shift -= 8 {
		dst = append(dst, byte(n>>shift))
	}
	return dst
}

// intEncoder is for signed integers; a value out of the column's range is refused.
func intEncoder(t cqlType) encoder {
	size, ok := integerBytes[t.name]
	if !ok {
		if t.name == "varint" {
			return driverEncoder(t)
		}
		return nil
	}
	most := int64(math.MaxInt64) >> (64 - 8*size)
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		n := v.Int()
		if n > most || n < -most-1 {
			return dst, fmt.Errorf("%d is out of the range of %s", n, t.name)
		}
		return appendInteger(dst, n, size), nil
	}
}

func uintEncoder(t cqlType) encoder {
	if t.name == "varint" {
		return func(dst []byte, v reflect.Value) ([]byte, error) {
			return appendVarint(dst, new(big.Int).SetUint64(v.Uint()))
		}
	}
	size, ok := integerBytes[t.name]
	if !ok {
		return nil
	}
	most := uint64(math.MaxInt64) >> (64 - 8*size)
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		n := v.Uint()
		if n > most {
			return dst, fmt.Errorf("%d is out of the range of %s", n, t.name)
		}
		return appendInteger(dst, int64(n), size), nil
	}
}

func appendVarint(dst []byte, n *big.Int) ([]byte, error) {
	b, err := gocql.Marshal(gocql.NewNativeType(4, gocql.TypeVarint, ""), n)
	return append(dst, b...), err
}

// floatEncoder: a float64 is not cut down to a float.
func floatEncoder(k reflect.Kind, t cqlType) encoder {
	switch {
	case t.name == "double":
		return func(dst []byte, v reflect.Value) ([]byte, error) {
			return binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Float())), nil
		}
	case t.name == "float" && k == reflect.Float32:
		return func(dst []byte, v reflect.Value) ([]byte, error) {
			return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(v.Float()))), nil
		}
	}
	return nil
}

func timeEncoder(t cqlType) encoder {
	switch t.name {
	case "timestamp":
		return func(dst []byte, v reflect.Value) ([]byte, error) {
			at := addressable(v).Addr().Interface().(*time.Time)
			if at.IsZero() {
				return dst, errNull
			}
			return binary.BigEndian.AppendUint64(dst, uint64(at.UnixMilli())), nil
		}
	case "date":
		return func(dst []byte, v reflect.Value) ([]byte, error) {
			at := addressable(v).Addr().Interface().(*time.Time)
			if at.IsZero() {
				return dst, errNull
			}
			d, err := days(*at)
			return binary.BigEndian.AppendUint32(dst, d), err
		}
	}
	return nil
}

func durationEncoder(t cqlType) encoder {
	switch t.name {
	case "duration":
		return driverEncoder(t)
	case "time":
		return func(dst []byte, v reflect.Value) ([]byte, error) {
			if n := v.Int(); n < 0 || n >= int64(day) {
				return dst, fmt.Errorf("%v is no time of a day", time.Duration(n))
			}
			return binary.BigEndian.AppendUint64(dst, uint64(v.Int())), nil
		}
	case "bigint":
		return intEncoder(t) // nanoseconds
	}
	return nil
}

func inetEncoder(of reflect.Type, t cqlType) encoder {
	if t.name != "inet" {
		return nil
	}
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		if of == typeAddr {
			return appendAddr(dst, *addressable(v).Addr().Interface().(*netip.Addr))
		}
		ip := v.Interface().(net.IP)
		if len(ip) == 0 {
			return dst, errNull
		}
		a, ok := netip.AddrFromSlice(ip)
		if !ok {
			return dst, fmt.Errorf("%d bytes are no IP address", len(ip))
		}
		return appendAddr(dst, a)
	}
}

func appendAddr(dst []byte, a netip.Addr) ([]byte, error) {
	if !a.IsValid() {
		return dst, errNull
	}
	if a.Zone() != "" {
		return dst, fmt.Errorf("address %v has a zone, which inet cannot hold", a)
	}
	return append(dst, a.Unmap().AsSlice()...), nil
}

// bytesEncoder is for []byte, [N]byte and UUIDs.
func bytesEncoder(of reflect.Type, t cqlType) encoder {
	if of.Elem().Kind() != reflect.Uint8 {
		return nil
	}
	slice := of.Kind() == reflect.Slice
	switch t.name {
	case "blob":
	case "text", "ascii":
		if !slice {
			return nil
		}
	case "uuid", "timeuuid":
		if !isUUID(of) {
			return nil
		}
	default:
		return nil
	}
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		if slice && v.IsNil() {
			return dst, errNull
		}
		at := len(dst)
		dst = append(dst, addressable(v).Bytes()...)
		return dst, checkBytes(t.name, dst[at:])
	}
}

// checkBytes checks what Cassandra would refuse.
func checkBytes(name string, b []byte) error {
	switch name {
	case "text":
		if !utf8.Valid(b) {
			return fmt.Errorf("text that is no UTF-8")
		}
	case "ascii":
		for i, c := range b {
			if c >= 0x80 {
				return fmt.Errorf("byte %#x at %d is no ASCII", c, i)
			}
		}
	case "timeuuid":
		if v := b[6] >> 4; v != 1 {
			return fmt.Errorf("UUID of version %d, a timeuuid is of version 1", v)
		}
	}
	return nil
}

// stringEncoder is for strings: themselves, or what they spell.
func stringEncoder(t cqlType) encoder {
	switch t.name {
	case "text", "ascii", "blob":
		return func(dst []byte, v reflect.Value) ([]byte, error) {
			at := len(dst)
			dst = append(dst, v.String()...)
			return dst, checkBytes(t.name, dst[at:])
		}
	case "uuid", "timeuuid", "inet", "date", "decimal", "varint":
		return func(dst []byte, v reflect.Value) ([]byte, error) { return appendSpelled(dst, t.name, v.String()) }
	}
	return nil
}

// appendSpelled encodes what a string spells. The empty string is null.
func appendSpelled(dst []byte, name, s string) ([]byte, error) {
	if s == "" {
		return dst, errNull
	}
	switch name {
	case "uuid", "timeuuid":
		u, err := gocql.ParseUUID(s)
		if err != nil {
			return dst, fmt.Errorf("%q is no UUID", s)
		}
		return append(dst, u[:]...), checkBytes(name, u[:])
	case "inet":
		a, err := netip.ParseAddr(s)
		if err != nil {
			return dst, fmt.Errorf("%q is no IP address", s)
		}
		return appendAddr(dst, a)
	case "date":
		at, err := time.Parse(time.DateOnly, s)
		if err != nil {
			return dst, fmt.Errorf("%q is no date like 2026-11-21", s)
		}
		d, err := days(at)
		return binary.BigEndian.AppendUint32(dst, d), err
	case "decimal":
		d, ok := new(inf.Dec).SetString(s)
		if !ok {
			return dst, fmt.Errorf("%q is no decimal number", s)
		}
		b, err := gocql.Marshal(gocql.NewNativeType(4, gocql.TypeDecimal, ""), d)
		return append(dst, b...), err
	default: // varint
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			return dst, fmt.Errorf("%q is no whole number", s)
		}
		return appendVarint(dst, n)
	}
}
