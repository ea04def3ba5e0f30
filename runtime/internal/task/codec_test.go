package task

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams/state"
)

func someRecord() *PositionRecord {
	return &PositionRecord{
		StreamTime: 5, MaxEvent: -7, Sent: 3, SentOnce: true, SentIdle: true, Decision: EndDecision, Decided: 9,
		Inputs: []InputPosition{{Topic: "in", Partition: 3, Offset: 1 << 40, Seen: true, Time: 12,
			Upstream: []UpstreamTime{{Task: plan.TaskID{Sub: 1, Partition: 2}, State: Heard, Time: -1}}}, {Topic: "", Offset: -1}},
		Frontier: []byte("f"),
	}
}

func TestPositionRecordsComeBackAsTheyWere(t *testing.T) {
	for _, p := range []*PositionRecord{someRecord(), fresh()} {
		got, err := DecodePosition(p.Append(nil))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%+v, %v\nwant %+v", got, err, p)
		}
	}
}

func TestEveryCutOfAPositionRecordIsAnError(t *testing.T) {
	b := someRecord().Append(nil)
	for n := range b {
		if _, err := DecodePosition(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode", n, len(b))
		}
	}
	if _, err := DecodePosition(append(b, 0)); err == nil {
		t.Error("a byte too many decodes")
	}
}

func FuzzDecodePosition(f *testing.F) {
	f.Add(someRecord().Append(nil))
	f.Add(fresh().Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePosition(b)
		if err != nil {
			return
		}
		again, err := DecodePosition(p.Append(nil))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%+v came back as %+v, %v", p, again, err)
		}
	})
}

// The overlay over a database against a map, through commits, freezes,
// checkpoints that finish or fail, and windows that expire.
func TestTheOverlayReadsLikeAMap(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 9))
		kind := state.Kind(seed % 2)
		stores := []plan.Store{{Spec: state.Spec{Name: "s", Kind: kind}}}
		db := memstore.New(7)
		o := newOverlay(1, stores, db)
		model := map[string]string{}
		key := func() []byte {
			k := []byte(fmt.Sprint(r.IntN(30)))
			if kind == state.Window {
				return state.AppendWindowKey(nil, int64(r.IntN(6)-2)*10, k)
			}
			return k
		}
		for range 400 {
			switch op := r.IntN(12); {
			case op < 7:
				k := key()
				if o.gone(0, k) {
					continue
				}
				if r.IntN(4) == 0 {
					o.active.put(0, k, nil)
					delete(model, string(k))
				} else {
					v := fmt.Sprint(r.IntN(1000))[:r.IntN(2)]
					o.active.put(0, k, []byte(v))
					model[string(k)] = v
				}
			case op == 7 && o.frozen == nil:
				o.freeze()
			case op == 8 && o.frozen != nil:
				f := &Frozen{layer: o.frozen, stores: stores, expired: append([]int64(nil), o.expired...)}
				if err := db.Checkpoint(1, nil, f.Write); err != nil {
					t.Fatal(err)
				}
				o.thaw()
			case op == 9 && o.frozen != nil:
				o.refreeze()
			case op == 10 && kind == state.Window && r.IntN(8) == 0:
				start := int64(r.IntN(5)-2) * 10
				o.expire(0, start)
				for k := range model {
					if w, _, _ := state.SplitWindowKey([]byte(k)); w < o.expired[0] {
						delete(model, k)
					}
				}
			default:
				compareOverlay(t, o, model, key(), key())
			}
		}
		compareOverlay(t, o, model, nil, nil)
	}
}

func compareOverlay(t *testing.T, o *overlay, model map[string]string, from, to []byte) {
	t.Helper()
	if bytes.Compare(from, to) > 0 {
		from, to = to, from
	}
	n, last := 0, []byte(nil)
	for _, opened := range []func(){nil, func() {}} {
		n, last = 0, nil
		err := o.scan(0, from, to, opened, func(k, v []byte) bool {
			if want, ok := model[string(k)]; !ok || want != string(v) {
				t.Errorf("range has %q=%q, want %q %v", k, v, want, ok)
			}
			if last != nil && bytes.Compare(last, k) >= 0 {
				t.Errorf("%q comes after %q", k, last)
			}
			last = bytes.Clone(k)
			n++
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := 0
	for k, v := range model {
		if bytes.Compare([]byte(k), from) >= 0 && (to == nil || bytes.Compare([]byte(k), to) < 0) {
			want++
		}
		if got, ok, err := o.get(0, []byte(k), nil); !ok || err != nil || string(got) != v {
			t.Errorf("get %q: %q %v %v, want %q", k, got, ok, err, v)
		}
	}
	if n != want {
		t.Errorf("range has %d entries, want %d", n, want)
	}
	if from != nil {
		if got, ok, _ := o.get(0, from, nil); ok != (model[string(from)] != "" || has(model, from)) {
			t.Errorf("get %q: %q %v", from, got, ok)
		}
	}
}

func has(m map[string]string, k []byte) bool { _, ok := m[string(k)]; return ok }
