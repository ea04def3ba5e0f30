package wire

import (
	"context"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"

	"github.com/millstream-io/millstream/log/broker"
)

// filler fills requests with values that are likely to hit something.
type filler struct {
	rng *rand.Rand
	top broker.Topic
}

var words = []string{"", "t", "g", "a", "consumer", "range", "1", "PLAIN", "cleanup.policy", "compact", "__consumer_offsets", "User:a", "*", "broker", "\xff\x00"}

func (f *filler) fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if t := v.Type().Field(i); t.Name != "Version" && t.Name != "UnknownTags" && t.IsExported() {
				f.fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		n := f.rng.IntN(4)
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(f.bytes())
			return
		}
		if f.rng.IntN(8) == 0 {
			return // null
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Array:
		if v.Len() == 16 && f.rng.IntN(2) == 0 {
			v.Set(reflect.ValueOf(f.top.ID))
		}
	case reflect.Pointer:
		if f.rng.IntN(4) == 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
	case reflect.String:
		v.SetString(words[f.rng.IntN(len(words))])
	case reflect.Bool:
		v.SetBool(f.rng.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(f.number(v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat([]float64{0, 1, -1, 1e300}[f.rng.IntN(4)])
	}
}

func (f *filler) number(bits int) int64 {
	switch f.rng.IntN(8) {
	case 0:
		return -1
	case 1:
		return -f.rng.Int64N(10)
	case 2:
		return 1<<(bits-1) - 1
	case 3:
		return -1 << (bits - 1)
	}
	return f.rng.Int64N(6)
}

func (f *filler) bytes() []byte {
	switch f.rng.IntN(4) {
	case 0:
		return nil
	case 1:
		b := make([]byte, f.rng.IntN(100))
		for i := range b {
			b[i] = byte(f.rng.Uint32())
		}
		return b
	}
	// A good batch, with a flipped byte now and then.
	b := record0(f.rng)
	if f.rng.IntN(2) == 0 {
		b[f.rng.IntN(len(b))] ^= byte(1 << f.rng.IntN(8))
		setCRC(b)
	}
	return b
}

// TestRandomRequestsNeverPanic sends requests of every kind and version with
// values at the edges straight to the handlers: each is answered in its own
// version, by something that can be encoded and read again, or refused.
func TestRandomRequestsNeverPanic(t *testing.T) {
	n := 150
	if testing.Short() {
		n = 10
	}
	ts := newTestServer(t)
	rng := rand.New(rand.NewPCG(11, 12))
	f := &filler{rng: rng, top: ts.topic("t", 2)}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // so that nothing waits
	for i := range apis {
		a := &apis[i]
		for v := a.min; v <= a.max; v++ {
			for range n / int(a.max-a.min+1) {
				req := kmsg.RequestForKey(a.key)
				req.SetVersion(v)
				f.fill(reflect.ValueOf(req).Elem(), 0)
				tryRequest(t, ctx, ts, a, req)
			}
		}
	}
}

func tryRequest(t *testing.T, ctx context.Context, ts *testServer, a *api, filled kmsg.Request) {
	t.Helper()
	name, v := kmsg.NameForKey(a.key), filled.GetVersion()
	body := filled.AppendTo(nil)
	if filled.IsFlexible() {
		body = append([]byte{0}, body...)
	}
	req, err := decode(&header{key: a.key, version: v, rest: body}, nil)
	if err != nil {
		t.Fatalf("%s v%d: what kmsg encoded cannot be decoded: %v", name, v, err)
	}
	c := &conn{srv: ts.srv, listener: ts.srv.bound[0], nc: nowhere{}, principal: anonymous, ctx: ctx, host: "127.0.0.1"}
	r := &request{req: req, conn: c, api: a, clientID: "random", arrived: ts.srv.cfg.Now(), frame: frame{b: body, memory: semaphore.NewWeighted(1)}}
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("%s v%d panicked: %v\n%+v", name, v, p, filled)
		}
	}()
	resp, err := a.handle(ctx, ts.srv, r)
	if err == nil && r.wait != nil {
		resp = r.wait()
	}
	if err != nil || resp == nil {
		return
	}
	if resp.Key() != a.key || resp.GetVersion() != v {
		t.Fatalf("%s v%d answered as key %d version %d", name, v, resp.Key(), resp.GetVersion())
	}
	var b []byte
	if fa, ok := resp.(*fetchAnswer); ok {
		b = wholeFetch(t, fa)
	} else {
		b = resp.AppendTo(nil)
	}
	again := kmsg.ResponseForKey(a.key)
	again.SetVersion(v)
	if err := again.ReadFrom(b); err != nil {
		t.Fatalf("%s v%d: the answer cannot be read: %v", name, v, err)
	}
}

// wholeFetch is a fetch's answer with the records in their places.
func wholeFetch(t *testing.T, a *fetchAnswer) (out []byte) {
	t.Helper()
	b, _, err := a.encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	from := 0
	for _, cut := range a.cuts {
		out = append(out, b[from:cut.at]...)
		r := &a.found[cut.found].got.Range
		at := len(out)
		out = append(out, make([]byte, r.Len())...)
		if _, err := r.ReadAt(out[at:], 0); err != nil {
			t.Fatal(err)
		}
		from = cut.at
	}
	out = append(out, b[from:]...)
	a.done()
	return out
}
