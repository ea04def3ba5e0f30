package embedded

import (
	"context"
	"fmt"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// generation is that of every member: the only member has the only assignment.
const generation = 1

// member implements logclient.Member.
type member struct {
	log   *Log
	group string
	id    string
	first chan logclient.Assignment // holds the assignment until Next takes it
	left  chan struct{}             // closed by Leave, or by a later Join; guarded by the log's mu
}

// Join implements logclient.Log. A later member of the same group takes the
// place of the one before, whose generation is over.
func (l *Log) Join(ctx context.Context, cfg logclient.MemberConfig) (logclient.Member, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	if cfg.Group == "" {
		return nil, fmt.Errorf("embedded log: a member needs the name of a group, which is empty")
	}
	var tps []record.TopicPartition
	for _, name := range cfg.Topics {
		t, is := l.broker.Topic(name)
		if !is {
			return nil, fmt.Errorf("embedded log: group %s: topic %s: %w", cfg.Group, name, logclient.ErrUnknownTopic)
		}
		for p := range t.Partitions {
			tps = append(tps, record.TopicPartition{Topic: name, Partition: record.Partition(p)})
		}
	}
	m := &member{
		log:   l,
		group: cfg.Group,
		id:    fmt.Sprintf("%s-%d", cfg.Group, l.joined.Add(1)),
		first: make(chan logclient.Assignment, 1),
		left:  make(chan struct{}),
	}
	m.first <- logclient.Assignment{
		Generation: logclient.Generation{Group: cfg.Group, ID: generation, Member: m.id},
		Partitions: tps,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if before := l.members[cfg.Group]; before != nil {
		close(before.left)
	}
	l.members[cfg.Group] = m
	return m, nil
}

// checkGeneration says whether positions of this generation may be committed.
func (l *Log) checkGeneration(g logclient.Generation) error {
	if g.Group == "" {
		return fmt.Errorf("embedded log: positions are committed without a group: set Generation to that of the member's assignment")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.members[g.Group]
	if m == nil || m.id != g.Member || g.ID != generation {
		return fmt.Errorf("embedded log: group %s: generation %d of member %q is not the current one: %w", g.Group, g.ID, g.Member, logclient.ErrRebalanced)
	}
	return nil
}

// Next implements logclient.Member: the first assignment has everything, and
// there is no second.
func (m *member) Next(ctx context.Context) (logclient.Assignment, error) {
	if err := m.log.enter(ctx); err != nil {
		return logclient.Assignment{}, err
	}
	select {
	case a := <-m.first:
		return a, nil
	case <-ctx.Done():
		return logclient.Assignment{}, ctx.Err()
	case <-m.left:
		return logclient.Assignment{}, fmt.Errorf("embedded log: member %s: %w", m.id, logclient.ErrClosed)
	case <-m.log.done:
		return logclient.Assignment{}, m.log.live()
	}
}

// Done implements logclient.Member. Nothing is ever taken away.
func (m *member) Done(logclient.Assignment) error { return nil }

// Committed implements logclient.Member.
func (m *member) Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]logclient.Position, error) {
	return m.log.Committed(ctx, m.group, tps)
}

// Committed implements logclient.Log.
func (l *Log) Committed(ctx context.Context, group string, tps []record.TopicPartition) (map[record.TopicPartition]logclient.Position, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	found := make(map[record.TopicPartition]logclient.Position, len(tps))
	if len(tps) == 0 { // the broker would take it for all
		return found, nil
	}
	committed, err := l.broker.FetchOffsets(ctx, group, tps, true)
	if err != nil {
		return nil, classified("fetch the positions of group "+group, err)
	}
	for tp, c := range committed {
		found[tp] = logclient.Position{Offset: c.Offset, Epoch: c.Epoch, Metadata: c.Metadata}
	}
	return found, nil
}

// Leave implements logclient.Member.
func (m *member) Leave(context.Context) error {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	if m.log.members[m.group] == m {
		delete(m.log.members, m.group)
		close(m.left)
	}
	return nil
}

// committer is who the broker sees: somebody outside of group management.
func committer(group string) broker.GroupMember {
	return broker.GroupMember{Group: group, Generation: -1}
}

// Confirm implements logclient.Member: a process has its groups for itself.
func (m *member) Confirm(ctx context.Context) error {
	select {
	case <-m.left:
		return fmt.Errorf("group %s: the member has left: %w", m.group, logclient.ErrRebalanced)
	default:
		return ctx.Err()
	}
}

// Rebalance implements logclient.Member: there is nobody to share with.
func (m *member) Rebalance() {}

// Generation implements logclient.Member.
func (m *member) Generation() logclient.Generation {
	return logclient.Generation{Group: m.group, ID: generation, Member: m.id}
}
