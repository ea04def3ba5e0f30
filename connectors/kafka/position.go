package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const positionVersion = 1

// position is where a source goes on. See the package comment for its form.
type position struct {
	cluster string
	topic   string
	next    []int64 // by partition
}

func (p *position) encode() []byte {
	b := []byte{positionVersion}
	for _, s := range []string{p.cluster, p.topic} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(p.next)))
	for _, n := range p.next {
		b = binary.AppendVarint(b, n)
	}
	return b
}

var errPosition = errors.New("kafka: the position is damaged")

func decodePosition(b []byte) (p position, err error) {
	if len(b) == 0 || b[0] != positionVersion {
		return p, fmt.Errorf("%w or of another version: its first byte is %x, expected %d", errPosition, b[:min(1, len(b))], positionVersion)
	}
	b = b[1:]
	for _, s := range []*string{&p.cluster, &p.topic} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return p, errPosition
		}
		*s, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)) {
		return p, errPosition
	}
	b = b[size:]
	for range n {
		v, size := binary.Varint(b)
		if size <= 0 {
			return p, errPosition
		}
		p.next, b = append(p.next, v), b[size:]
	}
	if len(b) > 0 {
		return p, errPosition
	}
	return p, nil
}
