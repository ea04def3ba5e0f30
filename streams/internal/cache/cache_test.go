package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
)

// fakeHost is a store as a plain map: what Changelog and Expire write reaches
// the backend at commit.
type fakeHost struct {
	processor.Host
	committed map[string]string
	pending   []func()
	written   int
	gets      int
	ranges    int
}

func newFakeHost() *fakeHost { return &fakeHost{committed: map[string]string{}} }

func (h *fakeHost) Backend(int) state.Backend { return h }

func (h *fakeHost) Get(key, dst []byte) ([]byte, bool, error) {
	h.gets++
	v, ok := h.committed[string(key)]
	return append(dst, v...), ok, nil
}

func (h *fakeHost) Range(from, to []byte, fn func(key, value []byte) bool) error {
	h.ranges++
	var keys []string
	for k := range h.committed {
		if k >= string(from) && (to == nil || k < string(to)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var kb, vb []byte // borrowed: overwritten by the next entry
	for _, k := range keys {
		kb, vb = append(kb[:0], k...), append(vb[:0], h.committed[k]...)
		if !fn(kb, vb) {
			break
		}
	}
	clear(kb)
	clear(vb)
	return nil
}

func (h *fakeHost) Changelog(_ int, key, value []byte) error {
	h.written++
	k, v, del := string(key), string(value), value == nil
	h.pending = append(h.pending, func() {
		if del {
			delete(h.committed, k)
		} else {
			h.committed[k] = v
		}
	})
	return nil
}

func (h *fakeHost) Expire(_ int, startMS int64) error {
	end := string(state.AppendWindowStart(nil, startMS))
	h.pending = append(h.pending, func() {
		for k := range h.committed {
			if k < end {
				delete(h.committed, k)
			}
		}
	})
	return nil
}

func (h *fakeHost) commit() {
	for _, f := range h.pending {
		f()
	}
	h.pending = nil
}

// textSerde's decoded strings alias the bytes they came from, as a careless
// serde's would; Own detaches.
type textSerde struct{}

func (textSerde) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (textSerde) Decode(b []byte) ([]byte, error)             { return b, nil }
func (textSerde) Own(v []byte) []byte                         { return slices.Clone(v) }

type intSerde struct{}

func (intSerde) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}
func (intSerde) Decode(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%d bytes, expected 8", len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}
func (intSerde) Own(v int64) int64 { return v }

type modelKey struct {
	start int64
	key   string
}
type modelValue struct {
	v  string
	ts int64
}

// windowsModel drives Windows and a plain map side by side.
type windowsModel struct {
	t     *testing.T
	rng   *rand.Rand
	host  *fakeHost
	limit int64
	c     *Windows[[]byte]
	want  map[modelKey]modelValue
	floor int64
}

func (m *windowsModel) rebuild() {
	m.c = NewWindows(m.host, 0, textSerde{}, NewBudget(m.limit))
	if m.floor != processor.NoTime {
		m.must(m.c.Expire(m.floor))
		m.host.commit()
	}
}

func (m *windowsModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *windowsModel) randomKey() (int64, string) {
	start := max(m.floor, 0) + 10*int64(m.rng.Intn(6))
	n := m.rng.Intn(60)
	key := fmt.Sprintf("k%d", n)
	switch n {
	case 0:
		key = ""
	case 1:
		key = strings.Repeat("long", 1500) // more than an arena chunk
	}
	return start - start%10, key
}

func (m *windowsModel) step() {
	start, key := m.randomKey()
	mk := modelKey{start, key}
	switch op := m.rng.Intn(100); {
	case op < 50:
		e, err := m.c.FindOrCreate(start, []byte(key))
		m.must(err)
		m.same(mk, e)
		if m.rng.Intn(4) > 0 {
			v := fmt.Sprintf("v%d", m.rng.Int63())[:1+m.rng.Intn(12)]
			buf := []byte(v)
			m.c.Set(e, buf, start+5)
			clear(buf)
			m.want[mk] = modelValue{v, start + 5}
		}
	case op < 65:
		e, err := m.c.Find(start, []byte(key))
		m.must(err)
		m.same(mk, e)
	case op < 75:
		e, err := m.c.Find(start, []byte(key))
		m.must(err)
		m.same(mk, e)
		if e != nil {
			m.c.Delete(e, start+6)
			delete(m.want, mk)
		}
	case op < 80:
		m.ascend(start)
	case op < 82 && m.rng.Intn(4) == 0:
		m.floor = max(m.floor, 0) + 10
		m.must(m.c.Expire(m.floor))
		for k := range m.want {
			if k.start < m.floor {
				delete(m.want, k)
			}
		}
	case op < 90:
		m.must(m.c.Flush())
		if m.rng.Intn(2) == 0 { // changes between Flush and Committed belong to the next transaction
			pending := m.host.pending
			m.host.pending = nil
			e, err := m.c.FindOrCreate(start, []byte(key))
			m.must(err)
			m.c.Set(e, []byte("later"), 7)
			m.want[mk] = modelValue{"later", 7}
			m.host.pending = append(pending, m.host.pending...)
		}
		m.host.commit()
		m.c.Committed()
	case op < 91:
		m.must(m.c.Flush())
		m.host.commit()
		m.c.Committed()
		m.rebuild() // a restart
	}
}

func (m *windowsModel) same(k modelKey, e *Entry[[]byte]) {
	m.t.Helper()
	want, ok := m.want[k]
	got := e != nil && e.Exists()
	if ok != got {
		m.t.Fatalf("window %d key %.10q: exists %v, the model says %v", k.start, k.key, got, ok)
	}
	if ok && (string(e.Value) != want.v || e.TimestampMS != want.ts) {
		m.t.Fatalf("window %d key %.10q: %q at %d, the model says %q at %d", k.start, k.key, e.Value, e.TimestampMS, want.v, want.ts)
	}
	if e != nil && (string(m.c.Key(e)) != k.key || m.c.Start(e) != k.start) {
		m.t.Fatalf("entry of window %d key %.10q says it is %d %.10q", k.start, k.key, m.c.Start(e), m.c.Key(e))
	}
}

func (m *windowsModel) ascend(start int64) {
	m.t.Helper()
	var want, got []string
	for k, v := range m.want {
		if k.start == start {
			want = append(want, fmt.Sprintf("%s=%s@%d", k.key, v.v, v.ts))
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		return strings.Compare(strings.Split(a, "=")[0], strings.Split(b, "=")[0])
	})
	m.must(m.c.Ascend(start, func(key []byte, v []byte, ts int64) error {
		got = append(got, fmt.Sprintf("%s=%s@%d", key, v, ts))
		return nil
	}))
	if !slices.Equal(want, got) {
		m.t.Fatalf("window %d in order:\n got %.80q\nwant %.80q", start, got, want)
	}
}

// check compares everything, and the accounting with what is really there.
func (m *windowsModel) check() {
	m.t.Helper()
	var starts []int64
	for s, from := int64(0), int64(processor.NoTime); ; from = s + 1 {
		var ok bool
		var err error
		s, ok, err = m.c.NextStart(from)
		m.must(err)
		if !ok {
			break
		}
		starts = append(starts, s)
		m.ascend(s)
	}
	for k := range m.want {
		if !slices.Contains(starts, k.start) {
			m.t.Fatalf("NextStart does not name window %d, which has key %.10q; it names %v", k.start, k.key, starts)
		}
	}
	var bytes, entries int64
	for _, w := range m.c.order {
		if w.t.n > 0 {
			bytes += tableBytes
		}
		bytes += int64(w.t.n)*m.c.entryBytes + int64(w.t.keys.live) + w.t.heap
		entries += int64(w.t.n)
	}
	if u := m.c.Usage(); u.CacheBytes != bytes || u.Entries != entries || m.c.budget.used != bytes {
		m.t.Fatalf("accounted %+v, budget %d; counted %d bytes in %d entries", u, m.c.budget.used, bytes, entries)
	}
}

func TestWindowsAgreeWithAPlainMap(t *testing.T) {
	for seed := range int64(60) {
		rng := rand.New(rand.NewSource(seed))
		limits := []int64{0, 2000, 20_000, 1 << 20}
		m := &windowsModel{t: t, rng: rng, host: newFakeHost(), limit: limits[seed%4], want: map[modelKey]modelValue{}, floor: processor.NoTime}
		m.rebuild()
		for i := range 1500 {
			m.step()
			if i%100 == 0 {
				m.check()
			}
		}
		m.must(m.c.Flush())
		m.host.commit()
		m.c.Committed()
		if used := m.c.Usage().CacheBytes; used > m.limit {
			t.Fatalf("seed %d: %d bytes cached after a commit, the budget is %d", seed, used, m.limit)
		}
		m.check()
		m.backendAgrees()
	}
}

func (m *windowsModel) backendAgrees() {
	m.t.Helper()
	if len(m.host.committed) != len(m.want) {
		m.t.Fatalf("the backend has %d entries, the model %d", len(m.host.committed), len(m.want))
	}
	for k, v := range m.want {
		got := m.host.committed[string(state.AppendWindowKey(nil, k.start, []byte(k.key)))]
		if want := string(state.AppendValue(nil, v.ts, []byte(v.v))); got != want {
			m.t.Fatalf("window %d key %.10q: the backend has %q, the model %q", k.start, k.key, got, want)
		}
	}
}

func TestKVAgreesWithAPlainMap(t *testing.T) {
	for seed := range int64(40) {
		rng := rand.New(rand.NewSource(seed))
		host := newFakeHost()
		limit := []int64{0, 3000, 30_000, 1 << 20}[seed%4]
		c := NewKV(host, 0, textSerde{}, NewBudget(limit))
		want := map[string]string{}
		commit := func() {
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			host.commit()
			c.Committed()
		}
		for range 3000 {
			key := fmt.Sprintf("key-%d", rng.Intn(300))
			switch op := rng.Intn(20); {
			case op < 10:
				e, err := c.FindOrCreate([]byte(key))
				if v, ok := want[key]; err != nil || e.Exists() != ok || string(e.Value) != v {
					t.Fatalf("seed %d %s: %v %q %v, want %v %q", seed, key, e.Exists(), e.Value, err, ok, v)
				}
				v := fmt.Sprint(rng.Int31())
				c.Set(e, []byte(v), 1)
				want[key] = v
			case op < 15:
				e, err := c.Find([]byte(key))
				if v, ok := want[key]; err != nil || (e != nil) != ok || (ok && string(e.Value) != v) {
					t.Fatalf("seed %d %s: %v %v, want %v %q", seed, key, e, err, ok, v)
				}
				if e != nil && op == 14 {
					c.Delete(e, 2)
					delete(want, key)
				}
			case op == 15:
				commit()
			case op == 16 && rng.Intn(10) == 0:
				commit()
				c = NewKV(host, 0, textSerde{}, NewBudget(limit))
			case op == 17 && rng.Intn(10) == 0:
				got := map[string]string{}
				prev := ""
				if err := c.Ascend(func(k []byte, v []byte, _ int64) error {
					if string(k) <= prev {
						t.Fatalf("%q after %q", k, prev)
					}
					prev = string(k)
					got[prev] = string(v)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("seed %d: Ascend gave\n%v, want\n%v", seed, got, want)
				}
			}
		}
		commit()
		if used := c.Usage().CacheBytes; used > limit {
			t.Fatalf("%d bytes cached after a commit, the budget is %d", used, limit)
		}
	}
}

func TestANewStoreIsNeverRead(t *testing.T) {
	host := newFakeHost()
	c := NewWindows(host, 0, intSerde{}, NewBudget(1<<20))
	for w := range int64(5) {
		for k := range 100 {
			e, err := c.FindOrCreate(w, fmt.Append(nil, k))
			if err != nil {
				t.Fatal(err)
			}
			e.Value++
			c.Changed(e)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		host.commit()
		c.Committed()
	}
	if host.gets != 0 || host.ranges != 1 {
		t.Fatalf("%d gets and %d ranges for new windows, expected 0 and the one that found no window", host.gets, host.ranges)
	}
}

func TestFlushWritesEachChangedEntryOnceInFirstChangedOrder(t *testing.T) {
	host := newFakeHost()
	c := NewKV(host, 0, intSerde{}, NewBudget(1<<20))
	for i := range 30 {
		e, _ := c.FindOrCreate([]byte{byte('z' - i%3)})
		e.Value++
		c.Changed(e)
	}
	var order string
	_ = c.Dirty(func(key []byte, e *Entry[int64]) error { order += fmt.Sprint(string(key), e.Value); return nil })
	if order != "z10y10x10" {
		t.Fatalf("dirty entries %s", order)
	}
	if err := c.Flush(); err != nil || host.written != 3 {
		t.Fatalf("%d changelog records, %v; expected 3", host.written, err)
	}
	if err := c.Flush(); err != nil || host.written != 3 {
		t.Fatalf("a second flush wrote again: %d records, %v", host.written, err)
	}
}

func TestAnExpiredWindowIsRefused(t *testing.T) {
	c := NewWindows(newFakeHost(), 0, intSerde{}, NewBudget(1<<20))
	if err := c.Expire(100); err != nil {
		t.Fatal(err)
	}
	if _, err := c.FindOrCreate(99, []byte("k")); !errors.Is(err, ErrExpired) {
		t.Fatalf("%v, expected ErrExpired", err)
	}
	if e, err := c.Find(99, []byte("k")); e != nil || err != nil {
		t.Fatalf("%v %v, expected nothing", e, err)
	}
}

func TestForeignStateIsAnError(t *testing.T) {
	host := newFakeHost()
	host.committed["k"] = "short"
	if _, err := NewKV(host, 0, intSerde{}, NewBudget(0)).Find([]byte("k")); err == nil {
		t.Fatal("a value of 5 bytes was taken")
	}
	if _, _, err := NewWindows(host, 0, intSerde{}, NewBudget(0)).NextStart(0); err == nil {
		t.Fatal("a window key of 1 byte was taken")
	}
}
