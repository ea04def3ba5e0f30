package window

import (
	"math"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams/serde"
)

// The windows of a time are exactly those multiples of the advance whose span
// holds it.
func TestFirstAndLastSpanTheWindowsThatHoldATime(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 20_000 {
		size := 1 + rng.Int63n(50)
		advance := 1 + rng.Int63n(size)
		w := Hopping(ms(size), ms(advance))
		at := rng.Int63n(400) - 200
		var want []int64
		for start := int64(-300 * 50); start <= 300*50; start++ {
			if start%advance == 0 && w.Window(start).Contains(at) {
				want = append(want, start)
			}
			if start > at {
				break
			}
			if start < at-60 {
				start = max(start, at-61)
			}
		}
		if w.First(at) != want[0] || w.Last(at) != want[len(want)-1] || (w.Last(at)-w.First(at))/advance+1 != int64(len(want)) {
			t.Fatalf("%v at %d: first %d, last %d, expected %d", w, at, w.First(at), w.Last(at), want)
		}
	}
}

func TestTimesAtTheEndsOfTime(t *testing.T) {
	w := Hopping(time.Minute, 7*time.Second).Grace(time.Hour)
	for _, at := range []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64} {
		first, last := w.First(at), w.Last(at)
		if first <= last && (last-first > 60_000 || last > at && at > math.MinInt64+7000) {
			t.Errorf("windows of %d: %d to %d", at, first, last)
		}
		if c := w.CloseMS(last); c < last {
			t.Errorf("the window at %d closes at %d", last, c)
		}
	}
}

func TestExpiredIsTheInverseOfExpireMS(t *testing.T) {
	w := Tumbling(10 * time.Second).Grace(3 * time.Second).Retention(40 * time.Second)
	for now := int64(-100_000); now < 100_000; now += 997 {
		before := w.Expired(now)
		if w.ExpireMS(before-1) > now || w.ExpireMS(before) <= now {
			t.Errorf("at %d windows before %d have expired, but they expire at %d and %d", now, before, w.ExpireMS(before-1), w.ExpireMS(before))
		}
	}
}

func TestWrongWindowsSayWhatIsWrong(t *testing.T) {
	for want, w := range map[string]Windows{
		"size 0s":         Tumbling(0),
		"advance 2s":      Hopping(time.Second, 2*time.Second),
		"advance 0s":      Hopping(time.Second, 0),
		"grace -1s":       Tumbling(time.Second).Grace(-time.Second),
		"retention 1.5s":  Tumbling(time.Second).Grace(time.Second).Retention(1500 * time.Millisecond),
		"whole milliseco": Tumbling(time.Second + time.Microsecond),
	} {
		if err := w.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, expected it to say %q", w, err, want)
		}
	}
	if err := Hopping(time.Minute, time.Second).Grace(0).Retention(time.Hour).Validate(); err != nil {
		t.Error(err)
	}
}

// Kafka's TimeWindowedSerializer: the key's bytes, then the start, 8 bytes.
func TestWindowedKeysAreKafkas(t *testing.T) {
	s := SerdeOf(serde.String(), time.Minute)
	k := Windowed[string]{Key: "host", Window: Window{Start: 60_000, End: 120_000}}
	if got := k.String(); got != "host@1970-01-01T00:01:00Z/1970-01-01T00:02:00Z" {
		t.Errorf("it prints as %s", got)
	}
	b, err := s.Append(nil, k)
	if err != nil || string(b) != "host\x00\x00\x00\x00\x00\x00\xea\x60" {
		t.Errorf("got %q, %v", b, err)
	}
	if got, err := s.Decode(b); err != nil || got != k {
		t.Errorf("comes back as %v, %v", got, err)
	}
	byType, err := serde.For[Windowed[string]](nil)
	if err != nil || byType.Name() != "windowed(string)" {
		t.Fatalf("by type: %v, %v", byType, err)
	}
	if got, err := byType.Decode(b); err != nil || got.End != math.MaxInt64 || got.Key != "host" {
		t.Errorf("without the size: %v, %v", got, err)
	}
	if _, err := s.Decode(b[:7]); err == nil {
		t.Error("7 bytes decode")
	}
	if _, err := serde.For[Windowed[chan int]](nil); err == nil {
		t.Error("a windowed channel has a serde")
	}
}

func FuzzWindowedKey(f *testing.F) {
	f.Add([]byte("host\x00\x00\x00\x00\x00\x00\xea\x60"))
	f.Add([]byte(""))
	s := SerdeOf(serde.String(), time.Minute)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := s.Decode(b)
		if err != nil {
			return
		}
		out, err := s.Append(nil, s.Own(k))
		if err != nil || string(out) != string(b) {
			t.Errorf("%q decodes as %v and encodes as %q, %v", b, k, out, err)
		}
	})
}
