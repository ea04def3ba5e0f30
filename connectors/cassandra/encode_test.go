package cassandra

import (
	"encoding/json"
	"math"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"gopkg.in/inf.v0"
)

// What is encoded here is what the driver decodes.
func TestScalarsAreEncodedAsTheDriverReadsThem(t *testing.T) {
	at := time.Date(1969, 12, 31, 23, 59, 59, 999e6, time.UTC)
	uuid := gocql.TimeUUID()
	for _, c := range []struct {
		typ  string
		in   any
		want any
	}{
		{"text", "päper", "päper"}, {"text", []byte("x"), "x"}, {"ascii", "x", "x"}, {"blob", []byte{0, 1}, []byte{0, 1}}, {"blob", [2]byte{3, 4}, []byte{3, 4}},
		{"blob", "raw\xff", []byte("raw\xff")}, {"text", json.RawMessage(`{}`), "{}"},
		{"boolean", true, true}, {"boolean", false, false}, {"double", 1.5, 1.5}, {"double", float32(1.5), 1.5}, {"float", float32(2.5), float32(2.5)},
		{"bigint", int64(math.MinInt64), int64(math.MinInt64)}, {"bigint", 7, int64(7)}, {"bigint", uint32(math.MaxUint32), int64(math.MaxUint32)},
		{"int", int64(-1), int32(-1)}, {"int", int8(-1), int32(-1)}, {"smallint", math.MaxInt16, int16(math.MaxInt16)}, {"tinyint", -128, int8(-128)},
		{"varint", int64(-1 << 40), big.NewInt(-1 << 40)}, {"varint", uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)}, {"varint", "-12345678901234567890", bigOf("-12345678901234567890")},
		{"varint", bigOf("99999999999999999999"), bigOf("99999999999999999999")}, {"decimal", "12.50", inf.NewDec(1250, 2)}, {"decimal", inf.NewDec(-1, 3), inf.NewDec(-1, 3)},
		{"timestamp", at, at}, {"date", at, time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)}, {"date", "2026-11-21", time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)},
		{"time", 25 * time.Minute, 25 * time.Minute}, {"bigint", time.Second, int64(1e9)}, {"duration", time.Second, gocql.Duration{Nanoseconds: 1e9}},
		{"uuid", uuid, uuid}, {"timeuuid", uuid, uuid}, {"uuid", [16]byte(uuid), uuid}, {"uuid", uuid.String(), uuid},
		{"inet", netip.MustParseAddr("::1"), net.ParseIP("::1")}, {"inet", netip.MustParseAddr("::ffff:10.0.0.1"), net.ParseIP("10.0.0.1").To4()}, {"inet", net.ParseIP("10.0.0.1"), net.ParseIP("10.0.0.1").To4()}, {"inet", "10.0.0.1", net.ParseIP("10.0.0.1").To4()},
	} {
		typ, err := parseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		e, err := encoderFor(reflect.TypeOf(c.in), typ)
		if err != nil {
			t.Errorf("%T as %s: %v", c.in, c.typ, err)
			continue
		}
		b, err := e([]byte("before"), reflect.ValueOf(c.in))
		if err != nil || string(b[:6]) != "before" {
			t.Errorf("%T %v as %s: %v", c.in, c.in, c.typ, err)
			continue
		}
		info, _ := nativeInfo(typ)
		got := reflect.New(reflect.TypeOf(c.want))
		if err := gocql.Unmarshal(info, b[6:], got.Interface()); err != nil {
			t.Errorf("%T %v as %s: the driver cannot read it: %v", c.in, c.in, c.typ, err)
		} else if !same(got.Elem().Interface(), c.want) {
			t.Errorf("%T %v as %s: the driver reads %v, want %v", c.in, c.in, c.typ, got.Elem(), c.want)
		}
	}
}

func bigOf(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 10)
	return n
}

func TestWhatDoesNotFitIsRefusedWithTheReason(t *testing.T) {
	var none *int64
	for _, c := range []struct {
		typ, want string
		in        any
	}{
		{"int", "2147483648 is out of the range of int", int64(1 << 31)}, {"tinyint", "-129 is out of the range", -129}, {"smallint", "65535 is out", uint16(65535)},
		{"bigint", "is out of the range of bigint", uint64(1 << 63)}, {"text", "no UTF-8", "\xff"}, {"ascii", "byte 0xc3 at 1 is no ASCII", "aä"},
		{"timeuuid", "UUID of version 4", gocql.MustRandomUUID()}, {"uuid", `"x" is no UUID`, "x"}, {"inet", `"x" is no IP address`, "x"}, {"inet", "has a zone", netip.MustParseAddr("fe80::1%eth0")},
		{"inet", "3 bytes are no IP address", net.IP{1, 2, 3}}, {"date", `"21.11.2026" is no date`, "21.11.2026"}, {"decimal", `"1,5" is no decimal number`, "1,5"}, {"varint", `"1.5" is no whole number`, "1.5"},
		{"time", "24h0m0s is no time of a day", 24 * time.Hour}, {"time", "is no time of a day", -time.Second}, {"date", "out of the range of a date", time.Date(9_000_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"list<text>", "element 1: text that is no UTF-8", []string{"a", "\xff"}}, {"list<bigint>", "element 0: null cannot be an element", []*int64{none}},
		{"map<text, int>", "value of key k: 4294967296 is out", map[string]int64{"k": 1 << 32}}, {"set<ascii>", "key ä: byte", map[string]struct{}{"ä": {}}},
		{"vector<float, 3>", "2 elements, expected 3", []float32{1, 2}},
		{"bigint", "null", none}, {"blob", "null", []byte(nil)}, {"list<text>", "null", []string(nil)}, {"map<text, text>", "null", map[string]string(nil)}, {"timestamp", "null", time.Time{}},
		{"inet", "null", netip.Addr{}}, {"decimal", "null", ""},
	} {
		typ, err := parseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		e, err := encoderFor(reflect.TypeOf(c.in), typ)
		if err == nil {
			_, err = encodeCell(e, nil, reflect.ValueOf(c.in))
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T %v as %s: %v, want %q", c.in, c.in, c.typ, err, c.want)
		}
	}
}

func TestTypesThatDoNotGoTogether(t *testing.T) {
	for typ, in := range map[string]any{"float": 1.5, "int": 1.5, "text": 1, "blob": 1, "boolean": "true", "timestamp": int64(1), "uuid": [4]byte{}, "list<int>": "x", "set<int>": map[int]bool{},
		"map<int, int>": []int{}, "vector<float, 2>": []float64{1}, "vector<int, 2>": []int32{1}, "decimal": bigOf("1"), "duration": int64(1), "counter": int64(1), "list<text>": []byte("x")} {
		ct, err := parseType(typ)
		if err != nil {
			t.Fatal(err)
		}
		if err := ct.takes(reflect.TypeOf(in)); err == nil {
			t.Errorf("%T can be written as %s", in, typ)
		}
	}
}

type fahrenheit float64

// MarshalCQL writes degrees Celsius.
func (f fahrenheit) MarshalCQL(info gocql.TypeInfo) ([]byte, error) {
	if f < -459 {
		panic("colder than cold")
	}
	return gocql.Marshal(info, float64(f-32)*5/9)
}

func TestTypesThatEncodeThemselves(t *testing.T) {
	e, err := encoderFor(reflect.TypeFor[fahrenheit](), cqlType{name: "double"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := encodeCell(e, nil, reflect.ValueOf(fahrenheit(212)))
	if want := []byte{0x40, 0x59, 0, 0, 0, 0, 0, 0}; err != nil || string(b) != string(want) {
		t.Errorf("%x, %v, want %x: 100 degrees", b, err, want)
	}
	if _, err := encodeCell(e, nil, reflect.ValueOf(fahrenheit(-500))); err == nil || !strings.Contains(err.Error(), "colder than cold") {
		t.Errorf("a panic came out as %v", err)
	}
	if _, err := derive(reflect.TypeFor[fahrenheit]()); err == nil {
		t.Error("its CQL type was guessed")
	}
}

func FuzzParseTypeStandsAnything(f *testing.F) {
	for _, s := range []string{"text", "map<text, frozen<list<int>>>", "vector<float, 3>", `"Mixed Case"`, "list<", "a<b<c>>", "frozen<>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		typ, err := parseType(s)
		if err != nil {
			return
		}
		again, err := parseType(typ.String())
		if err != nil || !again.equal(typ) {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, typ, again, err)
		}
	})
}
