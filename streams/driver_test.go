package streams_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// driver runs a topology on one partition, as a task would: it hands records to
// the units, moves stream time, commits and restarts. What it sends is checked
// nowhere but in the tests that use it.
type driver struct {
	topo *topology.Topology
	subs []*subtask
	out  []sent
	late []string
	// dropped has an operator's name for each record that it had no use for.
	dropped []string
}

// sent is a record in an output topic, with bytes of its own.
type sent struct {
	processor.Record
	topic     string
	partition int32
}

// subtask is one sub-topology's task and the Host of its unit.
type subtask struct {
	d          *driver
	sub        topology.SubTopology
	unit       processor.Unit
	streamTime int64
	stores     []map[string]string // committed
	pending    []func()
	offset     int64
	// Of the last commit.
	frontier      []byte
	committedTime int64
}

func newDriver(b *streams.Builder) *driver {
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	d := &driver{topo: topo}
	for _, sub := range cut(topo) {
		s := &subtask{d: d, sub: sub, streamTime: processor.NoTime, committedTime: processor.NoTime}
		for range sub.Stores {
			s.stores = append(s.stores, map[string]string{})
		}
		d.subs = append(d.subs, s)
		s.start()
	}
	return d
}

// cut splits the graph at topics.
func cut(t *topology.Topology) (subs []topology.SubTopology) {
	group := make([]int, len(t.Nodes))
	for i := range group {
		group[i] = i
	}
	for _, n := range t.Nodes {
		for _, p := range n.Parents {
			from, to := max(group[n.ID], group[p]), min(group[n.ID], group[p])
			for i := range group {
				if group[i] == from {
					group[i] = to
				}
			}
		}
	}
	for _, g := range slices.Compact(slices.Sorted(slices.Values(group))) {
		sub := topology.SubTopology{ID: len(subs)}
		for _, n := range t.Nodes {
			if group[n.ID] != g {
				continue
			}
			sub.Nodes = append(sub.Nodes, n.ID)
			switch n.Kind {
			case topology.Source:
				sub.Sources = append(sub.Sources, n.ID)
			case topology.Sink:
				sub.Sinks = append(sub.Sinks, n.ID)
			}
			sub.Stores = append(sub.Stores, n.Stores...)
		}
		subs = append(subs, sub)
	}
	return subs
}

// start builds the unit from committed state.
func (s *subtask) start() {
	u, err := s.d.topo.Instantiate(s.sub, s)
	if err != nil {
		panic(err)
	}
	s.unit, s.streamTime, s.pending = u, s.committedTime, nil
	if err := u.Restore(s.streamTime, s.frontier); err != nil {
		panic(err)
	}
}

func (s *subtask) advance(t int64) {
	if t <= s.streamTime {
		return
	}
	s.streamTime = t
	if t >= s.unit.NextTime() {
		if err := s.unit.Advance(t); err != nil {
			panic(err)
		}
	}
}

// feed gives a record to whoever reads the topic.
func (d *driver) feed(topic string, repartition bool, r processor.Record) error {
	for _, s := range d.subs {
		for i, id := range s.sub.Sources {
			n := d.topo.Nodes[id]
			if n.Topic != topic || n.Repartition != repartition {
				continue
			}
			if n.EventTime {
				ts, err := s.unit.EventTime(i, &r)
				if err != nil {
					return err
				}
				r.Timestamp = ts
			}
			s.advance(max(r.Timestamp, r.StreamTime))
			r.StreamTime = max(r.StreamTime, r.Timestamp)
			if !repartition {
				r.StreamTime = s.streamTime
			}
			r.Topic, r.Offset = topic, s.offset
			s.offset++
			err := s.unit.Process(i, &r)
			clear(r.Key) // borrowed: gone after the call
			return err
		}
	}
	panic("nobody reads " + topic)
}

// send feeds a record of strings.
func (d *driver) send(topic, key, value string, at time.Duration) {
	r := processor.Record{Key: []byte(key), Value: []byte(value), Timestamp: at.Milliseconds(), StreamTime: processor.NoTime}
	if err := d.feed(topic, false, r); err != nil {
		panic(err)
	}
}

// advance moves stream time in all sub-topologies, first to last.
func (d *driver) advance(at time.Duration) {
	for _, s := range d.subs {
		s.advance(at.Milliseconds())
	}
}

// commit ends the transaction of all units, upstream first.
func (d *driver) commit() {
	for _, s := range d.subs {
		if err := s.unit.Flush(); err != nil {
			panic(err)
		}
	}
	for _, s := range d.subs {
		for _, apply := range s.pending {
			apply()
		}
		s.pending = nil
		s.unit.Committed()
		s.frontier, s.committedTime = s.unit.Frontier(nil), s.streamTime
	}
}

// restart commits and builds all units anew.
func (d *driver) restart() {
	d.commit()
	for _, s := range d.subs {
		s.start()
	}
}

func (s *subtask) Send(sink int, r *processor.Record, partition int32) error {
	n := s.d.topo.Nodes[s.sub.Sinks[sink]]
	c := *r
	c.Key, c.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = slices.Clone(c.Headers[i].Value)
	}
	if n.Repartition {
		return s.d.feed(n.Topic, true, c)
	}
	s.d.out = append(s.d.out, sent{c, n.Topic, partition})
	return nil
}

func (s *subtask) Partitions(int) int32 { return 6 }
func (s *subtask) CacheBytes() int64    { return 1 << 20 }

func (s *subtask) Backend(store int) state.Backend { return backend(s.stores[store]) }

func (s *subtask) Changelog(store int, key, value []byte) error {
	k, v, del := string(key), string(value), value == nil
	s.pending = append(s.pending, func() {
		if del {
			delete(s.stores[store], k)
		} else {
			s.stores[store][k] = v
		}
	})
	return nil
}

func (s *subtask) Expire(store int, startMS int64) error {
	end := string(state.AppendWindowStart(nil, startMS))
	s.pending = append(s.pending, func() {
		maps.DeleteFunc(s.stores[store], func(k, _ string) bool { return k < end })
	})
	return nil
}

func (s *subtask) Late(op string, keep bool, r *processor.Record) error {
	s.d.late = append(s.d.late, fmt.Sprintf("late %s keep=%v %s @%s", op, keep, r.Key, ms(r.Timestamp)))
	return nil
}

func (s *subtask) Dropped(op string) { s.d.dropped = append(s.d.dropped, op) }

type backend map[string]string

func (b backend) Get(key, dst []byte) ([]byte, bool, error) {
	v, ok := b[string(key)]
	return append(dst, v...), ok, nil
}

func (b backend) Range(from, to []byte, fn func(key, value []byte) bool) error {
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if k >= string(from) && (to == nil || k < string(to)) && !fn([]byte(k), []byte(b[k])) {
			break
		}
	}
	return nil
}

func ms(n int64) string { return (time.Duration(n) * time.Millisecond).String() }

// lines are the records of a topic as text, since the last call of drain.
func lines[K, V any](d *driver, topic string) (out []string) {
	keys, _ := serde.For[K](nil)
	vals, _ := serde.For[V](nil)
	for _, r := range d.out {
		if r.topic != topic {
			continue
		}
		line := "null"
		if r.Key != nil {
			k, err := keys.Decode(r.Key)
			line = fmt.Sprintf("%v", any(k))
			if err != nil {
				line = err.Error()
			}
		}
		if r.Value == nil {
			line += " = null"
		} else if v, err := vals.Decode(r.Value); err != nil {
			line += " = " + err.Error()
		} else {
			line += fmt.Sprintf(" = %v", any(v))
		}
		out = append(out, line+" @"+ms(r.Timestamp))
	}
	return out
}

// show prints a topic's records, for examples.
func show[K, V any](d *driver, topic string) {
	for _, l := range lines[K, V](d, topic) {
		fmt.Println(l)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got  %s\n want %s", what, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
}
