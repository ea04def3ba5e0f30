package broker

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// What makes and removes partitions' directories. Each such change stands in the
// metadata as pending while it is done, so that a crash leaves all of it or none:
// docs/format/data-directory.md, "millstream.metadata".

// makePartitions makes a topic's partitions. b.metaMu is held.
func (b *Broker) makePartitions(ts *topicState) error {
	return b.growTopic(ts, 0, func(m *metadata) {
		m.Topics = append(slices.Clip(m.Topics), ts.entry)
		slices.SortFunc(m.Topics, func(a, c topicEntry) int { return cmp.Compare(a.Name, c.Name) })
	})
}

// growTopic makes the directories of ts's partitions from the given one on,
// between two writes of the metadata; settle says in the second what there is.
// b.metaMu is held.
func (b *Broker) growTopic(ts *topicState, from int32, settle func(*metadata)) (err error) {
	for n := from; n < ts.entry.Partitions; n++ {
		dir := b.partitionDir(record.TopicPartition{Topic: ts.entry.Name, Partition: record.Partition(n)})
		if _, err := b.fs.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is there, but not a partition that this broker made: move it away", ErrInvalidTopic, dir)
		}
	}
	entry := ts.entry
	entry.From = from
	m := *b.meta
	m.Pending = append(slices.Clip(m.Pending), entry)
	if err := b.writeMeta(&m); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.undoAdd(ts, from)
		}
	}()
	for n := from; n < ts.entry.Partitions; n++ {
		ts.newPartition(b, record.Partition(n))
	}
	added := ts.parts[from:]
	errs := make([]error, len(added))
	inParallel(b.cfg.OpenParallelism, len(added), func(i int) {
		p := added[i]
		l, _, err := segment.Open(p.logConfig(), segment.OpenOptions{Clean: true, Now: b.nowMS()})
		if err != nil {
			errs[i] = fmt.Errorf("%w: %w", ErrStorage, p.wrap(err))
			return
		}
		p.log.Store(l)
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := b.fs.SyncDir(b.cfg.Dir); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	m = *b.meta
	m.Pending = without(m.Pending, ts.entry.Name)
	settle(&m)
	return b.writeMeta(&m)
}

// undoAdd removes what was made; what cannot be removed now, Open removes.
func (b *Broker) undoAdd(ts *topicState, from int32) {
	for _, p := range ts.parts[min(int(from), len(ts.parts)):] {
		p.gone.Store(true)
		if l := p.log.Load(); l != nil {
			_ = l.Delete()
		} else {
			_ = b.fs.RemoveAll(b.partitionDir(p.tp))
		}
	}
	m := *b.meta
	m.Pending = without(m.Pending, ts.entry.Name)
	_ = b.writeMeta(&m)
}

func without(entries []topicEntry, name string) []topicEntry {
	return slices.DeleteFunc(slices.Clone(entries), func(t topicEntry) bool { return t.Name == name })
}

// CreatePartitions makes a topic's partitions total in number; they only ever
// become more. When it returns the new ones are on disk. Records stay where they
// are, so keys that hash to another partition now are in two.
//
// Errors: ErrUnknownTopic, ErrInvalidTopic (the broker's own topics), ErrInvalidPartitions, ErrStorage.
func (b *Broker) CreatePartitions(topic string, total int32, validateOnly bool) error {
	if err := b.alive(); err != nil {
		return err
	}
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	ts := b.topicState(topic)
	switch {
	case ts == nil:
		return fmt.Errorf("%w: %s", ErrUnknownTopic, topic)
	case internal(topic):
		return fmt.Errorf("%w: the number of partitions of %s says where groups and transactions live: it cannot be changed", ErrInvalidTopic, topic)
	case total == ts.entry.Partitions:
		return fmt.Errorf("%w: topic %s has %d already", ErrInvalidPartitions, topic, total)
	case total < ts.entry.Partitions:
		return fmt.Errorf("%w: topic %s currently has %d partitions, which is higher than the requested %d", ErrInvalidPartitions, topic, ts.entry.Partitions, total)
	case total > maxPartitions:
		return fmt.Errorf("%w: topic %s: %d, expected at most %d", ErrInvalidPartitions, topic, total, maxPartitions)
	case validateOnly:
		return nil
	}
	entry := ts.entry
	entry.Partitions = total
	n := &topicState{entry: entry, id: ts.id, set: ts.set, parts: slices.Clip(ts.parts)}
	err := b.growTopic(n, ts.entry.Partitions, func(m *metadata) {
		m.Topics = slices.Clone(m.Topics)
		for i := range m.Topics {
			if m.Topics[i].Name == topic {
				m.Topics[i] = entry
			}
		}
	})
	if err != nil {
		return err
	}
	b.publish(n)
	return nil
}

// DeleteTopic removes a topic with its data and its group offsets. Who reads it
// finishes the file that it has open and then gets ErrClosed.
func (b *Broker) DeleteTopic(name string) error {
	if err := b.alive(); err != nil {
		return err
	}
	if internal(name) {
		return fmt.Errorf("%w: %s is the broker's own", ErrInvalidTopic, name)
	}
	ts, err := b.removeTopic(name)
	if err != nil {
		return err
	}
	return b.groups.forgetTopic(name, ts.id)
}

func (b *Broker) removeTopic(name string) (*topicState, error) {
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	ts := b.topicState(name)
	if ts == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	m := *b.meta
	m.Topics = without(m.Topics, name)
	m.Pending = append(slices.Clip(m.Pending), ts.entry)
	if err := b.writeMetaAnyway(&m); err != nil { // from here on it is deleted
		return nil, err
	}
	b.mu.Lock()
	delete(b.topics, name)
	b.topicsVersion.Add(1)
	delete(b.byID, ts.id)
	b.mu.Unlock()
	errs := make([]error, len(ts.parts))
	inParallel(b.cfg.OpenParallelism, len(ts.parts), func(i int) {
		p := ts.parts[i]
		p.gone.Store(true)
		if l := p.log.Load(); l != nil {
			errs[i] = p.wrap(l.Delete())
		} else {
			errs[i] = p.wrap(b.fs.RemoveAll(b.partitionDir(p.tp)))
		}
		p.watchers.wake(true)
	})
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("topic %s is deleted, but not all of its files; the next start removes them: %w", name, err)
	}
	if err := b.forgetCheckpoints(name, 0); err != nil {
		return nil, err
	}
	m = *b.meta
	m.Pending = without(m.Pending, name)
	return ts, b.writeMetaAnyway(&m)
}
