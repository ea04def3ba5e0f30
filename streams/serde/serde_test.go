package serde

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"
)

type (
	userID   int64
	hostname string
	blob     []byte
	order    struct {
		ID    string
		Items []string
		At    time.Time
		More  map[string][]string
	}
	tree    struct{ Kids []tree }
	selfish struct{ n byte }
)

func (selfish) Serde() Serde[selfish] { return ownSerde{} }

type ownSerde struct{}

func (ownSerde) Append(dst []byte, v selfish) ([]byte, error) { return append(dst, v.n), nil }
func (ownSerde) Decode(b []byte) (selfish, error)             { return selfish{b[0]}, nil }
func (ownSerde) Aliases() bool                                { return false }
func (ownSerde) Own(v selfish) selfish                        { return v }
func (ownSerde) Name() string                                 { return "own" }

func roundTrip[T any](t *testing.T, name string, encoded string, v T) {
	t.Helper()
	s, err := For[T](nil)
	if err != nil {
		t.Errorf("%T: %v", v, err)
		return
	}
	if s.Name() != name {
		t.Errorf("%T has the serde %q, expected %q", v, s.Name(), name)
	}
	b, err := s.Append([]byte("before"), v)
	if err != nil || !bytes.HasPrefix(b, []byte("before")) {
		t.Errorf("%s: Append gives %q, %v", name, b, err)
		return
	}
	b = b[len("before"):]
	if string(b) != encoded {
		t.Errorf("%s: %v is %q, expected %q", name, v, b, encoded)
	}
	got, err := s.Decode(b)
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%s: %v comes back as %v, %v", name, v, got, err)
	}
	if got := s.Own(got); !reflect.DeepEqual(got, v) {
		t.Errorf("%s: Own of %v is %v", name, v, got)
	}
}

func TestBuiltInSerdesByType(t *testing.T) {
	roundTrip(t, "string", "héllo", "héllo")
	roundTrip(t, "string", "", "")
	roundTrip(t, "bytes", "ab", []byte("ab"))
	roundTrip(t, "int64", "\xff\xff\xff\xff\xff\xff\xff\xfe", int64(-2))
	roundTrip(t, "int", "\x00\x00\x00\x00\x00\x00\x00\x07", 7)
	roundTrip(t, "int32", "\x80\x00\x00\x00", int32(math.MinInt32))
	roundTrip(t, "int16", "\x01\x00", int16(256))
	roundTrip(t, "int8", "\xff", int8(-1))
	roundTrip(t, "uint64", "\xff\xff\xff\xff\xff\xff\xff\xff", uint64(math.MaxUint64))
	roundTrip(t, "uint", "\x00\x00\x00\x00\x00\x00\x00\x01", uint(1))
	roundTrip(t, "uint32", "\x00\x00\x00\x01", uint32(1))
	roundTrip(t, "uint16", "\x00\x01", uint16(1))
	roundTrip(t, "uint8", "\x01", uint8(1))
	roundTrip(t, "float64", "\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5)
	roundTrip(t, "float32", "\x3f\xc0\x00\x00", float32(1.5))
	roundTrip(t, "bool", "\x01", true)
	roundTrip(t, "time", "\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x05", time.Unix(-1, 5).UTC())
	roundTrip(t, "int64", "\x00\x00\x00\x00\x00\x00\x00\x07", userID(7))
	roundTrip(t, "string", "h", hostname("h"))
	roundTrip(t, "bytes", "h", blob("h"))
	roundTrip(t, "own", "\x09", selfish{9})
	roundTrip(t, "json:serde.order", `{"ID":"<7>","Items":["a"],"At":"2015-12-10T00:00:00Z","More":{"k":["v"]}}`,
		order{"<7>", []string{"a"}, time.Date(2015, 12, 10, 0, 0, 0, 0, time.UTC), map[string][]string{"k": {"v"}}})
	roundTrip(t, "json:map[string]int", `{"a":1}`, map[string]int{"a": 1})
	roundTrip(t, "json:[]string", `["a"]`, []string{"a"})
	roundTrip(t, "json:*serde.order", `{"ID":"","Items":null,"At":"0001-01-01T00:00:00Z","More":null}`, &order{})
	roundTrip(t, "json:serde.tree", `{"Kids":[{"Kids":null}]}`, tree{[]tree{{}}})
}

func TestTypesWithoutSerdeAreErrors(t *testing.T) {
	for _, err := range []error{
		second(For[chan int](nil)), second(For[func()](nil)), second(For[any](nil)), second(For[complex128](nil)), second(For[*int](nil)),
	} {
		if err == nil || !strings.Contains(err.Error(), "no serde for") {
			t.Errorf("got %v, expected an error that names the type", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestTheRegistryGoesFirst(t *testing.T) {
	var r Registry
	r.Register[string](named{String(), "mine"})
	if s, err := For[string](&r); err != nil || s.Name() != "mine" {
		t.Errorf("got %v, %v", s, err)
	}
	if s, err := For[int64](&r); err != nil || s.Name() != "int64" {
		t.Errorf("got %v, %v", s, err)
	}
}

type named struct {
	Serde[string]
	name string
}

func (n named) Name() string { return n.name }

func TestNilStandsForNull(t *testing.T) {
	if _, err := Bytes().Append(nil, nil); !errors.Is(err, ErrNull) {
		t.Errorf("nil []byte: %v, expected ErrNull", err)
	}
	if _, err := JSON[*order]().Append(nil, nil); !errors.Is(err, ErrNull) {
		t.Errorf("nil pointer: %v, expected ErrNull", err)
	}
	if b, err := Bytes().Append(nil, []byte{}); err != nil || len(b) != 0 {
		t.Errorf("empty []byte: %q, %v", b, err)
	}
}

func TestWrongSizesAreErrors(t *testing.T) {
	for n := range 16 {
		b := make([]byte, n)
		for _, c := range []struct {
			name string
			want int
			err  error
		}{
			{"int64", 8, second(Int64().Decode(b))}, {"int32", 4, second(Int32().Decode(b))}, {"int16", 2, second(Int16().Decode(b))},
			{"uint8", 1, second(Uint8().Decode(b))}, {"float64", 8, second(Float64().Decode(b))}, {"float32", 4, second(Float32().Decode(b))},
			{"bool", 1, second(Bool().Decode(b))}, {"time", 12, second(Time().Decode(b))},
		} {
			if (c.err == nil) != (n == c.want) {
				t.Errorf("%s of %d bytes: %v", c.name, n, c.err)
			}
		}
	}
	if _, err := Bool().Decode([]byte{2}); err == nil {
		t.Error("bool takes the byte 2")
	}
}

func points(s string, b []byte) bool {
	p, q := uintptr(unsafe.Pointer(unsafe.StringData(s))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return p >= q && p < q+uintptr(len(b))
}

func TestWhoOwnsTheMemory(t *testing.T) {
	raw := []byte("some bytes")
	s, _ := String().Decode(raw)
	if !points(s, raw) {
		t.Error("a decoded string does not point into its bytes: that copy is an allocation per record")
	}
	if points(String().Own(s), raw) {
		t.Error("Own leaves the string in the batch")
	}
	v := order{ID: s, Items: []string{s[:2]}, More: map[string][]string{s: {s}}}
	o := JSON[order]().Own(v)
	if !reflect.DeepEqual(v, o) || points(o.ID, raw) || points(o.Items[0], raw) || points(o.More[s][0], raw) {
		t.Errorf("Own of a struct leaves strings in the batch: %v", o)
	}
	for k := range o.More {
		if points(k, raw) {
			t.Error("Own leaves a map's key in the batch")
		}
	}
	for name, c := range map[string][2]Lifetime{
		"string": {LifetimeOf(String()), Safe}, "bytes": {LifetimeOf(Bytes()), Borrowed}, "int64": {LifetimeOf(Int64()), Plain},
		"json": {LifetimeOf(JSON[order]()), Safe}, "custom": {LifetimeOf[selfish](ownSerde{}), Borrowed},
	} {
		if c[0] != c[1] {
			t.Errorf("%s has lifetime %d, expected %d", name, c[0], c[1])
		}
	}
}

func TestKeysShareNoMemoryAndHotOnesAreFree(t *testing.T) {
	d := NewKeyDecoder(String())
	const n = 2000
	raw := make([][]byte, n)
	for i := range raw {
		raw[i] = fmt.Appendf(nil, "key-%d", i)
	}
	for range 50 { // the table grows
		for i, b := range raw {
			k, err := d.Decode(b)
			if err != nil || k != string(b) || points(k, b) {
				t.Fatalf("key %d decodes as %q, %v", i, k, err)
			}
		}
	}
	allocs := testing.AllocsPerRun(10, func() {
		for _, b := range raw {
			if _, err := d.Decode(b); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs > n/10 {
		t.Errorf("%v allocations for %d hot keys", allocs, n)
	}
	long := []byte(strings.Repeat("x", 1000))
	if k, _ := d.Decode(long); k != string(long) || points(k, long) {
		t.Error("a long key is wrong")
	}
	if k, _ := d.Decode([]byte{}); k != "" {
		t.Error("the empty key is wrong")
	}
	h := NewKeyDecoder(must(For[hostname](nil)))
	if k, _ := h.Decode(raw[0]); k != "key-0" || points(string(k), raw[0]) {
		t.Error("keys of a type defined as string are not their own")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "\x00", "12345678", "123456789012", `{"ID":"x"}`, `{"Kids":[{}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, Int64())
		again(t, b, Int32())
		again(t, b, Uint16())
		again(t, b, Int8())
		again(t, b, Bool())
		again(t, b, Time())
		again(t, b, String())
		again(t, b, Bytes())
		again(t, b, Float64())
		if v, err := JSON[order]().Decode(b); err == nil {
			JSON[order]().Own(v)
		}
		if v, err := JSON[any]().Decode(b); err == nil {
			JSON[any]().Own(v)
		}
	})
}

// again checks that what decodes encodes to the same bytes.
func again[T any](t *testing.T, b []byte, s Serde[T]) {
	v, err := s.Decode(b)
	if err != nil {
		return
	}
	out, err := s.Append(nil, s.Own(v))
	if err != nil && b != nil || !bytes.Equal(out, b) {
		t.Errorf("%s: %q decodes as %v, which encodes as %q, %v", s.Name(), b, v, out, err)
	}
}

func BenchmarkKeys(b *testing.B) {
	d := NewKeyDecoder(String())
	raw := make([][]byte, 1000)
	for i := range raw {
		raw[i] = fmt.Appendf(nil, "host-%06d", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		if _, err := d.Decode(raw[i%1000]); err != nil {
			b.Fatal(err)
		}
	}
}
