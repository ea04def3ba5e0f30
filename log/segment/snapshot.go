package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

const (
	snapshotVersion    = 1
	snapshotHeaderSize = 10 // version 2, crc 4, count 4
	snapshotEntrySize  = 46
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendSnapshot encodes producer states, which are sorted by id;
// docs/format/snapshot.md. Kafka's schema is ProducerSnapshot version 1.
func appendSnapshot(dst []byte, states []ProducerState) []byte {
	slices.SortFunc(states, func(a, b ProducerState) int { return int(min(max(a.ProducerID-b.ProducerID, -1), 1)) })
	at := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(states)))
	for _, s := range states {
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.ProducerID))
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.Epoch))
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.LastSequence))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.LastOffset))
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.offsetDelta))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.LastTimestamp))
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.CoordinatorEpoch))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.TxnFirst))
	}
	binary.BigEndian.PutUint32(dst[at+2:], crc32.Checksum(dst[at+6:], castagnoli))
	return dst
}

// parseSnapshot decodes a snapshot file's bytes. Only the CRC vouches for them.
func parseSnapshot(path string, b []byte) ([]ProducerState, error) {
	if len(b) < snapshotHeaderSize {
		return nil, formatError(path, 0, fmt.Sprintf("%d bytes of header", snapshotHeaderSize), len(b))
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return nil, formatError(path, 0, "version 1", v)
	}
	if stored, sum := binary.BigEndian.Uint32(b[2:]), crc32.Checksum(b[6:], castagnoli); stored != sum {
		return nil, formatError(path, 2, fmt.Sprintf("crc 0x%08x as stored", stored), fmt.Sprintf("0x%08x over the bytes", sum))
	}
	n := int64(binary.BigEndian.Uint32(b[6:]))
	if int64(len(b)) != snapshotHeaderSize+n*snapshotEntrySize {
		return nil, formatError(path, 6, fmt.Sprintf("entries for %d bytes", len(b)), n)
	}
	states := make([]ProducerState, 0, n)
	for b = b[snapshotHeaderSize:]; len(b) > 0; b = b[snapshotEntrySize:] {
		states = append(states, ProducerState{
			ProducerID:       record.ProducerID(binary.BigEndian.Uint64(b)),
			Epoch:            record.ProducerEpoch(binary.BigEndian.Uint16(b[8:])),
			LastSequence:     int32(binary.BigEndian.Uint32(b[10:])),
			LastOffset:       record.Offset(binary.BigEndian.Uint64(b[14:])),
			offsetDelta:      int32(binary.BigEndian.Uint32(b[22:])),
			LastTimestamp:    int64(binary.BigEndian.Uint64(b[26:])),
			CoordinatorEpoch: int32(binary.BigEndian.Uint32(b[34:])),
			TxnFirst:         record.Offset(binary.BigEndian.Uint64(b[38:])),
		})
	}
	return states, nil
}
