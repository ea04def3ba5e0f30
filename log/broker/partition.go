package broker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// Partition is a handle on one partition, valid until the broker is closed or
// the topic deleted; then its methods return ErrClosed. Keep it: looking it up
// costs a map access under a lock. Any goroutine may use it.
type Partition struct {
	b        *Broker
	tp       record.TopicPartition
	topicID  [16]byte
	log      atomic.Pointer[segment.Log] // nil: could not be opened, see offline
	settings atomic.Pointer[topicSettings]
	gone     atomic.Bool // closed or deleted
	hold     atomic.Int64
	dirty    atomic.Int64 // first dirty offset: where the next cleaning begins
	unsynced atomic.Int64 // ms, since when flush.ms has something to do; 0: nothing
	watchers watchers

	mu      sync.Mutex // guards what follows
	offline error      // why log is nil or takes no appends; told once
}

// TopicPartition names the partition.
func (p *Partition) TopicPartition() record.TopicPartition { return p.tp }

// open returns the log, or why there is none.
func (p *Partition) open() (*segment.Log, error) {
	if p.gone.Load() {
		return nil, &PartitionError{p.tp, ErrClosed}
	}
	l := p.log.Load()
	if l == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return nil, &PartitionError{p.tp, fmt.Errorf("%w: %w", ErrOffline, p.offline)}
	}
	return l, nil
}

// wrap adds the partition and the broker's class to an error of the log, and
// notes a partition that went offline.
func (p *Partition) wrap(err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, segment.ErrOffline):
		p.setOffline(err)
		err = fmt.Errorf("%w: %w", ErrOffline, err)
	case errors.Is(err, segment.ErrStorage):
		err = fmt.Errorf("%w: %w", ErrStorage, err)
	case errors.Is(err, segment.ErrClosed):
		err = ErrClosed
	case errors.Is(err, segment.ErrProducerEpoch):
		err = fmt.Errorf("%w: %w", ErrInvalidProducerEpoch, err)
	}
	var oor *segment.OffsetOutOfRangeError
	if errors.As(err, &oor) {
		return err // names the partition itself
	}
	return &PartitionError{p.tp, err}
}

func (p *Partition) setOffline(err error) {
	p.mu.Lock()
	first := p.offline == nil
	p.offline = err
	p.mu.Unlock()
	if !first {
		return
	}
	p.b.cfg.Logger.Error("partition is offline until it is reopened", "topic", p.tp.Topic, "partition", p.tp.Partition, "err", err)
	if h := p.b.cfg.Hooks.Offline; h != nil {
		h(p.tp, err)
	}
	p.watchers.wake(true)
}

// Err is why the partition is offline; nil if it is not.
func (p *Partition) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offline
}

// Offsets of a partition at one moment.
type Offsets struct {
	Start   record.Offset // log start
	End     record.Offset // high watermark = log end
	Stable  record.Offset // last stable offset
	Durable record.Offset // everything below is on disk
	Epoch   record.LeaderEpoch
}

// Offsets tells where the partition stands; all zero if it is offline or gone.
func (p *Partition) Offsets() Offsets {
	l := p.log.Load()
	if l == nil {
		return Offsets{Epoch: record.NoLeaderEpoch}
	}
	// Weaker ones first: each may move on while the next is read.
	o := Offsets{Start: l.Start(), Stable: l.Stable(), Durable: l.Durable(), Epoch: l.Epoch()}
	o.End = l.End()
	return o
}

// EpochAt is the leader epoch of the record at offset (NoLeaderEpoch if unknown).
func (p *Partition) EpochAt(offset record.Offset) record.LeaderEpoch {
	l := p.log.Load()
	if l == nil || offset < 0 {
		return record.NoLeaderEpoch
	}
	// Epochs begin in rising order, so the epoch is the greatest whose
	// predecessor ends at or below the offset.
	epoch := l.Epoch()
	for epoch >= 0 {
		prev := l.EndOfEpoch(epoch - 1)
		if prev.Epoch == record.NoLeaderEpoch || prev.End <= offset {
			break
		}
		epoch = prev.Epoch
	}
	return epoch
}

// OffsetForTime finds the first record whose timestamp is at or after ms; the
// end with record.NoTimestamp if there is none.
func (p *Partition) OffsetForTime(ms int64) (offset record.Offset, timestamp int64, err error) {
	l, err := p.open()
	if err != nil {
		return 0, 0, err
	}
	end := l.End()
	t, err := l.OffsetForTime(ms)
	if err != nil {
		return 0, 0, p.wrap(err)
	}
	if t.Offset == record.NoOffset {
		return end, record.NoTimestamp, nil
	}
	return t.Offset, t.Timestamp, nil
}

// EndOfEpoch is where leader epoch e ends: the largest epoch at or below e that
// exists and its end offset (OffsetForLeaderEpoch, KIP-101); NoOffset if unknown.
func (p *Partition) EndOfEpoch(e record.LeaderEpoch) (record.LeaderEpoch, record.Offset) {
	l := p.log.Load()
	if l == nil {
		return record.NoLeaderEpoch, record.NoOffset
	}
	end := l.EndOfEpoch(e)
	return end.Epoch, end.End
}

// DeleteBefore raises the log start (DeleteRecords) and removes segments wholly
// below it. It returns the new start. The offset NoOffset means the end. The
// start is on disk with the next checkpoint, as in Kafka: after a crash it may
// be lower, never below what segments remain.
func (p *Partition) DeleteBefore(offset record.Offset) (record.Offset, error) {
	l, err := p.open()
	if err != nil {
		return 0, err
	}
	if offset == record.NoOffset {
		offset = l.End()
	}
	if err := l.DeleteBefore(offset); err != nil {
		return l.Start(), p.wrap(err)
	}
	p.b.startsChanged.Store(true)
	p.watchers.wake(true)
	return l.Start(), nil
}

// Hold keeps the cleaner from removing tombstones at or above offset, until the
// next call; NoOffset lifts it. Holds live in memory.
func (p *Partition) Hold(offset record.Offset) { p.hold.Store(int64(offset)) }

// Sync makes everything appended so far durable (whatever the topic's flush says).
func (p *Partition) Sync() error {
	l, err := p.open()
	if err != nil {
		return err
	}
	return p.syncTo(l, l.End())
}

// syncTo makes everything below upTo durable.
func (p *Partition) syncTo(l *segment.Log, upTo record.Offset) error {
	if upTo = min(upTo, l.End()); l.Durable() >= upTo {
		return nil
	}
	h := p.b.cfg.Hooks.Synced
	var began time.Time
	if h != nil {
		began = p.b.cfg.Now()
	}
	err := l.Sync(upTo)
	if h != nil {
		h(p.tp, p.b.cfg.Now().Sub(began), err)
	}
	return p.wrap(err)
}

// Bytes is the size of the partition's log files.
func (p *Partition) Bytes() int64 {
	if l := p.log.Load(); l != nil {
		return l.Bytes()
	}
	return 0
}

// Reopen brings an offline partition back from disk. It is recovered as after a
// crash, so what was not synced may be cut; therefore transactions that are open
// in it are aborted, and their producers are refused until they initialise
// again. Partitions of the coordinators' topics come back with a restart only.
func (p *Partition) Reopen() error {
	if internal(p.tp.Topic) {
		return &PartitionError{p.tp, fmt.Errorf("%w: a coordinator's partition comes back when the broker is restarted", ErrOffline)}
	}
	// No transaction that wrote here may be decided between the cut and its abort.
	entries := p.b.txns.entries()
	for _, e := range entries {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	if err := p.reopenLog(); err != nil {
		return err
	}
	for _, e := range entries {
		if err := p.b.txns.abortIn(e, p.tp); err != nil {
			return txnError(e.id, err)
		}
	}
	p.watchers.wake(true)
	return nil
}

func (p *Partition) reopenLog() error {
	p.b.metaMu.Lock()
	defer p.b.metaMu.Unlock()
	if p.gone.Load() {
		return &PartitionError{p.tp, ErrClosed}
	}
	if err := p.hasDir(); err != nil {
		return p.wrap(err)
	}
	if l := p.log.Load(); l != nil {
		l.Abandon()
	}
	l, rec, err := segment.Open(p.logConfig(), segment.OpenOptions{
		RecoveryPoint: p.b.checkpointed(recoveryPointFile, p.tp), LogStart: p.b.checkpointed(logStartFile, p.tp), Now: p.b.nowMS(),
	})
	if err != nil {
		return p.wrap(err)
	}
	p.b.logRecovery(p, rec)
	p.mu.Lock()
	p.offline = nil
	p.mu.Unlock()
	p.log.Store(l)
	return nil
}

func (p *Partition) logConfig() segment.Config {
	return segment.Config{
		FS: p.b.fs, Dir: p.b.partitionDir(p.tp), Partition: p.tp, TopicID: p.topicID,
		Files: p.b.files, Logger: p.b.cfg.Logger, Settings: p.settings.Load().log,
	}
}

// configure puts settings in force.
func (p *Partition) configure(s *topicSettings) {
	p.settings.Store(s)
	if l := p.log.Load(); l != nil {
		l.Configure(s.log)
	}
}

func (p *Partition) flush() Flush { return p.settings.Load().flush }
