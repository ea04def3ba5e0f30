package broker

import (
	"encoding/hex"
	"errors"
	"fmt"
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
	// Strict holds the topic to what Kafka allows its clients: the bounds of
	// configurations, and no name that differs from another's in . and _ only.
	Strict bool
	// ValidateOnly makes nothing; what is returned has no id.
	ValidateOnly bool
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
	if spec.Partitions < 0 || spec.Partitions > maxPartitions {
		return Topic{}, fmt.Errorf("%w: topic %s: %d, expected 1 to %d", ErrInvalidPartitions, spec.Name, spec.Partitions, maxPartitions)
	}
	if spec.Strict {
		if err := checkTopicConfigs(spec.Configs); err != nil {
			return Topic{}, err
		}
	}
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	if err := b.checkNewName(spec); err != nil {
		return Topic{}, err
	}
	entry := topicEntry{Name: spec.Name, ID: noID, Partitions: spec.Partitions, CreatedMS: b.nowMS(), Configs: maps.Clone(spec.Configs)}
	if !spec.ValidateOnly {
		id := b.cfg.NewID()
		entry.ID = hex.EncodeToString(id[:])
	}
	ts, err := b.newTopicState(entry)
	if err != nil || spec.ValidateOnly {
		return ts.describe(), err
	}
	if err := b.makePartitions(ts); err != nil {
		return Topic{}, err
	}
	b.publish(ts)
	return ts.describe(), nil
}

// publish makes a topic's newest form the one that is found.
func (b *Broker) publish(ts *topicState) {
	b.mu.Lock()
	b.topics[ts.entry.Name], b.byID[ts.id] = ts, ts
	b.topicsVersion.Add(1)
	b.mu.Unlock()
}

// maxPartitions of a topic.
const maxPartitions = 100_000

// noID is the hex of a topic id of zeros.
const noID = "00000000000000000000000000000000"

// checkNewName refuses names that are taken. b.metaMu is held.
func (b *Broker) checkNewName(spec TopicSpec) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.topics[spec.Name] != nil {
		return fmt.Errorf("%w: %s", ErrTopicExists, spec.Name)
	}
	if !spec.Strict {
		return nil
	}
	for name := range b.topics {
		if collides(name, spec.Name) {
			return fmt.Errorf("%w: topic %s collides with existing topic %s: metrics write . as _", ErrInvalidTopic, spec.Name, name)
		}
	}
	return nil
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
