package cache

import (
	"fmt"
	"testing"
)

// TestEvictionDoesNotLookAtOpenWindows: what shrink passes is what it evicts,
// while thousands of windows of few keys are open.
func TestEvictionDoesNotLookAtOpenWindows(t *testing.T) {
	const windows, each, keys = 20_000, 50, 3 // windows in all, windows a transaction, keys a window
	host := nullHost{}
	limit := int64(100 * (tableBytes + 3*200))
	c := NewWindows(host, 0, intSerde{}, NewBudget(limit))
	for w := range int64(windows) {
		for k := range keys {
			e, err := c.FindOrCreate(w, fmt.Append(nil, "key-", k))
			if err != nil {
				t.Fatal(err)
			}
			e.Value++
			c.Changed(e)
		}
		if w%each == each-1 {
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			c.Committed()
			if used := c.Usage().CacheBytes; used > limit {
				t.Fatalf("%d bytes cached after a commit, the budget is %d", used, limit)
			}
		}
	}
	if len(c.order) != windows {
		t.Fatalf("%d windows open, expected %d", len(c.order), windows)
	}
	if most := int64(windows + windows/each); c.steps > most || c.steps < windows/2 {
		t.Fatalf("shrink took %d steps for %d windows, expected at most %d", c.steps, windows, most)
	}
}

// TestAWindowOfFewKeysIsSmall: what is allocated for it is near what is accounted.
func TestAWindowOfFewKeysIsSmall(t *testing.T) {
	const windows = 2000
	held := func(keys int) int64 {
		c := NewWindows(nullHost{}, 0, intSerde{}, NewBudget(1<<30))
		var bytes int64
		for w := range int64(windows) {
			for k := range keys {
				e, err := c.FindOrCreate(w, fmt.Append(nil, "173.234.31.", k))
				if err != nil {
					t.Fatal(err)
				}
				c.Changed(e)
			}
			tab := &c.last.t
			bytes += int64(len(tab.slots)) * slotBytes
			for _, s := range tab.slabs {
				bytes += int64(len(s)) * c.pool.entryBytes
			}
			for _, a := range tab.keys.chunks {
				bytes += int64(len(a))
			}
		}
		if u := c.Usage(); u.CacheBytes < bytes/2 {
			t.Fatalf("%d bytes accounted for windows of %d keys, their tables have %d", u.CacheBytes, keys, bytes)
		}
		return bytes / windows
	}
	for keys, most := range map[int]int64{1: 512, 4: 512, 40: 6 << 10} {
		if n := held(keys); n > most {
			t.Errorf("a window of %d keys takes %d bytes, expected at most %d", keys, n, most)
		}
	}
}
