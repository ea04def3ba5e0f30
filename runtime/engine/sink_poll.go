package engine

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// polled are the records of one poll, copied out of it, so that its memory goes
// back at once while the other system takes its time.
//
// Invariant: places[i] is where records[i] stands in the log; records that are
// meant for another sink are in neither. ends are where the poll as a whole ends.
type polled struct {
	batch   connectors.Batch // the records' memory
	records []connectors.Record
	places  []place
	ends    logclient.Positions
	names   map[string]string // of headers: a record's point into the poll's memory
}

// maxNames bounds the names that are remembered.
const maxNames = 1000

// own makes the names of headers outlive the poll.
func (p *polled) own(hs []record.Header) {
	for i := range hs {
		name, ok := p.names[hs[i].Key]
		if !ok {
			name = strings.Clone(hs[i].Key)
			if len(p.names) >= maxNames || p.names == nil {
				p.names = map[string]string{}
			}
			p.names[name] = name
		}
		hs[i].Key = name
	}
}

// place is a record's own: a dead letter that was put back appears to its sink
// under the offset that it had first.
type place struct {
	offset record.Offset
	epoch  record.LeaderEpoch
}

func (p *polled) reset() {
	p.batch.Reset()
	clear(p.records)
	p.records, p.places = p.records[:0], p.places[:0]
	p.ends = logclient.Positions{}
}

// take copies the records of a poll and releases it; at is where the next one begins.
func (p *polled) take(batches []logclient.Batch, at map[record.TopicPartition]record.Offset, sink string) error {
	p.reset()
	var v record.View
	var err error
	for _, b := range batches {
		tp := b.TopicPartition()
		for b.Next(&v) {
			r := connectors.Record{View: record.View{Offset: v.Offset}, Topic: tp.Topic, Partition: tp.Partition}
			if len(v.Headers) > 0 && !putBack(&r, &v, sink) {
				continue
			}
			p.own(v.Headers)
			p.batch.Add(connectors.Out{Key: v.Key, Value: v.Value, Headers: v.Headers, Timestamp: v.Timestamp})
			p.records = append(p.records, r)
			p.places = append(p.places, place{v.Offset, b.Epoch()})
		}
		if b.Err() != nil && err == nil {
			err = fmt.Errorf("read %s-%d: %w", tp.Topic, tp.Partition, b.Err())
		}
		at[tp] = b.NextOffset()
		p.ends[tp] = logclient.Position{Offset: b.NextOffset(), Epoch: b.Epoch()}
		b.Release()
	}
	for i, o := range p.batch.Records() {
		r := &p.records[i]
		r.Key, r.Value, r.Headers, r.Timestamp = o.Key, o.Value, o.Headers, o.Timestamp
	}
	return err
}

// putBack gives a dead letter that is tried again its first coordinates, and
// takes the headers of that away. It is false if the record is another sink's.
func putBack(r *connectors.Record, v *record.View, sink string) bool {
	mine, marked := false, false
	for i := range v.Headers {
		if v.Headers[i].Key != connectors.HeaderRetryFor {
			continue
		}
		if name, ok := strings.CutSuffix(string(v.Headers[i].Value), "@"+r.Topic); ok {
			mine, marked = name == sink, true
		}
	}
	if !marked {
		return true
	}
	if !mine {
		return false
	}
	own := v.Headers[:0] // v's own memory until the next record
	for _, h := range v.Headers {
		switch h.Key {
		case connectors.HeaderPartition:
			if n, err := strconv.ParseInt(string(h.Value), 10, 32); err == nil {
				r.Partition = record.Partition(n)
			}
		case connectors.HeaderOffset:
			if n, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil {
				r.Offset = record.Offset(n)
			}
		case connectors.HeaderRetryFor:
		default:
			own = append(own, h)
		}
	}
	v.Headers = own
	return true
}

// passed is where records[:n] of the poll end, as positions to commit.
func (p *polled) passed(from, n int, next logclient.Positions) {
	if n == len(p.records) {
		for tp, end := range p.ends {
			next[tp] = end
		}
		return
	}
	for i := from; i < n; i++ {
		last := i+1 == n || p.records[i+1].Partition != p.records[i].Partition
		if last {
			tp := record.TopicPartition{Topic: p.records[i].Topic, Partition: p.records[i].Partition}
			next[tp] = logclient.Position{Offset: p.places[i].offset + 1, Epoch: p.places[i].epoch}
		}
	}
}
