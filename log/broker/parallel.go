package broker

import "sync"

// inParallel calls f with 0 to n-1, up to limit at the same time, in order if
// limit is 1, and returns when all are done.
func inParallel(limit, n int, f func(i int)) {
	if limit = min(limit, n); limit <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range limit {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				f(i)
			}
		})
	}
	wg.Wait()
}
