package broker

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"unicode/utf16"

	"github.com/millstream-io/millstream/log/internal/config"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// Names of the topics that the coordinators write.
const (
	offsetsTopic     = "__consumer_offsets"
	transactionTopic = "__transaction_state"
)

// internalConfigs of the coordinators' topics, as Kafka's.
var internalConfigs = map[string]string{
	config.CleanupPolicy: "compact", config.SegmentBytes: "104857600", config.MaxMessageBytes: "16777216", config.CompressionType: "producer",
}

// Topic describes a topic.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions int32
	CreatedMS  int64 // milliseconds since the Unix epoch
	Internal   bool
	Configs    map[string]string // what was set, not the defaults
}

// TopicSpec asks for a topic. Partitions 0 is the broker's default.
type TopicSpec struct {
	Name       string
	Partitions int32
	Configs    map[string]string
}

// topicState is a topic that is open. Its entry is replaced, never changed.
type topicState struct {
	entry topicEntry
	id    [16]byte
	parts []*Partition
	set   *topicSettings
}

func internal(name string) bool { return name == offsetsTopic || name == transactionTopic }

func (b *Broker) newTopicState(t topicEntry) (*topicState, error) {
	id, err := parseHexID(t.ID)
	if err != nil {
		return nil, err
	}
	defaults := &b.settings.Load().topics
	if internal(t.Name) {
		defaults = &b.settings.Load().internalTopics
	}
	if len(t.Configs) == 0 {
		return &topicState{entry: t, id: id, set: defaults}, nil
	}
	set, err := resolveConfig(t.Name, t.Configs, *defaults)
	return &topicState{entry: t, id: id, set: &set}, err
}

func (t *topicState) newPartition(b *Broker, n record.Partition) *Partition {
	p := &Partition{b: b, tp: record.TopicPartition{Topic: t.entry.Name, Partition: n}, topicID: t.id}
	p.settings.Store(t.set)
	p.hold.Store(int64(record.NoOffset))
	t.parts = append(t.parts, p)
	return p
}

func (t *topicState) describe() Topic {
	return Topic{Name: t.entry.Name, ID: t.id, Partitions: t.entry.Partitions, CreatedMS: t.entry.CreatedMS,
		Internal: internal(t.entry.Name), Configs: maps.Clone(t.entry.Configs)}
}

// CreateTopic makes a topic; ErrTopicExists if there is one. When it returns
// the topic is on disk. Names that begin with __ are the broker's.
func (b *Broker) CreateTopic(spec TopicSpec) (Topic, error) {
	if internal(spec.Name) {
		return Topic{}, fmt.Errorf("%w: %s is made by the broker at first use", ErrInvalidTopic, spec.Name)
	}
	return b.createTopic(spec)
}

func (b *Broker) createTopic(spec TopicSpec) (Topic, error) {
	if err := b.alive(); err != nil {
		return Topic{}, err
	}
	if spec.Partitions == 0 {
		spec.Partitions = b.cfg.DefaultPartitions
	}
	if err := checkName(spec.Name); err != nil {
		return Topic{}, err
	}
	if spec.Partitions < 0 || spec.Partitions > 100_000 {
		return Topic{}, fmt.Errorf("%w: topic %s: %d partitions, expected 1 to 100000", ErrInvalidTopic, spec.Name, spec.Partitions)
	}
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	if _, ok := b.Topic(spec.Name); ok {
		return Topic{}, fmt.Errorf("%w: %s", ErrTopicExists, spec.Name)
	}
	id := b.cfg.NewID()
	entry := topicEntry{Name: spec.Name, ID: hex.EncodeToString(id[:]), Partitions: spec.Partitions, CreatedMS: b.nowMS(), Configs: maps.Clone(spec.Configs)}
	ts, err := b.newTopicState(entry)
	if err != nil {
		return Topic{}, err
	}
	if err := b.makePartitions(ts); err != nil {
		return Topic{}, err
	}
	b.mu.Lock()
	b.topics[spec.Name], b.byID[ts.id] = ts, ts
	b.mu.Unlock()
	return ts.describe(), nil
}

// makePartitions makes the directories between two writes of the metadata, so
// that a crash leaves either a whole topic or one that Open removes. b.metaMu is held.
func (b *Broker) makePartitions(ts *topicState) (err error) {
	for n := range ts.entry.Partitions {
		dir := b.partitionDir(record.TopicPartition{Topic: ts.entry.Name, Partition: record.Partition(n)})
		if _, err := b.fs.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is there, but not a partition that this broker made: move it away", ErrInvalidTopic, dir)
		}
	}
	m := *b.meta
	m.Pending = append(slices.Clip(m.Pending), ts.entry)
	if err := b.writeMeta(&m); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.undoCreate(ts)
		}
	}()
	for n := range ts.entry.Partitions {
		p := ts.newPartition(b, record.Partition(n))
		l, _, err := segment.Open(p.logConfig(), segment.OpenOptions{Clean: true, Now: b.nowMS()})
		if err != nil {
			return p.wrap(err)
		}
		p.log.Store(l)
	}
	if err := b.fs.SyncDir(b.cfg.Dir); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	m = *b.meta
	m.Pending = without(m.Pending, ts.entry.Name)
	m.Topics = append(slices.Clip(m.Topics), ts.entry)
	slices.SortFunc(m.Topics, func(a, c topicEntry) int {
		if a.Name < c.Name {
			return -1
		}
		return 1
	})
	return b.writeMeta(&m)
}

// undoCreate removes what was made; what cannot be removed now, Open removes.
func (b *Broker) undoCreate(ts *topicState) {
	for _, p := range ts.parts {
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

// EnsureTopic makes a topic unless there is one, whose configuration is left alone.
func (b *Broker) EnsureTopic(spec TopicSpec) (Topic, error) {
	if t, ok := b.Topic(spec.Name); ok {
		return t, nil
	}
	t, err := b.CreateTopic(spec)
	if errors.Is(err, ErrTopicExists) {
		if t, ok := b.Topic(spec.Name); ok {
			return t, nil
		}
	}
	return t, err
}

// DeleteTopic removes a topic with its data and its group offsets.
func (b *Broker) DeleteTopic(name string) error {
	if err := b.alive(); err != nil {
		return err
	}
	if internal(name) {
		return fmt.Errorf("%w: %s is the broker's own", ErrInvalidTopic, name)
	}
	if err := b.removeTopic(name); err != nil {
		return err
	}
	return b.groups.forgetTopic(name)
}

func (b *Broker) removeTopic(name string) error {
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	b.mu.RLock()
	ts := b.topics[name]
	b.mu.RUnlock()
	if ts == nil {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	m := *b.meta
	m.Topics = without(m.Topics, name)
	m.Pending = append(slices.Clip(m.Pending), ts.entry)
	if err := b.writeMeta(&m); err != nil { // from here on it is deleted
		return err
	}
	b.mu.Lock()
	delete(b.topics, name)
	delete(b.byID, ts.id)
	b.mu.Unlock()
	for _, p := range ts.parts {
		p.gone.Store(true)
		var err error
		if l := p.log.Load(); l != nil {
			err = l.Delete()
		} else {
			err = b.fs.RemoveAll(b.partitionDir(p.tp))
		}
		p.watchers.wake(true)
		if err != nil {
			return fmt.Errorf("topic %s is deleted, but not all of its files; the next start removes them: %w", name, p.wrap(err))
		}
	}
	if err := b.forgetCheckpoints(name); err != nil {
		return err
	}
	m = *b.meta
	m.Pending = without(m.Pending, name)
	return b.writeMeta(&m)
}

// AlterTopic sets configurations; a nil value puts the default back.
func (b *Broker) AlterTopic(name string, set map[string]*string) error {
	if err := b.alive(); err != nil {
		return err
	}
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	b.mu.RLock()
	ts := b.topics[name]
	b.mu.RUnlock()
	if ts == nil {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	configs := maps.Clone(ts.entry.Configs)
	if configs == nil {
		configs = map[string]string{}
	}
	for k, v := range set {
		if config.Topic.Get(k) == nil {
			return &UnknownConfigError{Topic: name, Name: k, Nearest: config.Topic.Nearest(k)}
		}
		if v == nil {
			delete(configs, k)
		} else {
			configs[k] = *v
		}
	}
	return b.setTopicConfigs(ts, configs, false)
}

// topicState finds a topic; nil if there is none.
func (b *Broker) topicState(name string) *topicState {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.topics[name]
}

// Topic describes one topic; false if there is none.
func (b *Broker) Topic(name string) (Topic, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ts := b.topics[name]; ts != nil {
		return ts.describe(), true
	}
	return Topic{}, false
}

// Topics describes all topics, ordered by name.
func (b *Broker) Topics() []Topic {
	b.mu.RLock()
	defer b.mu.RUnlock()
	out := make([]Topic, 0, len(b.topics))
	for _, name := range slices.Sorted(maps.Keys(b.topics)) {
		out = append(out, b.topics[name].describe())
	}
	return out
}

// Partition finds a partition; ErrUnknownTopic if there is none.
func (b *Broker) Partition(tp record.TopicPartition) (*Partition, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	ts := b.topics[tp.Topic]
	if ts == nil || tp.Partition < 0 || int(tp.Partition) >= len(ts.parts) {
		return nil, fmt.Errorf("%w: %s-%d", ErrUnknownTopic, tp.Topic, tp.Partition)
	}
	return ts.parts[tp.Partition], nil
}

// allPartitions lists every partition, ordered by topic and number.
func (b *Broker) allPartitions() []*Partition {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var out []*Partition
	for _, name := range slices.Sorted(maps.Keys(b.topics)) {
		out = append(out, b.topics[name].parts...)
	}
	return out
}

func (b *Broker) partitionsOf(topic string) []*Partition {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ts := b.topics[topic]; ts != nil {
		return slices.Clone(ts.parts)
	}
	return nil
}

// ensureInternal makes a coordinator's topic at first use.
func (b *Broker) ensureInternal(name string) error {
	b.mu.RLock()
	ts := b.topics[name]
	b.mu.RUnlock()
	if ts != nil {
		return nil
	}
	n := b.cfg.InternalPartitions
	if name == transactionTopic {
		n = b.cfg.TransactionPartitions
	}
	_, err := b.createTopic(TopicSpec{Name: name, Partitions: n, Configs: internalConfigs})
	if errors.Is(err, ErrTopicExists) {
		return nil
	}
	return err
}

// internalPartition is the coordinator's partition of a group or transactional id.
func (b *Broker) internalPartition(topic, key string) (*Partition, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	ts := b.topics[topic]
	if ts == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, topic)
	}
	return ts.parts[int(javaHash(key)&0x7fffffff)%len(ts.parts)], nil
}

// javaHash is java.lang.String.hashCode, by which Kafka spreads groups and
// transactional ids over the coordinators' partitions.
func javaHash(s string) (h int32) {
	for _, u := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(u)
	}
	return h
}

// coordinatorEpoch is the leader epoch of an id's partition of __transaction_state.
func (b *Broker) coordinatorEpoch(id string) int32 {
	p, err := b.internalPartition(transactionTopic, id)
	if err != nil {
		return 0
	}
	return int32(max(p.Offsets().Epoch, 0))
}

// producerIDBlock is how many producer ids one write of the metadata reserves.
const producerIDBlock = 1000

// freshProducerID hands out a producer id that was never handed out before,
// whatever crashes: the block is on disk before its first id is used.
func (b *Broker) freshProducerID() (record.ProducerID, error) {
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	if b.nextID == b.meta.NextProducerID {
		m := *b.meta
		m.NextProducerID += producerIDBlock
		if err := b.writeMeta(&m); err != nil {
			return record.NoProducerID, err
		}
	}
	b.nextID++
	return b.nextID - 1, nil
}

// appendRecords appends records of a coordinator in one batch, inside the
// producer's transaction if one is given.
func (b *Broker) appendRecords(p *Partition, l *segment.Log, views []record.View, txnOf *ProducerIdentity) (segment.AppendResult, error) {
	builder := record.NewBuilder()
	opt := segment.AppendOptions{Now: b.nowMS()}
	if txnOf != nil {
		builder.SetProducer(txnOf.ID, txnOf.Epoch, record.NoSequence)
		builder.SetTransactional(true)
		opt.Coordinator = true
	}
	for i := range views {
		builder.Append(&views[i])
	}
	batch, err := builder.Finish(record.None)
	if err != nil {
		return segment.AppendResult{}, err
	}
	res, err := l.Append(batch, opt)
	if err != nil {
		return res, p.wrap(err)
	}
	p.watchers.wake(txnOf == nil)
	return res, nil
}
