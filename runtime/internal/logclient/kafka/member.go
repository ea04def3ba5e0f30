package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// loss is how far the news of a lost session has come.
//
//	notLost -> lostUntold (the session ended) -> lostTold (Next) -> notLost (Done)
//	                ^------------------ again -----------'
type loss uint8

const (
	notLost loss = iota
	lostUntold
	lostTold
)

// member implements logclient.Member: franz-go's client joins, syncs and sends
// heartbeats; it fetches nothing. Assignments are told by Next, the newest only;
// before partitions go to somebody else, Done of the assignment without them is
// awaited (cooperative rebalance, KIP-429).
//
// Invariant: have are the partitions that nobody else can have: dealt to holder,
// whose session has not been lost since. releasing are those that were taken away
// and are not Done. While state is not notLost, Generation stays standing.
type member struct {
	log    *Log
	group  string
	cfg    logclient.MemberConfig
	layout uint64 // of cfg.Units
	cl     *kgo.Client
	ready  chan struct{}   // closed when cl is set
	gone   context.Context // ends when the member leaves
	leave  func(context.Context)

	mu        sync.Mutex // guards what follows
	holder    string     // the member id that have was dealt to; empty at first
	since     int32      // the first generation of holder
	standing  logclient.Generation
	state     loss
	lostAt    logclient.Generation // up to which everything is void
	have      map[record.TopicPartition]bool
	releasing map[record.TopicPartition]bool
	released  chan struct{} // closed when releasing is done; nil if there is none
	releaseAt int32         // the generation that took releasing away
	dealt     []record.TopicPartition
	about     aboutGroup // told with dealt
	asked     int        // how often a new dealing was wanted
	began     bool       // there was an assignment
	latest    logclient.Assignment
	told      bool                 // Next has handed latest out
	lastTold  logclient.Assignment // by Next
	news      chan struct{}        // closed and replaced when latest changes
	failed    error                // the group refuses this member
}

// Join implements logclient.Log.
func (l *Log) Join(ctx context.Context, cfg logclient.MemberConfig) (logclient.Member, error) {
	if cfg.Group == "" {
		return nil, errors.New("kafka log: a member needs the name of a group, which is empty")
	}
	topics := topicsOf(cfg)
	infos, err := l.Describe(ctx, topics)
	if err != nil {
		return nil, err
	}
	for _, t := range infos {
		if t.Partitions == 0 {
			return nil, classified(fmt.Sprintf("group %s: topic %s", cfg.Group, t.Name), kerr.UnknownTopicOrPartition)
		}
	}
	m := &member{
		log: l, group: cfg.Group, cfg: cfg, layout: layoutOf(cfg.Units), ready: make(chan struct{}),
		have: map[record.TopicPartition]bool{}, releasing: map[record.TopicPartition]bool{}, news: make(chan struct{}),
	}
	gone, cancel := context.WithCancel(l.ctx)
	alive, kill := context.WithCancel(context.Background())
	m.gone = gone
	if m.cl, err = l.client(m.options(alive, topics)...); err != nil {
		cancel()
		kill()
		return nil, fmt.Errorf("kafka log: %w", err)
	}
	m.cl.PauseFetchTopics(topics...)
	close(m.ready)
	var once sync.Once
	m.leave = func(ctx context.Context) {
		once.Do(func() {
			cancel()
			m.depart(ctx, kill)
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

func (m *member) options(alive context.Context, topics []string) []kgo.Opt {
	session := m.log.cfg.SessionTimeout
	opts := []kgo.Opt{
		kgo.WithContext(alive),
		kgo.ConsumerGroup(m.group), kgo.ConsumeTopics(topics...), kgo.DisableAutoCommit(),
		kgo.Balancers(balancer{m}), kgo.SessionTimeout(session), kgo.HeartbeatInterval(heartbeat(session)),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
	}
	if id := m.log.cfg.InstanceID; id != "" {
		opts = append(opts, kgo.InstanceID(id))
	}
	return opts
}

// topicsOf are the topics of a member, also those that only its units name.
func topicsOf(cfg logclient.MemberConfig) []string {
	topics := slices.Clone(cfg.Topics)
	for _, u := range cfg.Units {
		for _, tp := range u.Partitions {
			topics = append(topics, tp.Topic)
		}
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// heartbeat interval for a session time-out: so often that the others hear of a
// rebalance within a second.
func heartbeat(session time.Duration) time.Duration { return min(time.Second, session/3) }

// depart says good-bye, unless the member shall stay. franz-go does not for static
// members, and waits for a rebalance that is under way.
func (m *member) depart(ctx context.Context, kill context.CancelFunc) {
	waiting, cancel := context.WithTimeout(ctx, leaveTimeout/2)
	err := m.cl.LeaveGroupContext(waiting)
	cancel()
	id, _ := m.cl.GroupMetadata()
	kill()
	m.cl.CloseAllowingRebalance()
	instance := m.log.cfg.InstanceID
	if id == "" || m.cfg.Stay && instance != "" || err == nil && instance == "" {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = m.group, id
	leaver := kmsg.NewLeaveGroupRequestMember()
	leaver.MemberID, leaver.Reason = id, kmsg.StringPtr("the instance stops")
	if instance != "" {
		leaver.InstanceID = &instance
	}
	req.Members = append(req.Members, leaver)
	resp, err := req.RequestWith(ctx, m.log.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
		for _, left := range resp.Members {
			err = errors.Join(err, kerr.ErrorForCode(left.ErrorCode))
		}
	}
	if err != nil && !errors.Is(err, kerr.UnknownMemberID) && !errors.Is(err, kerr.FencedInstanceID) {
		m.log.cfg.Logger.Warn("kafka: the group was not told that this member leaves", "group", m.group, "err", err)
	}
}

// watch turns what the group refuses for good into the error of Next. That a
// session is over is not for good: the client joins anew.
func (m *member) watch() {
	for {
		fs := m.cl.PollFetches(m.gone) // topics are paused: nothing but errors comes
		if m.gone.Err() != nil || fs.IsClientClosed() {
			return
		}
		fs.EachError(func(topic string, _ int32, err error) {
			var code *kerr.Error
			switch what := "be a member of group " + m.group; {
			case errors.Is(err, kerr.FencedInstanceID):
				m.fail(as(logclient.ErrFenced, fmt.Sprintf("%s: another process runs with the instance name %s: give each process its own StateDir or Cluster.Instance", what, m.log.cfg.InstanceID), err))
			case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress):
			case errors.As(err, &code) && !code.Retriable:
				m.fail(classified(what, m.log.denied(err, attempt{op: "Read", topic: topic, group: m.group})))
			}
		})
	}
}

// fail makes an error the last that Next returns, and keeps the client from
// joining again and again.
func (m *member) fail(err error) {
	m.mu.Lock()
	if m.failed == nil {
		m.failed = err
		m.tell()
	}
	m.mu.Unlock()
	//lint:ignore SA1012 nil is its way to say: do not wait
	m.cl.LeaveGroupContext(nil)
}

// joining is what a join tells of this member.
func (m *member) joining() ([]record.TopicPartition, aboutMember) {
	<-m.ready
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.replaced() {
		m.publish()
	}
	about := aboutMember{Name: m.log.cfg.InstanceID, Endpoint: m.cfg.Endpoint, Capacity: m.cfg.Capacity, Layout: m.layout, Asked: m.asked}
	return slices.SortedFunc(maps.Keys(m.have), compare), about
}

// replaced finds out whether the client has become another member without a word
// (a join of one whose session is over makes it anew): all is lost then. The lock
// is held.
func (m *member) replaced() bool {
	id, _ := m.cl.GroupMetadata()
	if m.holder == "" || id == m.holder {
		return false
	}
	return m.lose()
}

// lose drops everything; false if there was nothing. The lock is held.
func (m *member) lose() bool {
	m.current()
	m.lostAt = m.standing
	m.holder = ""
	if len(m.have)+len(m.releasing) == 0 {
		return false
	}
	m.state = lostUntold
	clear(m.have)
	m.release()
	return true
}

// release lets the revocation that waits go on. The lock is held.
func (m *member) release() {
	clear(m.releasing)
	if m.released != nil {
		close(m.released)
		m.released = nil
	}
}

// current is the generation to commit with. The lock is held.
func (m *member) current() logclient.Generation {
	id, generation := m.cl.GroupMetadata()
	if m.state == notLost && (id == m.holder || len(m.have)+len(m.releasing) == 0) {
		m.standing = logclient.Generation{Group: m.group, ID: generation, Member: id}
	}
	return m.standing
}

// publish makes a new assignment of what the member has. The lock is held.
func (m *member) publish() {
	id, generation := m.cl.GroupMetadata()
	m.latest = logclient.Assignment{
		Generation: logclient.Generation{Group: m.group, ID: generation, Member: id},
		Partitions: slices.SortedFunc(maps.Keys(m.have), compare),
		Lost:       m.state == lostUntold,
		Instances:  m.about.Instances,
	}
	if self := m.about.self(); self != nil {
		m.latest.Standbys = self.Standbys
	}
	m.tell()
}

// tell wakes Next; the lock is held.
func (m *member) tell() {
	m.told = false
	close(m.news)
	m.news = make(chan struct{})
}

// synced is called with what the group has dealt to this member; assigned, or
// revoked and then assigned, are called next.
func (m *member) synced(tps []record.TopicPartition, about aboutGroup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dealt, m.about = tps, about
}

// assigned is called after every sync, also if nothing changed.
func (m *member) assigned(context.Context, *kgo.Client, map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replaced()
	if id, generation := m.cl.GroupMetadata(); id != m.holder {
		m.holder, m.since = id, generation
	}
	clear(m.have)
	for _, tp := range m.dealt {
		m.have[tp] = true
	}
	m.current()
	m.publish()
	if !m.began && m.outdated() {
		m.asked++
		m.cl.ForceRebalance()
	}
	m.began = true
}

// outdated: a static member that comes back gets what it had before; the others
// must hear if it answers elsewhere now, or has other units, and what it died with
// before it had let go is to be dealt out. The lock is held.
func (m *member) outdated() bool {
	self := m.about.self()
	return m.log.cfg.InstanceID != "" && self != nil && (m.about.Layout != m.layout || self.Endpoint != m.cfg.Endpoint || m.about.Pending)
}

func (m *member) revoked(ctx context.Context, _ *kgo.Client, without map[string][]int32) {
	m.mu.Lock()
	if m.replaced() {
		m.publish()
	}
	for topic, parts := range without {
		for _, p := range parts {
			if tp := (record.TopicPartition{Topic: topic, Partition: record.Partition(p)}); m.have[tp] {
				delete(m.have, tp)
				m.releasing[tp] = true
			}
		}
	}
	if len(m.releasing) == 0 || m.gone.Err() != nil {
		m.mu.Unlock()
		return
	}
	released := make(chan struct{})
	m.released = released
	_, m.releaseAt = m.cl.GroupMetadata()
	m.publish()
	m.mu.Unlock()
	select {
	case <-released:
	case <-m.gone.Done():
	case <-ctx.Done():
	}
}

// lost partitions may belong to somebody else already.
func (m *member) lost(context.Context, *kgo.Client, map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lose() {
		m.publish()
	}
}

// Next implements logclient.Member.
func (m *member) Next(ctx context.Context) (logclient.Assignment, error) {
	for {
		m.mu.Lock()
		news, a, err := m.news, m.latest, m.failed
		fresh := err == nil && a.Generation.Group != "" && !m.told
		if fresh {
			m.told, m.lastTold = true, a
			if a.Lost {
				m.state = lostTold
			}
		}
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
	if m.state == lostTold && (a.Lost || a.Generation == m.lastTold.Generation && slices.Equal(a.Partitions, m.lastTold.Partitions)) {
		m.state = notLost
	}
	if a.Generation.ID < m.releaseAt {
		return nil
	}
	for _, tp := range a.Partitions {
		if m.releasing[tp] {
			return nil
		}
	}
	m.release()
	return nil
}

// Generation implements logclient.Member.
func (m *member) Generation() logclient.Generation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current()
}

// confirmTimeout bounds how long the group is asked.
const confirmTimeout = 3 * time.Second

// Confirm implements logclient.Member.
func (m *member) Confirm(ctx context.Context) error {
	what := "ask group " + m.group + " about this member"
	m.mu.Lock()
	if m.replaced() {
		m.publish()
	}
	g, state := m.current(), m.state
	m.mu.Unlock()
	if state != notLost {
		return fmt.Errorf("kafka log: %s: its session was lost: %w", what, logclient.ErrRebalanced)
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	return classified(what, again(ctx, func() error { return m.log.checkMember(ctx, m.log.cl, g) }))
}

// checkMember asks the coordinator whether a generation is still a member's.
func (l *Log) checkMember(ctx context.Context, cl *kgo.Client, g logclient.Generation) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID = g.Group, g.ID, g.Member
	if l.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(l.cfg.InstanceID)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(resp.ErrorCode)
	if errors.Is(err, kerr.RebalanceInProgress) {
		return nil // a member that is asked to join again is one
	}
	return err
}

// Rebalance implements logclient.Member.
func (m *member) Rebalance() {
	m.mu.Lock()
	m.asked++
	m.mu.Unlock()
	m.cl.ForceRebalance()
}

// Leave implements logclient.Member.
func (m *member) Leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	m.leave(ctx)
	return nil
}
