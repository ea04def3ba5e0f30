package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// rideTimeout bounds how long a commit waits for the group's next generation.
const rideTimeout = 5 * time.Second

// ride calls try, which commits positions with a generation. A rebalance that
// takes none of them away needs not stop their task: when the group says that
// the generation is over, it waits for the next one and tries again with that,
// as long as the member holds all the partitions and has held them since g. It
// returns the refusal otherwise, and when the time is up.
func (l *Log) ride(ctx context.Context, in logclient.Positions, g logclient.Generation, try func(logclient.Generation) error) error {
	err := try(g)
	m := l.memberOf(g)
	if m == nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, rideTimeout)
	defer cancel()
	tried := g
	for pause := firstPause; errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.RebalanceInProgress); pause = min(2*pause, mostPause) {
		if wait(waiting, pause) != nil {
			return err
		}
		now, holds := m.holds(in, g)
		if !holds {
			return err
		}
		if now != tried || errors.Is(err, kerr.RebalanceInProgress) {
			tried = now
			err = try(now)
		}
	}
	return err
}

// memberOf is the member of this log that a generation is of; nil if there is none.
func (l *Log) memberOf(g logclient.Generation) *member {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m := range l.members {
		m.mu.Lock()
		is := m.group == g.Group && m.holder == g.Member && g.Member != ""
		m.mu.Unlock()
		if is {
			return m
		}
	}
	return nil
}

// holds says whether partitions were this member's all the time since generation
// g, and with which generation to commit them now.
func (m *member) holds(in logclient.Positions, g logclient.Generation) (logclient.Generation, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != notLost || m.holder != g.Member || g.ID < m.since || m.lostAt.Member == g.Member && g.ID <= m.lostAt.ID {
		return g, false
	}
	for tp := range in {
		if !m.have[tp] && !m.releasing[tp] {
			return g, false
		}
	}
	return m.current(), true
}
