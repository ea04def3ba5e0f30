package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// fetchAnswer is a fetch's answer: kmsg's response for what stands before the
// topics, and partitions whose records are still in their files.
//
//	throttle int32 | [7: error int16, session int32] | topics | [12: tags: 0 endpoints]
//	topic:      name string, from 13 on uuid | partitions | [12: tags]
//	partition:  number int32, error int16, high watermark, last stable, [5: log start] int64
//	            aborted: nullable array of producer id, first offset int64 | [11: preferred replica int32]
//	            records: nullable bytes | [12: tags: 0 diverging epoch, 1 current leader]
//
// It goes out in pieces, cut behind each length of records: a piece of this
// encoding, then the range of the file.
type fetchAnswer struct {
	*kmsg.FetchResponse
	found  []fetchFound
	ranges int
	next   int         // where the session's next look begins
	parts  []fetchPart // memory for the request's
	cuts   []fetchCut
	node   int32

	committed bool
}

// fetchCut is a place in the encoding where a range's bytes belong.
type fetchCut struct {
	at    int
	found int
}

// inlineBytes is how much a range must have to be worth a system call of its
// own: a smaller one is read into the encoding.
const inlineBytes = 16 << 10

var fetchPool = sync.Pool{New: func() any { return new(fetchAnswer) }}

func newFetchAnswer(version int16) *fetchAnswer {
	a := fetchPool.Get().(*fetchAnswer)
	a.FetchResponse = kmsg.NewPtrFetchResponse()
	a.Version = version
	return a
}

// release gives the ranges back; what was found is forgotten.
func (a *fetchAnswer) release() {
	for i := range a.found {
		a.found[i].got.Release()
	}
	clear(a.found)
	a.found, a.ranges, a.next = a.found[:0], 0, 0
}

// done releases the answer itself.
func (a *fetchAnswer) done() {
	a.release()
	clear(a.parts)
	a.parts, a.cuts, a.FetchResponse = a.parts[:0], a.cuts[:0], nil
	if cap(a.parts) <= 4096 && cap(a.found) <= 4096 {
		fetchPool.Put(a)
	}
}

// encode appends the answer without the records of ranges above inlineBytes,
// and notes where they belong. It returns the size that they add.
func (a *fetchAnswer) encode(b []byte) ([]byte, int64, error) {
	flexible := a.IsFlexible()
	b = binary.BigEndian.AppendUint32(b, uint32(a.ThrottleMillis))
	if a.Version >= 7 {
		b = binary.BigEndian.AppendUint16(b, uint16(a.ErrorCode))
		b = binary.BigEndian.AppendUint32(b, uint32(a.SessionID))
	}
	b = appendLen(b, a.topics(), flexible)
	var outside int64
	for i := 0; i < len(a.found); {
		j := a.sameTopic(i)
		key := &a.found[i].key
		if a.Version >= 13 {
			b = append(b, key.id[:]...)
		} else {
			b = appendString(b, key.topic, flexible)
		}
		b = appendLen(b, j-i, flexible)
		for ; i < j; i++ {
			var err error
			var n int64
			if b, n, err = a.partition(b, i, flexible); err != nil {
				return b, 0, err
			}
			outside += n
		}
		if flexible {
			b = append(b, 0)
		}
	}
	if flexible {
		b = a.endpoints(b)
	}
	return b, outside, nil
}

// sameTopic is the end of the run of one topic that begins at i.
func (a *fetchAnswer) sameTopic(i int) int {
	j := i + 1
	for j < len(a.found) && a.found[j].key.id == a.found[i].key.id && a.found[j].key.topic == a.found[i].key.topic {
		j++
	}
	return j
}

func (a *fetchAnswer) topics() (n int) {
	for i := 0; i < len(a.found); i = a.sameTopic(i) {
		n++
	}
	return n
}

func (a *fetchAnswer) partition(b []byte, i int, flexible bool) ([]byte, int64, error) {
	f := &a.found[i]
	b = binary.BigEndian.AppendUint32(b, uint32(f.key.n))
	b = binary.BigEndian.AppendUint16(b, uint16(f.code))
	b = binary.BigEndian.AppendUint64(b, uint64(f.got.End))
	b = binary.BigEndian.AppendUint64(b, uint64(f.got.Stable))
	if a.Version >= 5 {
		b = binary.BigEndian.AppendUint64(b, uint64(f.got.Start))
	}
	b = a.aborted(b, f.got.Aborted, flexible)
	if a.Version >= 11 {
		b = binary.BigEndian.AppendUint32(b, ^uint32(0)) // preferred read replica: none
	}
	size := f.got.Len()
	if flexible {
		b = binary.AppendUvarint(b, uint64(size)+1)
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(size))
	}
	outside := int64(0)
	switch {
	case size > inlineBytes:
		a.cuts = append(a.cuts, fetchCut{at: len(b), found: i})
		outside = size
	case size > 0:
		var err error
		if b, err = appendRange(b, &f.got.Range); err != nil {
			return b, 0, err
		}
	}
	if flexible {
		b = a.tags(b, f)
	}
	return b, outside, nil
}

// appendRange reads a small range into the encoding.
func appendRange(b []byte, r *segment.Range) ([]byte, error) {
	at, size := len(b), int(r.Len())
	b = grow(b, size)
	if _, err := r.ReadAt(b[at:], 0); err != nil && !errors.Is(err, io.EOF) {
		return b, err
	}
	return b, nil
}

// grow makes b longer by n bytes, whose content is undefined.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = append(make([]byte, 0, 2*cap(b)+n), b...)
	}
	return b[:len(b)+n]
}

// tags of a partition: 0 the diverging epoch, 1 the current leader; each a
// struct with an empty tag section of its own.
func (a *fetchAnswer) tags(b []byte, f *fetchFound) []byte {
	away := f.leader != record.NoLeaderEpoch
	n := byte(0)
	if f.divergent {
		n++
	}
	if away {
		n++
	}
	b = append(b, n)
	if f.divergent {
		b = append(b, 0, 4+8+1)
		b = binary.BigEndian.AppendUint32(b, uint32(f.divergedEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(f.divergedEnd))
		b = append(b, 0)
	}
	if away {
		b = append(b, 1, 4+4+1)
		b = binary.BigEndian.AppendUint32(b, uint32(a.node))
		b = binary.BigEndian.AppendUint32(b, uint32(f.leader))
		b = append(b, 0)
	}
	return b
}

// endpoints is the tag section of the whole answer.
func (a *fetchAnswer) endpoints(b []byte) []byte {
	if len(a.Brokers) == 0 {
		return append(b, 0)
	}
	var list []byte
	list = appendLen(list, len(a.Brokers), true)
	for i := range a.Brokers {
		n := &a.Brokers[i]
		list = binary.BigEndian.AppendUint32(list, uint32(n.NodeID))
		list = appendString(list, n.Host, true)
		list = binary.BigEndian.AppendUint32(list, uint32(n.Port))
		list = append(list, 0, 0) // no rack, no tags
	}
	b = append(b, 1, 0)
	b = binary.AppendUvarint(b, uint64(len(list)))
	return append(b, list...)
}

// aborted writes the list, by first offset; it belongs to read_committed and is null otherwise.
func (a *fetchAnswer) aborted(b []byte, aborted []segment.AbortedTxn, flexible bool) []byte {
	if !a.committed {
		if flexible {
			return append(b, 0)
		}
		return binary.BigEndian.AppendUint32(b, ^uint32(0))
	}
	b = appendLen(b, len(aborted), flexible)
	for i := range aborted {
		b = binary.BigEndian.AppendUint64(b, uint64(aborted[i].ProducerID))
		b = binary.BigEndian.AppendUint64(b, uint64(aborted[i].First))
		if flexible {
			b = append(b, 0)
		}
	}
	return b
}

func appendLen(b []byte, n int, flexible bool) []byte {
	if flexible {
		return binary.AppendUvarint(b, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendString(b []byte, s string, flexible bool) []byte {
	if flexible {
		b = binary.AppendUvarint(b, uint64(len(s))+1)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	}
	return append(b, s...)
}
