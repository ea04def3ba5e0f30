package badgerstore

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/millstream-io/millstream/streams/state"
)

// The first byte of every key; docs/format/badger.md, "Keys".
const (
	kindRecord byte = 'c' // task: the checkpoint record
	kindEntry  byte = 'e' // task, store, key: an entry
)

const (
	taskPrefix  = 1 + 4
	storePrefix = taskPrefix + 2
)

func appendTask(dst []byte, kind byte, t state.TaskKey) []byte {
	return binary.BigEndian.AppendUint32(append(dst, kind), uint32(t))
}

func appendEntry(dst []byte, t state.TaskKey, s state.StoreKey, key []byte) []byte {
	dst = binary.BigEndian.AppendUint16(appendTask(dst, kindEntry, t), uint16(s))
	return append(dst, key...)
}

// prefixEnd is the first key behind all that begin with prefix; nil: none.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const recordHeader = 8 + 4

// appendRecord wraps a checkpoint record: its sequence number in the task (8
// bytes), CRC32C over number and record (4), the record.
func appendRecord(dst []byte, seq uint64, record []byte) []byte {
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], seq)
	crc := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, record)
	dst = append(dst, head[:]...)
	dst = binary.BigEndian.AppendUint32(dst, crc)
	return append(dst, record...)
}

func splitRecord(b []byte) (seq uint64, record []byte, ok bool) {
	if len(b) < recordHeader {
		return 0, nil, false
	}
	seq, record = binary.BigEndian.Uint64(b), b[recordHeader:]
	crc := crc32.Update(crc32.Checksum(b[:8], castagnoli), castagnoli, record)
	return seq, record, crc == binary.BigEndian.Uint32(b[8:])
}
