package broker

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// TopicView is what a client's metadata shows of a topic; nothing is copied.
type TopicView struct {
	Name     string
	ID       [16]byte
	Internal bool
	// Partitions by number. Not to be changed; a topic that grows gets a new slice.
	Partitions []*Partition
}

func (t *topicState) view() TopicView {
	return TopicView{Name: t.entry.Name, ID: t.id, Internal: internal(t.entry.Name), Partitions: t.parts}
}

// TopicView shows one topic; false if there is none.
func (b *Broker) TopicView(name string) (TopicView, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ts := b.topics[name]; ts != nil {
		return ts.view(), true
	}
	return TopicView{}, false
}

// TopicViewByID shows the topic with that id; false if there is none.
func (b *Broker) TopicViewByID(id [16]byte) (TopicView, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ts := b.byID[id]; ts != nil {
		return ts.view(), true
	}
	return TopicView{}, false
}

// TopicViews shows all topics by name, as they stand when the iteration begins.
func (b *Broker) TopicViews() iter.Seq[TopicView] {
	b.mu.RLock()
	names := slices.Sorted(maps.Keys(b.topics))
	b.mu.RUnlock()
	return func(yield func(TopicView) bool) {
		for _, name := range names {
			if v, ok := b.TopicView(name); ok && !yield(v) {
				return
			}
		}
	}
}

// Partition of the topic; ErrUnknownTopic if there is no such number.
func (t TopicView) Partition(n record.Partition) (*Partition, error) {
	if n < 0 || int(n) >= len(t.Partitions) {
		return nil, fmt.Errorf("%w: %s-%d", ErrUnknownTopic, t.Name, n)
	}
	return t.Partitions[n], nil
}

// NodeID is the node.id of meta.properties: the leader of every partition.
func (b *Broker) NodeID() int32 { return b.cfg.NodeID }

// TopicID is the id of the partition's topic. A topic that is deleted and made
// again has another one.
func (p *Partition) TopicID() [16]byte { return p.topicID }

// ValidTopicName says whether a topic can have that name.
func ValidTopicName(name string) bool { return checkName(name) == nil }
