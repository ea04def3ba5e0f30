package broker

import (
	"errors"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// flush.messages and flush.ms: syncs that nobody waits for, beside those that
// millstream.flush says.

// flushAfter syncs an append up to next where flush.messages records are not on disk.
func (p *Partition) flushAfter(l *segment.Log, s *topicSettings, next record.Offset) error {
	if int64(next-l.Durable()) < s.flushMessages {
		return nil
	}
	return p.syncTo(l, next)
}

// flushTimers syncs the partitions whose flush.ms has passed since the first look
// that found something to sync.
func (b *Broker) flushTimers() error {
	var errs []error
	now := b.nowMS()
	for _, p := range b.allPartitions() {
		every := p.settings.Load().flushEvery
		l := p.log.Load()
		if every == 0 || l == nil || p.Err() != nil {
			continue
		}
		end := l.End()
		switch since := p.unsynced.Load(); {
		case l.Durable() >= end:
			p.unsynced.Store(0)
		case since == 0:
			p.unsynced.Store(now)
		case now-since >= every.Milliseconds():
			p.unsynced.Store(0)
			errs = append(errs, p.syncTo(l, end))
		}
	}
	return errors.Join(errs...)
}
