package memlog

import (
	"context"
	"fmt"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// group is a consumer group with at most one member.
type group struct {
	name       string
	generation int32
	member     *member
	joined     int // members so far: their names are numbered
	positions  logclient.Positions
}

func (s *server) group(name string) *group {
	g := s.groups[name]
	if g == nil {
		g = &group{name: name, positions: logclient.Positions{}}
		s.groups[name] = g
	}
	return g
}

// checkGeneration says whether positions of this generation may be committed.
func (s *server) checkGeneration(g logclient.Generation) error {
	if g.Group == "" {
		return fmt.Errorf("memlog: positions are committed without a group: set Generation to that of the member's assignment")
	}
	have := s.group(g.Group)
	if have.member == nil || have.generation != g.ID || have.member.id != g.Member {
		return fmt.Errorf("memlog: group %s: generation %d of member %q, expected %d: %w", g.Group, g.ID, g.Member, have.generation, logclient.ErrRebalanced)
	}
	return nil
}

// member implements logclient.Member.
type member struct {
	log    *Log
	group  *group
	id     string
	wakeup *wakeup

	// Guarded by the log's mu.
	next *logclient.Assignment // not yet handed out
	left bool
}

// Join implements logclient.Log. A second member of a group takes the place of
// the first, whose generation is over.
func (l *Log) Join(ctx context.Context, cfg logclient.MemberConfig) (logclient.Member, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.live(); err != nil {
		return nil, err
	}
	if cfg.Group == "" {
		return nil, fmt.Errorf("memlog: a member needs the name of a group, which is empty")
	}
	var tps []record.TopicPartition
	for _, name := range cfg.Topics {
		t := s.topics[name]
		if t == nil {
			return nil, fmt.Errorf("memlog: group %s: topic %s: %w", cfg.Group, name, logclient.ErrUnknownTopic)
		}
		for _, p := range t.parts {
			tps = append(tps, p.tp)
		}
	}
	g := s.group(cfg.Group)
	g.joined++
	m := &member{log: l, group: g, id: fmt.Sprintf("%s-%d", cfg.Group, g.joined), wakeup: newWakeup()}
	if g.member != nil {
		g.member.left = true
	}
	g.member = m
	g.assign(tps)
	s.wakeAll()
	return m, nil
}

// assign begins a generation.
func (g *group) assign(tps []record.TopicPartition) {
	g.generation++
	g.member.next = &logclient.Assignment{
		Generation: logclient.Generation{Group: g.name, ID: g.generation, Member: g.member.id},
		Partitions: tps,
	}
}

// Next implements logclient.Member.
func (m *member) Next(ctx context.Context) (logclient.Assignment, error) {
	s := m.log.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := m.log.live(); err != nil {
			return logclient.Assignment{}, err
		}
		if m.left {
			return logclient.Assignment{}, fmt.Errorf("memlog: member %s of group %s: %w", m.id, m.group.name, logclient.ErrClosed)
		}
		if a := m.next; a != nil {
			m.next = nil
			return *a, nil
		}
		if err := s.wait(ctx, m.wakeup); err != nil {
			return logclient.Assignment{}, err
		}
	}
}

// Done implements logclient.Member.
func (m *member) Done(logclient.Assignment) error { return nil }

// Committed implements logclient.Member.
func (m *member) Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]logclient.Position, error) {
	return m.log.Committed(ctx, m.group.name, tps)
}

// Committed implements logclient.Log.
func (l *Log) Committed(ctx context.Context, group string, tps []record.TopicPartition) (map[record.TopicPartition]logclient.Position, error) {
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	wakeup := newWakeup()
	for {
		if err := l.live(); err != nil {
			return nil, err
		}
		if !s.pendingPositions(group, tps) {
			break
		}
		if err := s.wait(ctx, wakeup); err != nil {
			return nil, err
		}
	}
	found := make(map[record.TopicPartition]logclient.Position, len(tps))
	for _, tp := range tps {
		if p, is := s.group(group).positions[tp]; is {
			found[tp] = p
		}
	}
	return found, ctx.Err()
}

// pendingPositions says whether an open transaction holds positions of these partitions.
func (s *server) pendingPositions(group string, tps []record.TopicPartition) bool {
	for _, pr := range s.producers {
		if pr.group != group || len(pr.pending) == 0 {
			continue
		}
		for _, tp := range tps {
			if _, is := pr.pending[tp]; is {
				return true
			}
		}
	}
	return false
}

// Leave implements logclient.Member.
func (m *member) Leave(context.Context) error {
	s := m.log.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	m.left = true
	if m.group.member == m {
		m.group.member = nil
	}
	s.wakeAll()
	return nil
}

// Confirm implements logclient.Member.
func (m *member) Confirm(ctx context.Context) error {
	m.log.srv.mu.Lock()
	defer m.log.srv.mu.Unlock()
	if m.group.member != m {
		return fmt.Errorf("memlog: group %s: member %q is in it no more: %w", m.group.name, m.id, logclient.ErrRebalanced)
	}
	return ctx.Err()
}

// Rebalance implements logclient.Member: there is nobody to share with.
func (m *member) Rebalance() {}

// Generation implements logclient.Member.
func (m *member) Generation() logclient.Generation {
	m.log.srv.mu.Lock()
	defer m.log.srv.mu.Unlock()
	return logclient.Generation{Group: m.group.name, ID: m.group.generation, Member: m.id}
}
