// Package embedded implements the seam of package logclient over log/broker by
// direct calls, in the same process: no protocol, no copies of batches but the
// one into the page cache, no polling.
//
// It is not a consumer group: the data directory belongs to one process (LOCK),
// so that process is the sole member of each group and gets every partition.
// Positions are committed outside of group management; the generation is
// checked here.
//
// Log and members may be used from any goroutine, readers and writers by one at
// a time. It starts no goroutine; those of the broker are the broker's.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// defaultMaxMessageBytes is Kafka's default of max.message.bytes.
const defaultMaxMessageBytes = 1048588

// Log implements logclient.Log on one data directory.
type Log struct {
	broker   *broker.Broker
	owned    bool              // Close closes the broker too
	defaults map[string]string // topic configurations of the broker
	done     chan struct{}     // closed by Close
	closing  sync.Once
	joined   atomic.Int64 // members so far: their names are numbered

	mu      sync.Mutex
	members map[string]*member // by group
}

var _ logclient.Log = (*Log)(nil)

// Open opens or makes the data directory cfg.Dir. Close closes it.
func Open(cfg broker.Config) (*Log, error) {
	b, err := broker.Open(cfg)
	if err != nil {
		return nil, err
	}
	l := New(b)
	l.owned, l.defaults = true, cfg.TopicDefaults
	return l, nil
}

// New uses a broker that is open already and stays so after Close.
func New(b *broker.Broker) *Log {
	return &Log{broker: b, done: make(chan struct{}), members: map[string]*member{}}
}

// Broker is the broker beneath, for those who serve or verify it.
func (l *Log) Broker() *broker.Broker { return l.broker }

// Usage is broker.Broker.Usage.
func (l *Log) Usage() (used int64, free uint64, err error) { return l.broker.Usage() }

// Close implements logclient.Log: whoever waits gets ErrClosed.
func (l *Log) Close() error {
	var err error
	l.closing.Do(func() {
		close(l.done)
		if l.owned {
			err = l.broker.Close()
		}
	})
	return err
}

// live says whether the log may still be used.
func (l *Log) live() error {
	select {
	case <-l.done:
		return fmt.Errorf("embedded log: %w", logclient.ErrClosed)
	default:
		return nil
	}
}

// enter is what every call with a context begins with.
func (l *Log) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.live()
}

// Ensure implements logclient.Log.
func (l *Log) Ensure(ctx context.Context, specs []logclient.TopicSpec) ([]logclient.TopicInfo, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	for _, spec := range specs { // before anything is made
		if t, is := l.broker.Topic(spec.Name); is {
			if err := matches(spec, t); err != nil {
				return nil, err
			}
			if err := l.follow(spec, t); err != nil {
				return nil, err
			}
		}
	}
	infos := make([]logclient.TopicInfo, len(specs))
	for i, spec := range specs {
		t, err := l.ensure(spec)
		if err != nil {
			return nil, err
		}
		infos[i] = info(t)
	}
	return infos, nil
}

func (l *Log) ensure(spec logclient.TopicSpec) (broker.Topic, error) {
	if t, is := l.broker.Topic(spec.Name); is {
		return t, matches(spec, t)
	}
	t, err := l.broker.CreateTopic(broker.TopicSpec{Name: spec.Name, Partitions: spec.Partitions, Configs: spec.Configs})
	if errors.Is(err, broker.ErrTopicExists) { // somebody else was faster
		if t, is := l.broker.Topic(spec.Name); is {
			return t, matches(spec, t)
		}
	}
	if err != nil {
		return t, classified(fmt.Sprintf("create topic %s", spec.Name), err)
	}
	return t, nil
}

// follow alters a topic that is there and has other configurations than asked for.
func (l *Log) follow(spec logclient.TopicSpec, t broker.Topic) error {
	other := map[string]*string{}
	for name, v := range spec.Configs {
		if have, ok := t.Configs[name]; spec.Follow && (!ok || have != v) {
			other[name] = &v
		}
	}
	if len(other) == 0 {
		return nil
	}
	if err := l.broker.AlterTopic(spec.Name, other); err != nil {
		return classified(fmt.Sprintf("alter topic %s", spec.Name), err)
	}
	return nil
}

func matches(spec logclient.TopicSpec, t broker.Topic) error {
	if spec.Partitions != 0 && spec.Partitions != t.Partitions {
		return &logclient.TopicMismatchError{Topic: spec.Name, Have: t.Partitions, Expected: spec.Partitions}
	}
	return nil
}

func info(t broker.Topic) logclient.TopicInfo {
	return logclient.TopicInfo{Name: t.Name, ID: t.ID, Partitions: t.Partitions, CreatedMS: t.CreatedMS}
}

// Describe implements logclient.Log.
func (l *Log) Describe(ctx context.Context, topics []string) ([]logclient.TopicInfo, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	infos := make([]logclient.TopicInfo, len(topics))
	for i, name := range topics {
		infos[i].Name = name
		if t, is := l.broker.Topic(name); is {
			infos[i] = info(t)
		}
	}
	return infos, nil
}

// partition finds a partition of the broker.
func (l *Log) partition(tp record.TopicPartition) (*broker.Partition, error) {
	p, err := l.broker.Partition(tp)
	if err != nil {
		return nil, classified(fmt.Sprintf("%s-%d", tp.Topic, tp.Partition), err)
	}
	return p, nil
}

// Offsets implements logclient.Log.
func (l *Log) Offsets(ctx context.Context, tps []record.TopicPartition, at logclient.At) ([]logclient.OffsetEpoch, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	found := make([]logclient.OffsetEpoch, len(tps))
	for i, tp := range tps {
		p, err := l.partition(tp)
		if err != nil {
			return nil, err
		}
		if found[i], err = lookup(p, at); err != nil {
			return nil, classified(fmt.Sprintf("look up an offset of %s-%d", tp.Topic, tp.Partition), err)
		}
	}
	return found, nil
}

func lookup(p *broker.Partition, at logclient.At) (logclient.OffsetEpoch, error) {
	o := p.Offsets()
	switch at.Kind {
	case logclient.AtStart:
		return logclient.OffsetEpoch{Offset: o.Start, Epoch: record.NoLeaderEpoch}, nil
	case logclient.AtEnd:
		return withEpoch(p, o, o.End), nil
	case logclient.AtStable:
		return withEpoch(p, o, o.Stable), nil
	case logclient.AtTime:
		offset, _, err := p.OffsetForTime(at.Timestamp)
		return withEpoch(p, o, offset), err
	case logclient.AtEndOfEpoch:
		if at.Epoch < 0 {
			return logclient.OffsetEpoch{Offset: record.NoOffset, Epoch: record.NoLeaderEpoch}, nil
		}
		epoch, end := p.EndOfEpoch(at.Epoch)
		return logclient.OffsetEpoch{Offset: end, Epoch: epoch}, nil
	}
	return logclient.OffsetEpoch{}, fmt.Errorf("kind of offset %d, expected AtStart to AtEndOfEpoch", at.Kind)
}

// withEpoch adds the epoch of the record before offset.
func withEpoch(p *broker.Partition, o broker.Offsets, offset record.Offset) logclient.OffsetEpoch {
	found := logclient.OffsetEpoch{Offset: offset, Epoch: record.NoLeaderEpoch}
	if offset > o.Start {
		found.Epoch = p.EpochAt(offset - 1)
	}
	return found
}

// DeleteBefore implements logclient.Log.
func (l *Log) DeleteBefore(ctx context.Context, before map[record.TopicPartition]record.Offset) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	parts := make(map[*broker.Partition]record.Offset, len(before))
	for tp, offset := range before { // all are checked before the first is touched
		p, err := l.partition(tp)
		if err != nil {
			return err
		}
		if o := p.Offsets(); offset < 0 || offset > o.End {
			return &logclient.OffsetOutOfRangeError{TopicPartition: tp, Offset: offset, Start: o.Start, End: o.End}
		}
		parts[p] = offset
	}
	for p, offset := range parts {
		if _, err := p.DeleteBefore(offset); err != nil {
			tp := p.TopicPartition()
			return classified(fmt.Sprintf("delete records of %s-%d before %d", tp.Topic, tp.Partition, offset), err)
		}
	}
	return nil
}

// ClusterID implements logclient.Log.
func (l *Log) ClusterID() string { return l.broker.ClusterID() }

// CleanStart implements logclient.Log.
func (l *Log) CleanStart() bool { return l.broker.CleanStart() }

// Hold implements logclient.Log.
func (l *Log) Hold(tp record.TopicPartition, offset record.Offset) {
	if p, err := l.broker.Partition(tp); err == nil {
		p.Hold(offset)
	}
}
