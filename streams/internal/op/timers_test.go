package op

import (
	"testing"
)

func FuzzKeyTimers(f *testing.F) {
	var s KeyTimersSerde
	b, _ := s.Append(nil, KeyTimers{indexed: -5, at: [MaxTimers]int64{1, never, 1 << 40, never}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := s.Decode(b)
		if err != nil {
			return
		}
		out, _ := s.Append(nil, s.Own(k))
		if again, err := s.Decode(out); err != nil || again != k {
			t.Errorf("%x decodes as %v, which comes back as %v, %v", b, k, again, err)
		}
	})
}

// Entries of a bucket that is only partly in the heap come in order too, once it
// is loaded again.
func TestTheHeapKeepsItsLimit(t *testing.T) {
	var h timerHeap
	h.reset(0)
	key := func(i int) []byte { return []byte{byte(i >> 16), byte(i >> 8), byte(i)} }
	due := func(i int) []byte { return (&timers{}).dueKey(int64(i/1000), key(i)) }
	load := func(n int) {
		h.load(0)
		for i := range n {
			if h.loaded(due(i)) != nil {
				return
			}
		}
	}
	const n = headMost + 3000
	load(n)
	if !h.more || len(h.entries) != headMost {
		t.Fatalf("%d entries, more %v: expected %d and more", len(h.entries), h.more, headMost)
	}
	h.insert(int64((n-1)/1000), []byte("z")) // after the limit: found when it is loaded
	h.insert(0, []byte("\xff"))              // before: in its place
	for i := range headMost + 1 {
		at, k, ok := h.pop()
		want := i
		if i == 1000 {
			if string(k) != "\xff" || at != 0 {
				t.Fatalf("entry %d is %d %x", i, at, k)
			}
			continue
		} else if i > 1000 {
			want = i - 1
		}
		if !ok || at != int64(want/1000) || string(k) != string(key(want)) {
			t.Fatalf("entry %d is %d %x", want, at, k)
		}
	}
	if !h.empty() {
		t.Fatalf("%d entries left", len(h.entries))
	}
	load(n)
	if at, k, _ := h.pop(); h.more || at != int64(headMost/1000) || string(k) != string(key(headMost)) {
		t.Errorf("after the reload the first is %d %x, more %v", at, k, h.more)
	}
}
