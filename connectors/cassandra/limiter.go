package cassandra

import (
	"context"
	"sync"
)

// limiter bounds the requests at a time: up to most, half as many after each
// round trip in which the cluster said that it is busy, one more after each in
// which it did not (additive increase, multiplicative decrease).
type limiter struct {
	most int

	mu     sync.Mutex
	free   *sync.Cond // signaled when inUse falls or limit rises
	limit  float64
	inUse  int
	starts uint64 // requests that have begun
	cut    uint64 // value of starts when limit was last halved
}

func newLimiter(most int) *limiter {
	l := &limiter{most: most, limit: float64(most)}
	l.free = sync.NewCond(&l.mu)
	return l
}

// enter waits for its turn and returns the request's number, or the context's error.
func (l *limiter) enter(ctx context.Context) (uint64, error) {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.free.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.inUse >= int(l.limit) && ctx.Err() == nil {
		l.free.Wait()
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.inUse++
	l.starts++
	return l.starts, nil
}

// leave tells how the request of that number went.
func (l *limiter) leave(number uint64, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inUse--
	switch {
	case busy && number > l.cut: // those that began before the last cut do not count again
		l.limit = max(1, l.limit/2)
		l.cut = l.starts
	case !busy && l.limit < float64(l.most):
		l.limit = min(float64(l.most), l.limit+1/l.limit)
	}
	l.free.Signal()
	if l.inUse < int(l.limit)-1 {
		l.free.Signal()
	}
}

func (l *limiter) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.limit)
}
