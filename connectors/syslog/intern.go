package syslog

import (
	"hash/maphash"
	"sync/atomic"
)

// interned keeps recently seen host and program names as strings, so that a
// name that comes a million times is allocated once. A slot that two names
// fight for only costs allocations. Any goroutine may use it.
var interned [1 << 12]atomic.Pointer[string]

var internSeed = maphash.MakeSeed()

const maxInterned = 64 // longer names are not worth the memory

func intern(b []byte) string {
	if len(b) > maxInterned {
		return string(b)
	}
	slot := &interned[maphash.Bytes(internSeed, b)%uint64(len(interned))]
	if p := slot.Load(); p != nil && *p == string(b) {
		return *p
	}
	s := string(b)
	slot.Store(&s)
	return s
}
