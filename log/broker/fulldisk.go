package broker

import (
	"errors"
	"time"

	"github.com/millstream-io/millstream/log/segment"
)

// reopenInterval is how often partitions that a full disk kept from opening are
// tried: each try reads the end of the log as a start does.
const reopenInterval = 10 * time.Second

// afterFullDisk goes on where a full disk stopped the start: leader epochs that
// could not be written are, and partitions that could not be opened for want of
// space are opened. It does nothing about partitions that are offline for any
// other reason. A disk that is still full is no error.
func (b *Broker) afterFullDisk() error {
	now := b.nowMS()
	if next := b.nextReopen.Load(); now < next && next-now <= reopenInterval.Milliseconds() {
		return nil
	}
	b.nextReopen.Store(now + reopenInterval.Milliseconds())
	b.metaMu.Lock()
	err := b.keepReserve()
	b.metaMu.Unlock()
	if segment.NoSpace(err) {
		return nil
	}
	for _, p := range b.allPartitions() {
		var err error
		if l := p.log.Load(); l != nil {
			if p.Err() == nil {
				err = p.wrap(l.WriteEpoch())
			}
		} else {
			err = p.reopenIfFull()
		}
		switch {
		case segment.NoSpace(err):
			return nil // the others find none either
		case err != nil && !errors.Is(err, ErrClosed):
			return err
		}
	}
	return nil
}

// reopenIfFull opens the partition if only missing space kept it from that.
// Those of the coordinators' topics need a restart; see Reopen.
func (p *Partition) reopenIfFull() error {
	if !segment.NoSpace(p.Err()) || internal(p.tp.Topic) {
		return nil
	}
	p.dirty.Store(int64(p.b.checkpointed(cleanerOffsetFile, p.tp)))
	err := p.Reopen()
	switch {
	case err == nil:
		p.b.cfg.Logger.Info("there is space again: partition reopened", "topic", p.tp.Topic, "partition", p.tp.Partition)
	case p.log.Load() == nil && !segment.NoSpace(err) && !errors.Is(err, ErrClosed):
		p.setOffline(err) // from now on for that reason: not tried again
	}
	return err
}
