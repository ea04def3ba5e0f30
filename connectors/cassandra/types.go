package cassandra

import (
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"gopkg.in/inf.v0"
)

// cqlType is a CQL type as it is written: list<text>, vector<float, 3>, address.
// frozen<T> is T: it does not change what a whole value looks like.
//
// Invariant: fields is set for a user-defined type whose fields are known.
type cqlType struct {
	name   string // lower case for built-in types; a number within vector<>
	args   []cqlType
	fields []typeField
}

// typeField is a field of a user-defined type.
type typeField struct {
	name string
	typ  cqlType
}

// native are the built-in types without parameters that a column can have.
var native = map[string]gocql.Type{
	"ascii": gocql.TypeAscii, "bigint": gocql.TypeBigInt, "blob": gocql.TypeBlob, "boolean": gocql.TypeBoolean,
	"counter": gocql.TypeCounter, "date": gocql.TypeDate, "decimal": gocql.TypeDecimal, "double": gocql.TypeDouble,
	"duration": gocql.TypeDuration, "float": gocql.TypeFloat, "inet": gocql.TypeInet, "int": gocql.TypeInt,
	"smallint": gocql.TypeSmallInt, "text": gocql.TypeText, "time": gocql.TypeTime, "timestamp": gocql.TypeTimestamp,
	"timeuuid": gocql.TypeTimeUUID, "tinyint": gocql.TypeTinyInt, "uuid": gocql.TypeUUID, "varint": gocql.TypeVarint,
}

// parametric are the built-in types with parameters, and how many they have.
var parametric = map[string]int{"list": 1, "set": 1, "map": 2, "vector": 2, "frozen": 1}

// parseType reads a type as CQL and system_schema write it.
func parseType(s string) (cqlType, error) {
	s = strings.TrimSpace(s)
	name, rest, isParametric := strings.Cut(s, "<")
	name = strings.TrimSpace(name)
	if !isParametric {
		return parseName(s)
	}
	name = strings.ToLower(name)
	inner, ok := strings.CutSuffix(rest, ">")
	if !ok {
		return cqlType{}, fmt.Errorf("type %q: > expected at its end", s)
	}
	if name == "tuple" {
		return cqlType{}, fmt.Errorf("type %q: tuples are not written; use a user-defined type", s)
	}
	want, ok := parametric[name]
	parts := splitTop(inner)
	if !ok || len(parts) != want {
		return cqlType{}, fmt.Errorf("type %q: expected list<T>, set<T>, map<K, V>, vector<float, N> or frozen<T>", s)
	}
	t := cqlType{name: name}
	for i, p := range parts {
		if name == "vector" && i == 1 {
			t.args = append(t.args, cqlType{name: p})
			continue
		}
		arg, err := parseType(p)
		if err != nil {
			return t, err
		}
		t.args = append(t.args, arg)
	}
	if name == "frozen" {
		return t.args[0], nil
	}
	return t, nil
}

func parseName(s string) (cqlType, error) {
	lower := strings.ToLower(s)
	if lower == "varchar" {
		lower = "text"
	}
	if _, ok := native[lower]; ok {
		return cqlType{name: lower}, nil
	}
	if n := len(s); n > 2 && s[0] == '"' && s[n-1] == '"' && keyspaceName.MatchString(s[1:n-1]) && !known(s[1:n-1]) {
		return cqlType{name: s[1 : n-1]}, nil
	}
	if !identifier.MatchString(lower) || known(lower) {
		return cqlType{}, fmt.Errorf("type %q: no name of a type", s)
	}
	return cqlType{name: lower}, nil // a user-defined type
}

// known reports whether a name is that of a built-in type.
func known(name string) bool {
	_, simple := native[name]
	_, param := parametric[name]
	return simple || param || name == "tuple"
}

// builtIn reports whether t itself is no user-defined type.
func (t cqlType) builtIn() bool {
	_, ok := native[t.name]
	_, param := parametric[t.name]
	return ok || param && len(t.args) > 0
}

func (t cqlType) String() string {
	if !t.builtIn() {
		return quoted(t.name)
	}
	if len(t.args) == 0 {
		return t.name
	}
	args := make([]string, len(t.args))
	for i, a := range t.args {
		if args[i] = a.String(); t.name == "vector" && i == 1 {
			args[i] = a.name
		}
	}
	return t.name + "<" + strings.Join(args, ", ") + ">"
}

// definition is t as a column of CREATE TABLE has it: user-defined types and
// collections in keys and in other types are frozen.
func (t cqlType) definition(freeze bool) string {
	s := t.String()
	if len(t.args) > 0 && t.name != "vector" {
		args := make([]string, len(t.args))
		for i, a := range t.args {
			args[i] = a.definition(true)
		}
		s = t.name + "<" + strings.Join(args, ", ") + ">"
	}
	if freeze && len(t.args) > 0 && t.name != "vector" || !t.builtIn() {
		return "frozen<" + s + ">"
	}
	return s
}

// userTypes appends the user-defined types in t, those that others need first.
func (t cqlType) userTypes(dst []cqlType) []cqlType {
	for _, a := range t.args {
		dst = a.userTypes(dst)
	}
	for _, f := range t.fields {
		dst = f.typ.userTypes(dst)
	}
	if len(t.fields) > 0 {
		dst = append(dst, t)
	}
	return dst
}

// takes reports why values of a Go type cannot be written as t; nil if they can.
func (t cqlType) takes(of reflect.Type) error {
	_, err := encoderFor(of, t)
	return err
}

func (t cqlType) equal(o cqlType) bool {
	if t.name != o.name || len(t.args) != len(o.args) {
		return false
	}
	for i := range t.args {
		if !t.args[i].equal(o.args[i]) {
			return false
		}
	}
	return true
}

// same is equal, the fields of user-defined types included.
func (t cqlType) same(o cqlType) bool {
	return t.equal(o) && slices.EqualFunc(t.args, o.args, cqlType.same) && slices.EqualFunc(t.fields, o.fields, func(a, b typeField) bool {
		return a.name == b.name && a.typ.same(b.typ)
	})
}

var (
	typeTime       = reflect.TypeFor[time.Time]()
	typeDuration   = reflect.TypeFor[time.Duration]()
	typeCQLLength  = reflect.TypeFor[gocql.Duration]()
	typeDec        = reflect.TypeFor[inf.Dec]()
	typeBig        = reflect.TypeFor[big.Int]()
	typeIP         = reflect.TypeFor[net.IP]()
	typeAddr       = reflect.TypeFor[netip.Addr]()
	typeMarshaler  = reflect.TypeFor[gocql.Marshaler]()
	typesOfStructs = map[reflect.Type]string{
		typeTime: "timestamp", typeDuration: "duration", typeCQLLength: "duration", typeDec: "decimal",
		typeBig: "varint", typeIP: "inet", typeAddr: "inet",
	}
	typesOfKinds = map[reflect.Kind]string{
		reflect.String: "text", reflect.Bool: "boolean", reflect.Float32: "float", reflect.Float64: "double",
		reflect.Int: "bigint", reflect.Int64: "bigint", reflect.Int32: "int", reflect.Int16: "smallint", reflect.Int8: "tinyint",
		reflect.Uint8: "smallint", reflect.Uint16: "int", reflect.Uint32: "bigint", reflect.Uint: "varint", reflect.Uint64: "varint",
	}
)

// derive gives a Go type its CQL type.
func derive(t reflect.Type) (cqlType, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := typesOfStructs[t]; ok {
		return cqlType{name: name}, nil
	}
	if marshals(t) && !isUUID(t) {
		return cqlType{}, fmt.Errorf("%v encodes itself: say with type=T as what", t)
	}
	if name, ok := typesOfKinds[t.Kind()]; ok {
		return cqlType{name: name}, nil
	}
	switch t.Kind() {
	case reflect.Array, reflect.Slice:
		switch {
		case isUUID(t):
			return cqlType{name: "uuid"}, nil
		case t.Elem().Kind() == reflect.Uint8:
			return cqlType{name: "blob"}, nil
		}
		return deriveElements("list", t.Elem())
	case reflect.Map:
		if t.Elem().Kind() == reflect.Struct && t.Elem().NumField() == 0 {
			return deriveElements("set", t.Key())
		}
		return deriveElements("map", t.Key(), t.Elem())
	case reflect.Struct:
		return deriveStruct(t)
	}
	return cqlType{}, fmt.Errorf("%v has no CQL type", t)
}

func deriveElements(name string, elements ...reflect.Type) (cqlType, error) {
	t := cqlType{name: name}
	for _, e := range elements {
		arg, err := derive(e)
		if err != nil {
			return t, err
		}
		t.args = append(t.args, arg)
	}
	return t, nil
}

// deriveStruct makes a struct a user-defined type.
func deriveStruct(t reflect.Type) (cqlType, error) {
	fields, err := structFields(t)
	if err != nil {
		return cqlType{}, err
	}
	u := cqlType{name: snake(t.Name())}
	if u.name == "" {
		return u, fmt.Errorf("%v has no name: a user-defined type needs one, or type=NAME", t)
	}
	for _, f := range fields {
		u.fields = append(u.fields, typeField{f.name, f.typ})
	}
	return u, nil
}

// structFields are the fields of a user-defined type's struct.
func structFields(t reflect.Type) ([]column, error) {
	inner := table{name: snake(t.Name()), row: t}
	inner.readFields(t, nil)
	if len(inner.problems) > 0 {
		return nil, inner.problems[0]
	}
	if len(inner.columns) == 0 {
		return nil, fmt.Errorf("%v has no field to write", t)
	}
	return inner.columns, nil
}

func isUUID(t reflect.Type) bool {
	return t.Kind() == reflect.Array && t.Len() == 16 && t.Elem().Kind() == reflect.Uint8
}

func marshals(t reflect.Type) bool {
	return t.Implements(typeMarshaler) || reflect.PointerTo(t).Implements(typeMarshaler)
}
