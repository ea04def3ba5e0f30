package restore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Checkpoint is the checkpoint record of one task (invariant I2): what the local
// database holds, in terms of the log. Format, version 2 (varints as in
// encoding/binary, strings and ids with their length before them):
//
//	version    byte    2
//	cluster    string  the log's cluster id
//	atMS       varint  when, by the wall clock
//	changelogs uvarint how many; each:
//	  topic     string, id 16 bytes, partition uvarint
//	  offset    varint  every committed record below it is in the database
//	  epoch     varint  leader epoch of the record before it
//	  windows   uvarint how many; each: start varint ms, first varint offset
//	position   string  the task's position record of the commit that this is the state of; not in
//	                   version 1, empty where every store has a changelog
type Checkpoint struct {
	Cluster    string
	AtMS       int64
	Changelogs []Changelog
	Position   []byte
}

// Changelog is one changelog partition of a Checkpoint.
type Changelog struct {
	Partition record.TopicPartition
	TopicID   [16]byte
	End       logclient.OffsetEpoch
	Firsts    map[int64]record.Offset // of a window store: where live windows begin in it
}

const version = 2

// Append encodes the record.
func (c *Checkpoint) Append(dst []byte) []byte {
	dst = append(dst, version)
	dst = appendString(dst, c.Cluster)
	dst = binary.AppendVarint(dst, c.AtMS)
	dst = binary.AppendUvarint(dst, uint64(len(c.Changelogs)))
	for i := range c.Changelogs {
		l := &c.Changelogs[i]
		dst = appendString(dst, l.Partition.Topic)
		dst = append(dst, l.TopicID[:]...)
		dst = binary.AppendUvarint(dst, uint64(l.Partition.Partition))
		dst = binary.AppendVarint(dst, int64(l.End.Offset))
		dst = binary.AppendVarint(dst, int64(l.End.Epoch))
		dst = binary.AppendUvarint(dst, uint64(len(l.Firsts)))
		for _, w := range slices.Sorted(maps.Keys(l.Firsts)) {
			dst = binary.AppendVarint(dst, w)
			dst = binary.AppendVarint(dst, int64(l.Firsts[w]))
		}
	}
	return appendString(dst, c.Position)
}

func appendString[S string | []byte](dst []byte, s S) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// ErrCheckpoint says that a checkpoint record cannot be read.
var ErrCheckpoint = errors.New("unreadable checkpoint record")

// DecodeCheckpoint decodes a record.
func DecodeCheckpoint(b []byte) (*Checkpoint, error) {
	d := &decoder{b: b}
	v := d.take(1)[0]
	if d.bad || v == 0 || v > version {
		return nil, fmt.Errorf("%w: not of version 1 to %d", ErrCheckpoint, version)
	}
	c := &Checkpoint{Cluster: string(d.string()), AtMS: d.varint()}
	for range d.count(22) {
		l := Changelog{Firsts: map[int64]record.Offset{}}
		l.Partition.Topic = string(d.string())
		copy(l.TopicID[:], d.take(16))
		l.Partition.Partition = record.Partition(d.uvarint() & 0x7fffffff)
		l.End = logclient.OffsetEpoch{Offset: record.Offset(d.varint()), Epoch: record.LeaderEpoch(d.varint())}
		for range d.count(2) {
			w := d.varint()
			l.Firsts[w] = record.Offset(d.varint())
		}
		c.Changelogs = append(c.Changelogs, l)
	}
	if v > 1 {
		if position := d.string(); len(position) > 0 {
			c.Position = append([]byte(nil), position...)
		}
	}
	if d.bad || len(d.b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes, not a whole number of fields", ErrCheckpoint, len(b))
	}
	return c, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.bad, d.b = true, nil
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) count(size int) int {
	v := d.uvarint()
	if v > uint64(len(d.b)/size) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(v)
}

func (d *decoder) string() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	return d.take(int(n))
}
