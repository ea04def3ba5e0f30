package task

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/processor"
)

// PositionRecord is what a task writes to the positions topic in every one of
// its transactions: where it stands in its inputs and in time. With the stores'
// changelogs it is the task's whole committed state.
//
// Its key is PositionKey. Its value, version 2 (all numbers are varints as in
// encoding/binary, signed ones zigzag; strings have their length before them):
//
//	version     byte     2
//	streamTime  varint   ms; the least int64 before the first record
//	maxEvent    varint   ms; the greatest timestamp seen in any input
//	sent        varint   ms; the last watermark sent downstream
//	flags       byte     1: a watermark was sent; 2: the last said "idle"
//	decision    byte     0 none, 1 idle, 2 end of input: why time last rose without a record
//	decided     varint   ms; the stream time it rose to
//	inputs      uvarint  how many; each:
//	  topic     string
//	  partition uvarint
//	  offset    varint   next to read
//	  flags     byte     1: had a record
//	  time      varint   ms; the greatest timestamp seen
//	  upstream  uvarint  how many; each: sub uvarint, partition uvarint, state byte, time varint,
//	                     next varint (not in version 1)
//	frontier    bytes    uvarint length, then Unit.Frontier
type PositionRecord struct {
	StreamTime int64
	MaxEvent   int64
	Sent       int64
	SentOnce   bool
	SentIdle   bool
	Decision   Decision
	Decided    int64
	Inputs     []InputPosition
	Frontier   []byte
}

// Decision says why stream time last rose without a record.
type Decision uint8

const (
	NoDecision Decision = iota
	IdleDecision
	EndDecision
)

// InputPosition is one input partition's part of a PositionRecord.
type InputPosition struct {
	Topic     string
	Partition record.Partition
	Offset    record.Offset
	Seen      bool  // it had a record
	Time      int64 // the greatest timestamp seen
	Upstream  []UpstreamTime
}

// UpstreamTime is what an upstream task last said of its time.
type UpstreamTime struct {
	Task  plan.TaskID
	State UpstreamState
	Time  int64
	// Next, of an input that is merged with others, is the first offset of what
	// the task sent that was not processed: at least the input's Offset.
	Next record.Offset
}

// UpstreamState says what is known of an upstream task.
type UpstreamState uint8

const (
	Unheard UpstreamState = iota // nothing: time waits for it
	Idle                         // it never had a record and does not hold time back
	Heard                        // Time is its stream time
)

const positionVersion = 2

// PositionKey is the key of a task's position record.
func PositionKey(id plan.TaskID) string { return "task/" + id.String() }

// Append encodes the record.
func (p *PositionRecord) Append(dst []byte) []byte {
	dst = append(dst, positionVersion)
	dst = binary.AppendVarint(dst, p.StreamTime)
	dst = binary.AppendVarint(dst, p.MaxEvent)
	dst = binary.AppendVarint(dst, p.Sent)
	dst = append(dst, bit(p.SentOnce, 1)|bit(p.SentIdle, 2), byte(p.Decision))
	dst = binary.AppendVarint(dst, p.Decided)
	dst = binary.AppendUvarint(dst, uint64(len(p.Inputs)))
	for i := range p.Inputs {
		in := &p.Inputs[i]
		dst = binary.AppendUvarint(dst, uint64(len(in.Topic)))
		dst = append(dst, in.Topic...)
		dst = binary.AppendUvarint(dst, uint64(in.Partition))
		dst = binary.AppendVarint(dst, int64(in.Offset))
		dst = append(dst, bit(in.Seen, 1))
		dst = binary.AppendVarint(dst, in.Time)
		dst = binary.AppendUvarint(dst, uint64(len(in.Upstream)))
		for _, u := range in.Upstream {
			dst = binary.AppendUvarint(dst, uint64(u.Task.Sub))
			dst = binary.AppendUvarint(dst, uint64(u.Task.Partition))
			dst = append(dst, byte(u.State))
			dst = binary.AppendVarint(dst, u.Time)
			dst = binary.AppendVarint(dst, int64(u.Next))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.Frontier)))
	return append(dst, p.Frontier...)
}

func bit(b bool, v byte) byte {
	if b {
		return v
	}
	return 0
}

var errShort = errors.New("it ends early")

// DecodePosition decodes a position record.
func DecodePosition(b []byte) (*PositionRecord, error) {
	d := &decoder{b: b}
	version := d.byte()
	if d.err == nil && (version == 0 || version > positionVersion) {
		return nil, fmt.Errorf("position record of version %d, this program knows those to %d: run a newer millstream", version, positionVersion)
	}
	p := &PositionRecord{StreamTime: d.varint(), MaxEvent: d.varint(), Sent: d.varint()}
	flags := d.byte()
	p.SentOnce, p.SentIdle = flags&1 != 0, flags&2 != 0
	p.Decision, p.Decided = Decision(d.byte()), d.varint()
	for range d.count(6) {
		in := InputPosition{Topic: string(d.bytes()), Partition: record.Partition(d.uint31()), Offset: record.Offset(d.varint())}
		in.Seen, in.Time = d.byte()&1 != 0, d.varint()
		for range d.count(4) {
			u := UpstreamTime{
				Task:  plan.TaskID{Sub: int(d.uint31()), Partition: int32(d.uint31())},
				State: UpstreamState(d.byte()), Time: d.varint(),
			}
			if version > 1 {
				u.Next = record.Offset(d.varint())
			}
			in.Upstream = append(in.Upstream, u)
		}
		p.Inputs = append(p.Inputs, in)
	}
	p.Frontier = append([]byte(nil), d.bytes()...)
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%d bytes follow its end", len(d.b))
	}
	if d.err != nil {
		return nil, fmt.Errorf("position record of %d bytes: %w", len(b), d.err)
	}
	return p, nil
}

// decoder takes a record apart; after an error everything is zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errShort
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint31() uint64 {
	v := d.uvarint()
	if v > 1<<31-1 {
		d.err = fmt.Errorf("number %d is too large", v)
		return 0
	}
	return v
}

// count reads how many items follow, each of at least size bytes.
func (d *decoder) count(size int) int {
	v := d.uvarint()
	if v > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(v)
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

// fresh is the record of a task that never ran.
func fresh() *PositionRecord {
	return &PositionRecord{StreamTime: processor.NoTime, MaxEvent: processor.NoTime, Sent: processor.NoTime, Decided: processor.NoTime}
}
