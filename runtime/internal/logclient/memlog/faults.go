package memlog

import (
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// CommitFault says how a Commit fails.
type CommitFault uint8

const (
	noFault CommitFault = iota
	// FailBefore: ErrUnknownOutcome; the decision was not reached, the transaction
	// stays open with its positions pending until the writer is opened anew.
	FailBefore
	// FailAfter: ErrUnknownOutcome; the transaction is committed.
	FailAfter
	// FailFenced: ErrFenced; the transaction is aborted, as by a successor.
	FailFenced
	// FailRebalanced: ErrRebalanced; the transaction is open until Abort.
	FailRebalanced
	// FailUnavailable: ErrUnavailable; the transaction is open until Abort.
	FailUnavailable
)

type faults struct {
	commits map[logclient.TxnID][]CommitFault
	polls   []error
}

func (f *faults) commit(id logclient.TxnID) CommitFault {
	for _, key := range []logclient.TxnID{id, ""} {
		if q := f.commits[key]; len(q) > 0 {
			f.commits[key] = q[1:]
			return q[0]
		}
	}
	return noFault
}

func (f *faults) poll() error {
	if len(f.polls) == 0 {
		return nil
	}
	err := f.polls[0]
	f.polls = f.polls[1:]
	return err
}

// FailNextCommit makes the next Commit of a transactional id ("" for any) fail.
// Several calls queue up.
func (l *Log) FailNextCommit(id logclient.TxnID, fault CommitFault) {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	f := &l.srv.faults
	if f.commits == nil {
		f.commits = map[logclient.TxnID][]CommitFault{}
	}
	f.commits[id] = append(f.commits[id], fault)
}

// FailNextPoll makes the next Poll of any reader fail with err, also one that
// waits now.
func (l *Log) FailNextPoll(err error) {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	l.srv.faults.polls = append(l.srv.faults.polls, err)
	l.srv.wakeAll()
}

// Rebalance begins a new generation of the group: its member's Next returns
// these partitions, and positions of the old generation are refused.
func (l *Log) Rebalance(groupName string, tps ...record.TopicPartition) {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	if g := l.srv.group(groupName); g.member != nil {
		g.assign(tps)
		l.srv.wakeAll()
	}
}

// ExpireTransactions aborts and fences transactions older than their timeout by
// Config.Now.
func (l *Log) ExpireTransactions() {
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	for _, pr := range s.producers {
		if pr.ongoing && now.Sub(pr.begun) >= pr.timeout {
			pr.end(s, false)
			pr.epoch++
		}
	}
}
