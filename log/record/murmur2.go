package record

import "encoding/binary"

// Murmur2 is the hash of a key in Kafka's default partitioner
// (org.apache.kafka.common.utils.Utils.murmur2).
func Murmur2(key []byte) int32 {
	const (
		seed = uint32(0x9747b28c)
		m    = uint32(0x5bd1e995)
		r    = 24
	)
	h := seed ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key)
		key = key[4:]
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return int32(h)
}

// PartitionForKey is the partition of n (at least 1) in which Kafka's default
// partitioner puts a key. A null key has no such partition: the caller spreads
// those; here it counts as an empty one.
func PartitionForKey(key []byte, n int32) Partition {
	return Partition((Murmur2(key) & 0x7fffffff) % n)
}
