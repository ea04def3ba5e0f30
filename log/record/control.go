package record

import (
	"encoding/binary"
	"fmt"
)

// ControlType is what a control record means; docs/format/batch.md, "Control records".
type ControlType int16

// The control types of transactions. Kafka has others (leader change,
// snapshot header and footer, KRaft version), which only its metadata log holds.
const (
	AbortMarker  ControlType = 0
	CommitMarker ControlType = 1
)

func (t ControlType) String() string {
	switch t {
	case AbortMarker:
		return "ABORT"
	case CommitMarker:
		return "COMMIT"
	}
	return fmt.Sprintf("control type %d", int16(t))
}

// Marker ends a producer's transaction in one partition.
type Marker struct {
	Type             ControlType
	CoordinatorEpoch int32 // of the coordinator that wrote it; a lower one later is a zombie's
}

const (
	controlVersion   = 0
	controlKeySize   = 4 // version, type
	markerValueSize  = 6 // version, coordinator epoch
	markerRecordSize = 1 + 6 + controlKeySize + markerValueSize
)

// ParseControlType reads the key of a control record of any type. Versions
// above 0 only append fields, so they are read too.
func ParseControlType(key []byte) (ControlType, error) {
	if len(key) < controlKeySize {
		return 0, markerError("control key", fmt.Sprintf("%d bytes", controlKeySize), len(key))
	}
	if version := int16(binary.BigEndian.Uint16(key)); version < 0 {
		return 0, markerError("control key version", ">= 0", version)
	}
	return ControlType(binary.BigEndian.Uint16(key[2:])), nil
}

// ParseMarker reads a record of a control batch as a transaction marker;
// ErrNotMarker if it is a control record of another type.
func ParseMarker(v *View) (Marker, error) {
	t, err := ParseControlType(v.Key)
	if err != nil {
		return Marker{}, err
	}
	if t != AbortMarker && t != CommitMarker {
		return Marker{}, &BatchError{
			BaseOffset: v.Offset, Field: "control type",
			Expected: "0 (abort) or 1 (commit)", Found: fmt.Sprint(int16(t)), Err: ErrNotMarker,
		}
	}
	if len(v.Value) < markerValueSize {
		return Marker{}, markerError("marker value", fmt.Sprintf("%d bytes", markerValueSize), len(v.Value))
	}
	if version := int16(binary.BigEndian.Uint16(v.Value)); version < 0 {
		return Marker{}, markerError("marker value version", ">= 0", version)
	}
	return Marker{Type: t, CoordinatorEpoch: int32(binary.BigEndian.Uint32(v.Value[2:]))}, nil
}

func markerError(field, expected string, found any) error {
	return &BatchError{BaseOffset: NoOffset, Field: field, Expected: expected, Found: fmt.Sprint(found), Err: ErrCorrupt}
}

// AppendMarkerBatch appends the control batch that ends the transaction of
// (id, epoch) at time ms. Base offset and leader epoch are for the log to stamp.
func AppendMarkerBatch(dst []byte, id ProducerID, epoch ProducerEpoch, m Marker, ms int64) []byte {
	at := len(dst)
	h := BatchHeader{
		Length: minBatchLength + markerRecordSize, LeaderEpoch: NoLeaderEpoch, Magic: magicV2,
		Attributes: Transactional | Control, BaseTimestamp: ms, MaxTimestamp: ms,
		ProducerID: id, ProducerEpoch: epoch, BaseSequence: NoSequence, Count: 1,
	}
	dst = append(dst, make([]byte, HeaderSize)...)
	h.put(dst[at:])
	dst = append(dst, 2*(markerRecordSize-1), 0, 0, 0, 2*controlKeySize)
	dst = binary.BigEndian.AppendUint16(dst, controlVersion)
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.Type))
	dst = append(dst, 2*markerValueSize)
	dst = binary.BigEndian.AppendUint16(dst, controlVersion)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.CoordinatorEpoch))
	dst = append(dst, 0)
	resetCRC(dst[at:])
	return dst
}
