package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// leaveTimeout bounds the good-bye to a group; without it the group waits for the
// session to end.
const leaveTimeout = 5 * time.Second

// member implements logclient.Member: franz-go's client joins, syncs and sends
// heartbeats; it fetches nothing. Assignments are told by Next, the newest only;
// before partitions go to somebody else, Done of the assignment without them is
// awaited (cooperative rebalance, KIP-429).
type member struct {
	log   *Log
	group string
	cl    *kgo.Client
	gone  context.Context // ends when the member leaves
	leave func(context.Context)

	mu      sync.Mutex // guards what follows
	have    map[record.TopicPartition]bool
	latest  logclient.Assignment
	told    bool          // Next has handed latest out
	news    chan struct{} // closed and replaced when latest changes
	settled chan struct{} // closed when Done(latest) came
	failed  error         // the group refuses this member
}

// Join implements logclient.Log.
func (l *Log) Join(ctx context.Context, cfg logclient.MemberConfig) (logclient.Member, error) {
	if cfg.Group == "" {
		return nil, errors.New("kafka log: a member needs the name of a group, which is empty")
	}
	infos, err := l.Describe(ctx, cfg.Topics)
	if err != nil {
		return nil, err
	}
	for _, t := range infos {
		if t.Partitions == 0 {
			return nil, classified(fmt.Sprintf("group %s: topic %s", cfg.Group, t.Name), kerr.UnknownTopicOrPartition)
		}
	}
	m := &member{log: l, group: cfg.Group, have: map[record.TopicPartition]bool{}, news: make(chan struct{}), settled: make(chan struct{})}
	gone, cancel := context.WithCancel(l.ctx)
	m.gone = gone
	opts := []kgo.Opt{
		kgo.ConsumerGroup(cfg.Group), kgo.ConsumeTopics(cfg.Topics...), kgo.DisableAutoCommit(),
		kgo.Balancers(balancer{}), kgo.SessionTimeout(l.cfg.SessionTimeout), kgo.HeartbeatInterval(heartbeat(l.cfg.SessionTimeout)),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
	}
	if l.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(l.cfg.InstanceID))
	}
	if m.cl, err = l.client(opts...); err != nil {
		cancel()
		return nil, fmt.Errorf("kafka log: %w", err)
	}
	m.cl.PauseFetchTopics(cfg.Topics...)
	var once sync.Once
	m.leave = func(ctx context.Context) {
		once.Do(func() {
			cancel()
			if err := m.cl.LeaveGroupContext(ctx); err != nil {
				l.cfg.Logger.Warn("kafka: the group was not told that this member leaves", "group", m.group, "err", err)
			}
			m.cl.CloseAllowingRebalance()
			l.mu.Lock()
			delete(l.members, m)
			l.mu.Unlock()
		})
	}
	l.mu.Lock()
	l.members[m] = true
	l.mu.Unlock()
	go m.watch()
	return m, nil
}

// heartbeat interval for a session time-out: Kafka's 3 s, a third if that is less.
func heartbeat(session time.Duration) time.Duration { return min(3*time.Second, session/3) }

// watch turns what the group refuses for good into the error of Next.
func (m *member) watch() {
	for {
		fs := m.cl.PollFetches(m.gone) // topics are paused: nothing but errors comes
		if m.gone.Err() != nil || fs.IsClientClosed() {
			return
		}
		fs.EachError(func(_ string, _ int32, err error) {
			var code *kerr.Error
			if errors.As(err, &code) && !code.Retriable {
				m.mu.Lock()
				m.failed = classified("be a member of group "+m.group, err)
				m.tell()
				m.mu.Unlock()
			}
		})
	}
}

// change takes over a change of partitions. It returns what is closed once the
// new assignment is Done.
func (m *member) change(with, without map[string][]int32) <-chan struct{} {
	id, generation := m.cl.GroupMetadata()
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, parts := range without {
		for _, p := range parts {
			delete(m.have, record.TopicPartition{Topic: topic, Partition: record.Partition(p)})
		}
	}
	for topic, parts := range with {
		for _, p := range parts {
			m.have[record.TopicPartition{Topic: topic, Partition: record.Partition(p)}] = true
		}
	}
	a := logclient.Assignment{Generation: logclient.Generation{Group: m.group, ID: generation, Member: id}}
	for tp := range m.have {
		a.Partitions = append(a.Partitions, tp)
	}
	slices.SortFunc(a.Partitions, compare)
	m.latest, m.settled = a, make(chan struct{})
	m.tell()
	return m.settled
}

// tell wakes Next; the lock is held.
func (m *member) tell() {
	m.told = false
	close(m.news)
	m.news = make(chan struct{})
}

func (m *member) assigned(_ context.Context, _ *kgo.Client, with map[string][]int32) {
	m.change(with, nil)
}

func (m *member) revoked(ctx context.Context, _ *kgo.Client, without map[string][]int32) {
	if len(without) == 0 {
		return
	}
	select {
	case <-m.change(nil, without):
	case <-m.gone.Done():
	case <-ctx.Done():
	}
}

// lost partitions belong to somebody else already.
func (m *member) lost(_ context.Context, _ *kgo.Client, without map[string][]int32) {
	m.change(nil, without)
}

func compare(a, b record.TopicPartition) int {
	if a.Topic != b.Topic {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	}
	return int(a.Partition) - int(b.Partition)
}

// Next implements logclient.Member.
func (m *member) Next(ctx context.Context) (logclient.Assignment, error) {
	for {
		m.mu.Lock()
		news, a, err := m.news, m.latest, m.failed
		fresh := a.Generation.Group != "" && !m.told
		m.told = m.told || fresh
		m.mu.Unlock()
		switch {
		case err != nil:
			return logclient.Assignment{}, err
		case m.gone.Err() != nil:
			if err := m.log.live(); err != nil {
				return logclient.Assignment{}, err
			}
			return logclient.Assignment{}, fmt.Errorf("kafka log: the member of group %s: %w", m.group, logclient.ErrClosed)
		case fresh:
			return a, nil
		}
		select {
		case <-news:
		case <-m.gone.Done():
		case <-ctx.Done():
			return logclient.Assignment{}, ctx.Err()
		}
	}
}

// Done implements logclient.Member.
func (m *member) Done(a logclient.Assignment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.Generation == m.latest.Generation && slices.Equal(a.Partitions, m.latest.Partitions) {
		select {
		case <-m.settled:
		default:
			close(m.settled)
		}
	}
	return nil
}

// Committed implements logclient.Member.
func (m *member) Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]logclient.Position, error) {
	if err := m.log.enter(ctx); err != nil {
		return nil, err
	}
	found := map[record.TopicPartition]logclient.Position{}
	if len(tps) == 0 {
		return found, nil
	}
	err := again(ctx, func() error { return m.fetch(ctx, tps, found) })
	if err != nil {
		return nil, m.log.failed(ctx, "fetch the positions of group "+m.group, err)
	}
	return found, nil
}

func (m *member) fetch(ctx context.Context, tps []record.TopicPartition, found map[record.TopicPartition]logclient.Position) error {
	clear(found)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = m.group, true
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = m.group
	names, parts := byTopic(tps)
	for _, name := range names {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = name, parts[name]
		req.Topics = append(req.Topics, t)
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = name, parts[name]
		if known, err := m.log.topics.get(ctx, name); err == nil {
			gt.TopicID = known.id
		}
		g.Topics = append(g.Topics, gt)
	}
	req.Groups = append(req.Groups, g)
	resp, err := req.RequestWith(ctx, m.log.cl)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	take := func(topic string, p int32, offset int64, epoch int32, metadata *string, code int16) error {
		if err := kerr.ErrorForCode(code); err != nil {
			return fmt.Errorf("%s-%d: %w", topic, p, err)
		}
		if offset >= 0 {
			at := logclient.Position{Offset: record.Offset(offset), Epoch: record.LeaderEpoch(epoch)}
			if metadata != nil {
				at.Metadata = *metadata
			}
			found[record.TopicPartition{Topic: topic, Partition: record.Partition(p)}] = at
		}
		return nil
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := take(m.log.topics.name(t.Topic, t.TopicID), p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode); err != nil {
					return err
				}
			}
		}
	}
	if len(resp.Groups) > 0 {
		return nil
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := take(t.Topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// Leave implements logclient.Member.
func (m *member) Leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	m.leave(ctx)
	return nil
}
