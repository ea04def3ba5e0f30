package serde

import "hash/maphash"

// KeyDecoder decodes the keys of one task. Decoded strings share no memory with
// the bytes, and keys that come often cost no allocation. Keys of borrowed types
// ([]byte) stay borrowed. Not for several goroutines.
type KeyDecoder[K any] interface {
	Decode(b []byte) (K, error)
}

// NewKeyDecoder makes the key decoder of s.
func NewKeyDecoder[K any](s Serde[K]) KeyDecoder[K] {
	if d, ok := s.(interface{ keyDecoder() KeyDecoder[K] }); ok {
		return d.keyDecoder()
	}
	if s.Aliases() {
		return owning[K]{s}
	}
	return s
}

// owning detaches every key.
type owning[K any] struct{ of Serde[K] }

func (o owning[K]) Decode(b []byte) (K, error) {
	k, err := o.of.Decode(b)
	if err != nil {
		return k, err
	}
	return o.of.Own(k), nil
}

const (
	internFirst  = 256     // slots at first
	internMost   = 1 << 14 // slots at most: 256 KiB of string headers
	internLength = 128     // longer keys are copied every time
)

var internSeed = maphash.MakeSeed()

// interner remembers strings in a table of pairs of slots. A key stands in one
// slot of its pair; a new one takes the first and moves the older one to the
// second. The table doubles when a quarter of its size has been pushed out.
type interner struct {
	slots  []string // "": free
	losses int      // strings pushed out since the table last grew
}

func (in *interner) Decode(b []byte) (string, error) {
	if len(b) > internLength {
		return string(b), nil
	}
	if in.slots == nil {
		in.slots = make([]string, internFirst)
	}
	i := maphash.Bytes(internSeed, b) & uint64(len(in.slots)-2)
	if s := in.slots[i]; s == string(b) {
		return s, nil
	}
	if s := in.slots[i+1]; s == string(b) {
		return s, nil
	}
	return in.miss(i, b), nil
}

func (in *interner) miss(i uint64, b []byte) string {
	s := string(b)
	if in.slots[i+1] != "" {
		in.losses++
		if in.losses > len(in.slots)/4 && len(in.slots) < internMost {
			in.grow()
			i = maphash.String(internSeed, s) & uint64(len(in.slots)-2)
		}
	}
	in.put(i, s)
	return s
}

func (in *interner) put(i uint64, s string) {
	if in.slots[i] != "" {
		in.slots[i+1] = in.slots[i]
	}
	in.slots[i] = s
}

func (in *interner) grow() {
	old := in.slots
	in.slots = make([]string, 2*len(old))
	in.losses = 0
	for _, s := range old {
		if s != "" {
			in.put(maphash.String(internSeed, s)&uint64(len(in.slots)-2), s)
		}
	}
}
