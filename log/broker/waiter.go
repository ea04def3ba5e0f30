package broker

import (
	"sync"
	"sync/atomic"
)

// Waiter is woken when a partition that it watches has more to read. Any
// goroutine may use it; typically one loop owns it:
//
//	for {
//		// try every partition; if nothing came:
//		select { case <-w.C(): case <-ctx.Done(): }
//	}
//
// A wake-up between the try and the wait is not lost: C holds one token.
type Waiter struct {
	c  chan struct{}
	mu sync.Mutex
	// watched partitions
	ps map[*Partition]struct{}
}

// NewWaiter makes a waiter that watches nothing.
func (b *Broker) NewWaiter() *Waiter {
	return &Waiter{c: make(chan struct{}, 1), ps: map[*Partition]struct{}{}}
}

// C receives a token after an append (or with committed, a move of the last
// stable offset), a deletion, or the closing of the broker.
func (w *Waiter) C() <-chan struct{} { return w.c }

func (w *Waiter) wake() {
	select {
	case w.c <- struct{}{}:
	default:
	}
}

// Watch adds a partition; committed says which end counts. It wakes the waiter
// once, so that what came before is looked at.
func (w *Waiter) Watch(p *Partition, committed bool) {
	w.mu.Lock()
	w.ps[p] = struct{}{}
	w.mu.Unlock()
	p.watchers.add(w, committed)
	w.wake()
}

// Unwatch removes it again.
func (w *Waiter) Unwatch(p *Partition) {
	w.mu.Lock()
	delete(w.ps, p)
	w.mu.Unlock()
	p.watchers.remove(w)
}

// Close unwatches everything.
func (w *Waiter) Close() {
	w.mu.Lock()
	ps := w.ps
	w.ps = map[*Partition]struct{}{}
	w.mu.Unlock()
	for p := range ps {
		p.watchers.remove(w)
	}
}

// watchers of one partition.
//
// An append publishes the new end and then looks at n; a waiter adds itself to
// n and then looks at the end: whichever is second sees the other.
type watchers struct {
	n  atomic.Int32
	mu sync.Mutex
	ws map[*Waiter]bool // committed
}

func (s *watchers) add(w *Waiter, committed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ws == nil {
		s.ws = map[*Waiter]bool{}
	}
	s.ws[w] = committed
	s.n.Store(int32(len(s.ws)))
}

func (s *watchers) remove(w *Waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ws, w)
	s.n.Store(int32(len(s.ws)))
}

// wake wakes who watches the log's end, and with stable also who watches the
// last stable offset.
func (s *watchers) wake(stable bool) {
	if s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w, committed := range s.ws {
		if stable || !committed {
			w.wake()
		}
	}
}
