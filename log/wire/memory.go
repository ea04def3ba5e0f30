package wire

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

const (
	// largeFrame parts requests into two kinds with a budget each, so that a few
	// giants that trickle in cannot keep everybody else waiting.
	largeFrame = 1 << 20
	// tinyFrame is not counted: heartbeats, fetches and the like never wait for
	// room. What they take is bounded by the number of connections.
	tinyFrame = 16 << 10
	// decodeFactor is how many times its size a request other than produce and
	// fetch may take when it is decoded: an array says how many elements follow,
	// at a byte each at least, and memory is made for all of them at once.
	decodeFactor = 128
	// elementMemory is what a topic, partition or tag of a produce or fetch may
	// take, decoded and answered; in the frame it may be 3 bytes.
	elementMemory = 1 << 10
	// fewElements are not counted.
	fewElements = 512
	// smallDecode is not counted: it is short work for one connection at a time and core.
	smallDecode = 64 << 10
)

// memory bounds the bytes of requests in flight. Who comes above it waits, first
// come, first served, and its connection is not read meanwhile.
type memory struct {
	small, large *semaphore.Weighted
	decoding     *semaphore.Weighted
	fetching     *semaphore.Weighted // as decoding, for fetches, which may wait for records
	total        int64
}

func newMemory(total int64) *memory {
	return &memory{
		small: semaphore.NewWeighted(total / 2), large: semaphore.NewWeighted(total / 2),
		decoding: semaphore.NewWeighted(total), fetching: semaphore.NewWeighted(total), total: total,
	}
}

// reserve waits for room for a frame in the semaphore that it gives, nil for none.
func (m *memory) reserve(ctx context.Context, size int) (*semaphore.Weighted, error) {
	switch {
	case size <= tinyFrame:
		return nil, nil
	case size <= largeFrame:
		return m.small, m.small.Acquire(ctx, int64(size))
	}
	return m.large, m.large.Acquire(ctx, int64(size))
}

// decode waits until a request of size bytes may be decoded. Its frame is
// reserved already, so done must come without waiting for another reservation.
func (m *memory) decode(ctx context.Context, size int) (done func(), err error) {
	if size <= smallDecode {
		return func() {}, nil
	}
	weight := int64(size) * decodeFactor
	if err := m.decoding.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	return func() { m.decoding.Release(weight) }, nil
}

// elements waits until a produce or fetch with so many topics, partitions and
// tags may be decoded, and refuses one for which there is never room. done is nil
// for one that is small.
func (m *memory) elements(ctx context.Context, key int16, n int) (done func(), err error) {
	if n <= fewElements {
		return nil, nil
	}
	if limit := m.total / elementMemory; int64(n) > limit {
		return nil, malformed(fmt.Sprintf("at most %d topics, partitions and tags in a request", limit), n)
	}
	budget := m.decoding
	if key == keyFetch {
		budget = m.fetching
	}
	weight := int64(n) * elementMemory
	if err := budget.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	return func() { budget.Release(weight) }, nil
}

// maxOther is the largest request other than produce and fetch.
func (m *memory) maxOther() int32 { return int32(min(m.total/decodeFactor, 1<<30)) }
