package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// The instances of an application share the partitions of a sink's topic: each
// sink is a group of its own, and each instance a member of it. When partitions
// come or go, the Write under way is given time to be acknowledged, what is
// acknowledged is committed, and what was read and not written is read again by
// whoever has the partition then. So without faults every record is written once:
// nobody reads a partition before its last owner has committed and let go.
//
// After a fault, as after a crash, what was acknowledged and not committed is
// written again. It is never passed over: a sink commits a position of a partition
// only when everything between the position that it found committed there and
// that one is acknowledged, also if the partition was another's meanwhile.

// tenure is the time between two changes of the sink's partitions.
type tenure struct {
	// wait is the context of polls and pauses: it ends when a change is due.
	wait context.Context
	// write is that of calls into the connector, which end stopTimeout later.
	write context.Context
	stop  func()

	handOver, drop context.CancelFunc
}

func newTenure(work context.Context) *tenure {
	t := &tenure{}
	t.write, t.drop = context.WithCancel(work)
	t.wait, t.handOver = context.WithCancel(t.write)
	release := context.AfterFunc(t.wait, func() { time.AfterFunc(stopTimeout, t.drop) })
	t.stop = func() { release(); t.drop() }
	return t
}

// group is the name of the sink's group.
func (s *sinkRunner) group() string { return s.e.topo.Name + "-sink-" + s.cfg.Name }

// join makes the sink a member of its group, if it is none.
func (s *sinkRunner) join(work context.Context) error {
	if s.member != nil {
		return nil
	}
	m, err := s.e.log.Join(work, logclient.MemberConfig{Group: s.group(), Topics: []string{s.cfg.Topic}, Stay: s.e.cfg.Cluster.StayOnStop})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(work)
	followed := make(chan struct{})
	s.mu.Lock()
	s.member, s.news, s.refused, s.adopted = m, nil, nil, false
	s.unfollow = func() { cancel(); <-followed }
	s.mu.Unlock()
	go func() {
		defer close(followed)
		s.follow(ctx, m)
	}()
	return nil
}

// leaveGroup ends the membership: others go on with the partitions.
func (s *sinkRunner) leaveGroup() {
	s.mu.Lock()
	m, unfollow := s.member, s.unfollow
	s.member = nil
	s.mu.Unlock()
	if m == nil {
		return
	}
	unfollow()
	if err := m.Leave(context.Background()); err != nil {
		s.e.logger.Debug("leave group", "group", s.group(), "err", err)
	}
}

// follow hears what the group says. An assignment that changes nothing is done at
// once; of others the newest waits for adopt.
func (s *sinkRunner) follow(ctx context.Context, m logclient.Member) {
	for {
		a, err := m.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		slices.SortFunc(a.Partitions, comparePartitions)
		s.departed.back(a.Instances)
		s.mu.Lock()
		switch {
		case err != nil:
			s.refused = fmt.Errorf("group %s: %w", s.group(), err)
		case s.news == nil && s.adopted && !a.Lost && slices.Equal(a.Partitions, s.owned):
			s.others = a.Instances
			s.mu.Unlock()
			m.Done(a)
			continue
		default:
			a.Lost = a.Lost || s.news != nil && s.news.Lost
			s.news = &a
		}
		s.tenure.handOver()
		s.mu.Unlock()
		select {
		case s.told <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func comparePartitions(a, b record.TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// heard is what the group has said and the sink has not adopted.
func (s *sinkRunner) heard() (*logclient.Assignment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news, s.refused
}

// isLost reports whether the group has told that the sink's partitions may have
// been somebody else's.
func (s *sinkRunner) isLost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused != nil || s.news != nil && s.news.Lost
}

// adopt takes over what the group has said, and waits for it where the sink has
// no partitions yet: what was acknowledged is committed, what goes is released,
// and all that is there now is read on from where it is committed. at is where
// that is; nil if nothing has changed.
func (s *sinkRunner) adopt(work context.Context) (at map[record.TopicPartition]record.Offset, err error) {
	for {
		a, err := s.heard()
		switch {
		case err != nil:
			return nil, err
		case a != nil:
			if err := s.release(work, a); err != nil {
				return nil, err
			}
			continue // there may be news already
		case s.adopted:
			return s.resume(work)
		}
		select {
		case <-s.told:
		case <-s.tenure.wait.Done():
			if s.isStopping() || work.Err() != nil {
				return nil, nil
			}
		}
	}
}

// release commits, makes the assignment the sink's own, and lets go of what is
// not in it.
func (s *sinkRunner) release(work context.Context, a *logclient.Assignment) error {
	if a.Lost {
		s.forget()
		if err := s.writer.Abort(work); err != nil {
			return err
		}
	} else if err := s.commit(work); err != nil {
		return err
	}
	s.mu.Lock()
	s.owned, s.others, s.adopted, s.resumed = a.Partitions, a.Instances, true, false
	maps.DeleteFunc(s.committed, func(tp record.TopicPartition, _ record.Offset) bool { return !slices.Contains(a.Partitions, tp) })
	if s.news == a {
		s.news = nil
		s.renew(work)
	}
	s.mu.Unlock()
	s.e.logger.Debug("sink assigned", "sink", s.cfg.Name, "partitions", len(a.Partitions), "lost", a.Lost)
	return s.member.Done(*a)
}

// renew begins a tenure; the lock is held.
func (s *sinkRunner) renew(work context.Context) {
	s.tenure.stop()
	s.tenure = newTenure(work)
	if s.stopping {
		s.tenure.handOver()
	}
}

// forget drops what was written and not committed: it comes again, here or elsewhere.
func (s *sinkRunner) forget() {
	s.next, s.due, s.aside = logclient.Positions{}, time.Time{}, nil
	s.polled.reset()
}

// resume reads on where the sink's partitions are committed, unless it does already.
func (s *sinkRunner) resume(work context.Context) (map[record.TopicPartition]record.Offset, error) {
	if s.resumed {
		return nil, nil
	}
	s.forget()
	if err := s.endGone(work); err != nil {
		return nil, err
	}
	from, err := s.from(work)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.committed = maps.Clone(from)
	s.mu.Unlock()
	s.reader.Assign(from)
	s.resumed = true
	s.lag()
	return from, nil
}

// endGone ends the transactions that this sink of instances that are gone has
// left: their positions cannot be read before.
func (s *sinkRunner) endGone(ctx context.Context) error {
	s.mu.Lock()
	others := s.others
	s.mu.Unlock()
	if !s.e.clustered() || len(others) == 0 {
		return nil
	}
	recorded, err := s.e.recordedInstances(ctx)
	if err != nil {
		return err
	}
	for _, in := range others {
		delete(recorded, in.Name)
	}
	delete(recorded, s.e.instance)
	for name, r := range recorded {
		id := s.idOf(name)
		if s.departed.settled(name, r) || !slices.Contains(r.IDs, id) {
			continue
		}
		if err := endTransactions(ctx, s.e.log, []string{id}); err != nil {
			return err
		}
		s.departed.add(name, r)
	}
	return nil
}

// idOf is the sink's transactional id in another instance.
func (s *sinkRunner) idOf(instance string) string {
	return string(s.e.ownOf(instance, "sink-"+s.cfg.Name))
}

// halt makes the sink end, with what the other system has acknowledged committed.
func (s *sinkRunner) halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	s.tenure.handOver()
}

func (s *sinkRunner) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// awaitSinks waits for sinks that were halted, for drainTimeout.
func (e *Engine) awaitSinks(work context.Context) error {
	limit, cancel := context.WithTimeout(work, drainTimeout)
	defer cancel()
	for _, s := range e.sinks {
		if await(limit, work, s.gate.out()) != nil && work.Err() != nil {
			return context.Cause(work)
		}
	}
	return nil
}
