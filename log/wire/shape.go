package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
)

// Produce and fetch requests may be large, and kmsg makes memory for as many
// elements as an array claims before it has seen them. So their shape is walked
// first: whatever is claimed must be there.

// maxString is the longest string that Kafka's readers take, also where its
// length is a varint that could say more (KIP-482). Records have it as an int16.
const maxString = math.MaxInt16

// walker passes over a request's body.
type walker struct {
	b        []byte
	flexible bool
	bad      bool
	elements int  // of arrays, and tags: what takes memory when it is decoded
	tagged   bool // there are tagged fields, whose contents are not walked
}

func (w *walker) skip(n int) {
	if n < 0 || n > len(w.b) {
		w.bad, w.b = true, nil
		return
	}
	w.b = w.b[n:]
}

// length reads a length: of an array (compact or int32), or of bytes; null is 0.
func (w *walker) length() int {
	if w.flexible {
		n, rest, ok := uvarint(w.b)
		if !ok {
			w.skip(-1)
			return 0
		}
		w.b = rest
		return max(int(n)-1, 0)
	}
	if len(w.b) < 4 {
		w.skip(-1)
		return 0
	}
	n := int32(binary.BigEndian.Uint32(w.b))
	w.b = w.b[4:]
	return int(max(n, 0))
}

func (w *walker) bytes() { w.skip(w.length()) }

// text passes over a string's bytes.
func (w *walker) text(n int) {
	if n > maxString {
		n = -1
	}
	w.skip(n)
}

func (w *walker) string() {
	if w.flexible {
		w.text(w.length())
		return
	}
	if len(w.b) < 2 {
		w.skip(-1)
		return
	}
	n := int16(binary.BigEndian.Uint16(w.b))
	w.skip(2)
	w.skip(int(max(n, 0)))
}

// name is a string that is not null.
func (w *walker) name() {
	if w.flexible {
		n, rest, ok := uvarint(w.b)
		if !ok || n == 0 {
			w.skip(-1)
			return
		}
		w.b = rest
		w.text(int(n) - 1)
		return
	}
	if len(w.b) < 2 || int16(binary.BigEndian.Uint16(w.b)) < 0 {
		w.skip(-1)
		return
	}
	w.string()
}

func (w *walker) tags() {
	if !w.flexible {
		return
	}
	if len(w.b) > 0 && w.b[0] == 0 {
		w.b = w.b[1:]
		return
	}
	n, _, _ := uvarint(w.b)
	rest, err := skipTags(w.b)
	if err != nil {
		w.skip(-1)
		return
	}
	w.b, w.elements, w.tagged = rest, w.elements+int(n), true
}

// array calls f for each element; it ends early where one is not there.
func (w *walker) array(f func()) {
	for n := w.length(); n > 0 && !w.bad; n-- {
		w.elements++
		f()
	}
}

// topic is a name, or from version 13 on an id.
func (w *walker) topic(version int16) {
	if version >= 13 {
		w.skip(16)
		return
	}
	w.name()
}

// checkShape walks the body of a produce or fetch request and counts what is in it.
func checkShape(key, version int16, body []byte) (elements int, err error) {
	w := walk(key, version, body)
	if w.bad {
		return 0, malformed("a body that is as long as its fields say", fmt.Sprintf("%d bytes", len(body)))
	}
	return w.elements, nil
}

func walk(key, version int16, body []byte) walker {
	w := walker{b: body}
	if key == keyProduce {
		w.flexible = version >= 9
		w.produce(version)
	} else {
		w.flexible = version >= 12
		w.fetch(version)
	}
	return w
}

func (w *walker) produce(version int16) {
	w.string()    // transactional id
	w.skip(2 + 4) // acks, timeout
	w.array(func() {
		w.topic(version)
		w.array(func() {
			w.skip(4)
			w.bytes()
			w.tags()
		})
		w.tags()
	})
	w.tags()
}

func (w *walker) fetch(version int16) {
	if version < 15 {
		w.skip(4) // replica
	}
	w.skip(4 + 4 + 4 + 1) // max wait, min bytes, max bytes, isolation
	if version >= 7 {
		w.skip(4 + 4) // session
	}
	partition := 4 + 8 + 4 // number, offset, max bytes
	for _, since := range []struct {
		version int16
		size    int
	}{{5, 8}, {9, 4}, {12, 4}} { // log start, leader epoch, last epoch
		if version >= since.version {
			partition += since.size
		}
	}
	w.array(func() {
		w.topic(version)
		w.array(func() {
			w.skip(partition)
			w.tags()
		})
		w.tags()
	})
	if version >= 7 {
		w.array(func() {
			w.topic(version)
			w.array(func() { w.skip(4) })
			w.tags()
		})
	}
	if version >= 11 {
		w.name() // rack
	}
	w.tags()
}

// longString says whether there is a string longer than maxString in a decoded
// request: its key in the log of a coordinator could not be read again.
func longString(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return v.Len() > maxString
	case reflect.Pointer:
		return !v.IsNil() && longString(v.Elem())
	case reflect.Slice:
		switch v.Type().Elem().Kind() {
		case reflect.String, reflect.Struct:
			for i := range v.Len() {
				if longString(v.Index(i)) {
					return true
				}
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if longString(v.Field(i)) {
				return true
			}
		}
	}
	return false
}
