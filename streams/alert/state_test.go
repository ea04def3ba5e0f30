package alert

import (
	"bytes"
	"reflect"
	"testing"
)

func sampleState() *keyState {
	st := newState(5)
	st.phase, st.since, st.number, st.repeatAt = firing, 7, 3, 99
	st.was, st.before = measured{v: 1.5, ok: true, count: 2}, tally{count: 1, sum: 2, least: 2, most: 2, last: 2, lastAt: 4}
	c := testCollector()
	for start := range int64(3) {
		s := slice{start: start * 10, reached: never, fired: start == 1, acc: c.fresh()}
		s.n.add(float64(start), start*10+1)
		*s.acc.(*[]string) = []string{"x", "y"}
		st.slices = append(st.slices, s)
	}
	return st
}

func testCollector() *collector[string, string, []string] {
	r := &rule{}
	Collect(func() []string { return nil }, func(_, v string, a []string) []string { return append(a, v) }).apply(r)
	return r.collector.(*collector[string, string, []string])
}

func TestAStateComesBackAsItWas(t *testing.T) {
	s := stateSerde{testCollector()}
	want := sampleState()
	b, err := s.Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Decode(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nexpected %+v", got, err, want)
	}
	for i := range b {
		if _, err := s.Decode(b[:i]); err == nil {
			t.Errorf("the first %d of %d bytes decode", i, len(b))
		}
	}
}

func FuzzState(f *testing.F) {
	s := stateSerde{testCollector()}
	b, _ := s.Append(nil, sampleState())
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := s.Decode(b)
		if err != nil {
			return
		}
		out, err := s.Append(nil, s.Own(st))
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Decode(out)
		if err != nil {
			t.Fatal(err)
		}
		if twice, _ := s.Append(nil, again); !bytes.Equal(out, twice) {
			t.Errorf("%x encodes as %x, then as %x", b, out, twice)
		}
	})
}
