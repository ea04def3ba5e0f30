package cassandra

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestTheLimitHalvesOncePerRoundTripAndGrowsByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newLimiter(8)
		enter := func() uint64 {
			n, err := l.enter(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		entered := 0
		var numbers []uint64
		for range 8 {
			numbers = append(numbers, enter())
		}
		go func() {
			for {
				if _, err := l.enter(ctx); err != nil {
					return
				}
				entered++
			}
		}()
		synctest.Wait()
		if entered != 0 {
			t.Fatalf("%d requests beyond the limit of 8", entered)
		}
		for _, n := range numbers[:4] { // of one round trip: they count once
			l.leave(n, true)
		}
		synctest.Wait()
		if l.now() != 4 || entered != 0 {
			t.Fatalf("limit %d after one busy round trip, want 4; %d entered with 4 under way", l.now(), entered)
		}
		for _, n := range numbers[4:] {
			l.leave(n, false)
		}
		synctest.Wait()
		if entered != 4 || l.now() != 4 {
			t.Fatalf("%d entered, limit %d: want 4 and, after 4 successes at 4, nearly 5", entered, l.now())
		}
		l.leave(9, false)
		l.leave(10, false)
		synctest.Wait()
		if l.now() != 5 || entered != 7 {
			t.Fatalf("limit %d, %d entered, want 5 and 7", l.now(), entered)
		}
		l.leave(11, true)
		if l.now() != 2 {
			t.Fatalf("limit %d after a second busy round trip, want 2", l.now())
		}
		for n := range uint64(4) {
			l.leave(12+n, true)
		}
		cancel()
		synctest.Wait()
		if l.now() != 2 {
			t.Fatalf("limit %d: requests that began before the cut cut again", l.now())
		}
		for range 20 {
			l.inUse++
			l.starts++
			l.leave(l.starts, true)
		}
		if l.now() != 1 {
			t.Fatalf("limit %d, it never falls below 1", l.now())
		}
	})
}
