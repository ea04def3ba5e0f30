package broker

import (
	"sync"
	"sync/atomic"

	"github.com/millstream-io/millstream/log/record"
)

// refusals are the lowest sequences of transactional batches that were refused
// since the last decision, by partition. A partition takes any first sequence
// from a producer that it does not know; with five requests in flight it would
// take the second batch when the first was refused, and the first could not be
// sent again (KIP-890 part 1). Safe for concurrent use.
type refusals struct {
	some atomic.Bool // lowest is not empty: one look for those who were never refused

	mu     sync.Mutex // guards lowest
	lowest map[record.TopicPartition]int32
}

func (r *refusals) add(tp record.TopicPartition, seq int32) {
	if seq < 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lowest == nil {
		r.lowest = map[record.TopicPartition]int32{}
	}
	if low, ok := r.lowest[tp]; !ok || seq < low {
		r.lowest[tp] = seq
	}
	r.some.Store(true)
}

// skip says whether a batch leaves out one that was refused.
func (r *refusals) skip(tp record.TopicPartition, seq int32) bool {
	if !r.some.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	low, ok := r.lowest[tp]
	return ok && seq > low
}

func (r *refusals) clear() {
	if !r.some.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.lowest)
	r.some.Store(false)
}
