package badgerstore

import (
	"math"
	"sync/atomic"
	"time"
)

// closePatience is how long Close waits for the calls under way.
const closePatience = 10 * time.Second

// users counts the calls under way. Badger unmaps its tables when it closes,
// whoever reads them; that would be the end of the process.
type users struct {
	n    atomic.Int64 // gone less than 0 by closing
	idle chan struct{}
}

const closing = math.MinInt64 / 2

// enter lets a call in, which must leave; false: the database is closed, or about
// to be.
func (u *users) enter() bool {
	if u.n.Add(1) > 0 {
		return true
	}
	u.leave()
	return false
}

func (u *users) leave() {
	if u.n.Add(-1) == closing {
		select {
		case u.idle <- struct{}{}:
		default:
		}
	}
}

// closed reports whether nobody is let in any more; who is in should end soon.
func (u *users) closed() bool { return u.n.Load() < 0 }

// close lets nobody in any more. first is false if that was so already; idle, if
// those who were in did not leave in time.
func (u *users) close(patience time.Duration) (first, idle bool) {
	for {
		n := u.n.Load()
		if n < 0 {
			return false, false
		}
		if !u.n.CompareAndSwap(n, n+closing) {
			continue
		}
		if n == 0 {
			return true, true
		}
		break
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-u.idle:
		return true, true
	case <-limit.C:
		return true, false
	}
}
