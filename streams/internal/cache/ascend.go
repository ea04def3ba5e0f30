package cache

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// sortRef is an entry to be sorted by key: the key's first bytes decide most
// comparisons without touching the arena.
type sortRef struct {
	prefix uint64
	idx    uint32
}

func keyPrefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// sort fills c.sorted with the entries of t in the order of their key bytes.
func (c *store[V]) sort(t *table[V]) {
	c.sorted = c.sorted[:0]
	for i := range t.next {
		if e := t.entry(i); e.flags&flagFree == 0 {
			c.sorted = append(c.sorted, sortRef{keyPrefix(t.key(e)), i})
		}
	}
	slices.SortFunc(c.sorted, func(a, b sortRef) int {
		switch {
		case a.prefix < b.prefix:
			return -1
		case a.prefix > b.prefix:
			return 1
		}
		return bytes.Compare(t.key(t.entry(a.idx)), t.key(t.entry(b.idx)))
	})
}

// cut leaves those of c.sorted whose keys are in [from, to); a nil to has no end.
func (c *store[V]) cut(t *table[V], from, to []byte) {
	at := func(key []byte) int {
		i, _ := slices.BinarySearchFunc(c.sorted, key, func(r sortRef, key []byte) int { return bytes.Compare(t.key(t.entry(r.idx)), key) })
		return i
	}
	if to != nil {
		c.sorted = c.sorted[:at(to)]
	}
	if n := at(from); n > 0 {
		c.sorted = c.sorted[:copy(c.sorted, c.sorted[n:])]
	}
}

// ascend calls fn for the values of t in key order. Where t is not complete,
// the backend's entries in [from, to) that t does not know are merged in; their
// keys there begin with a prefix of skip bytes. Without a prefix the bounds hold
// for t as well.
func (c *store[V]) ascend(t *table[V], complete bool, from, to []byte, skip int, fn func(key []byte, v V, timestampMS int64) error) error {
	c.sort(t)
	if skip == 0 {
		c.cut(t, from, to)
	}
	next := 0
	// cached calls fn for the cached entries below key (nil: all) and reports
	// whether key itself is cached.
	cached := func(key []byte) (same bool, err error) {
		for ; next < len(c.sorted); next++ {
			e := t.entry(c.sorted[next].idx)
			k := t.key(e)
			if key != nil {
				if d := bytes.Compare(k, key); d > 0 {
					return false, nil
				} else if d == 0 {
					same = true
				}
			}
			if e.Exists() {
				if err := fn(k, e.Value, e.TimestampMS); err != nil {
					return same, err
				}
			}
			if same {
				next++
				return true, nil
			}
		}
		return false, nil
	}
	if !complete {
		var inner error
		err := c.backend.Range(from, to, func(fullKey, stored []byte) bool {
			key := fullKey[skip:]
			var same bool
			if same, inner = cached(key); inner != nil || same {
				return inner == nil
			}
			v, ts, err := c.decode(key, stored)
			if err == nil {
				err = fn(key, v, ts)
			}
			inner = err
			return err == nil
		})
		if err = cmpErr(inner, err); err != nil {
			return err
		}
	}
	_, err := cached(nil)
	return err
}

// cmpErr returns the first error that is not nil.
func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
