package wire

// What a request names again and again is answered once: the answer may be
// thousands of times larger than the name.

// once gives the elements whose key no earlier one has, in order.
func once[T any, K comparable](list []T, key func(T) K) []T {
	seen := make(map[K]bool, len(list))
	out := make([]T, 0, len(list))
	for _, e := range list {
		if k := key(e); !seen[k] {
			seen[k] = true
			out = append(out, e)
		}
	}
	return out
}

// namedPartitions are those that a request has named so far.
type namedPartitions map[fetchKey]bool

// first gives the partitions of a topic that are named for the first time; false
// if there are none but repeated ones.
func (named namedPartitions) first(topic string, id [16]byte, partitions []int32) ([]int32, bool) {
	out := make([]int32, 0, len(partitions))
	for _, n := range partitions {
		if k := (fetchKey{id: id, topic: topic, n: n}); !named[k] {
			named[k] = true
			out = append(out, n)
		}
	}
	return out, len(out) > 0 || len(partitions) == 0
}
