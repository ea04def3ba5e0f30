package task

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/processor"
)

// What repartition topics carry beside the user's records, in reserved headers.
//
//	__millstream.time       8 bytes, big-endian, ms: the stream time that the record carries,
//	                        where it is later than its timestamp
//	__millstream.watermark  the id of the upstream task, "<sub>_<partition>"; the record's key
//	                        is null, its value the 8 bytes of that task's stream time, of
//	                        processor.NoTime for "idle, I never had a record"
//	__millstream.from       the id of the upstream task that sent the record; only where the
//	                        reader merges the topic with other inputs
const (
	headerPrefix    = "__millstream."
	headerTime      = headerPrefix + "time"
	headerWatermark = headerPrefix + "watermark"
	headerFrom      = headerPrefix + "from"
)

// internalHeaders looks at a repartition record's headers: the carried time
// (ok false if none), or the watermark's task.
func internalHeaders(hs []record.Header) (carried int64, hasTime bool, watermark []byte) {
	for i := range hs {
		switch hs[i].Key {
		case headerTime:
			if len(hs[i].Value) == 8 {
				carried, hasTime = int64(binary.BigEndian.Uint64(hs[i].Value)), true
			}
		case headerWatermark:
			if watermark = hs[i].Value; watermark == nil {
				watermark = []byte{} // a null id is an unreadable one, not a user's record
			}
		}
	}
	return carried, hasTime, watermark
}

// sender is the task that sent a record; nil if it does not say.
func sender(hs []record.Header) []byte {
	for i := range hs {
		if hs[i].Key == headerFrom {
			return hs[i].Value
		}
	}
	return nil
}

// appendHeaders converts headers, leaving out the reserved ones.
func appendHeaders(dst []processor.Header, hs []record.Header) []processor.Header {
	for _, h := range hs {
		if !strings.HasPrefix(h.Key, headerPrefix) {
			dst = append(dst, processor.Header{Key: h.Key, Value: h.Value})
		}
	}
	return dst
}

// parseTaskID reads "<sub>_<partition>".
func parseTaskID(b []byte) (plan.TaskID, bool) {
	sub, part, ok := strings.Cut(string(b), "_")
	if !ok {
		return plan.TaskID{}, false
	}
	s, err1 := strconv.ParseUint(sub, 10, 15)
	p, err2 := strconv.ParseUint(part, 10, 31)
	return plan.TaskID{Sub: int(s), Partition: int32(p)}, err1 == nil && err2 == nil
}
