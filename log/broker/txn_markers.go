package broker

import (
	"fmt"

	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// writeMarkers ends the decided transaction in its partitions. again says that
// some may be written already: then a partition gets one only if the producer's
// open transaction there is the decided one. e.mu is held.
func (c *transactions) writeMarkers(e *txnEntry, again bool) error {
	if err := c.mark(e, e.t, again); err != nil {
		return err
	}
	c.change(e, func(core *txn.Core) { core.MarkersWritten(e.id) })
	return nil
}

// mark writes t's markers; the first error is returned after all were tried.
func (c *transactions) mark(e *txnEntry, t *txn.Txn, again bool) error {
	m := record.Marker{Type: record.AbortMarker, CoordinatorEpoch: c.b.coordinatorEpoch(t.TransactionalID)}
	if t.State == txn.PrepareCommit {
		m.Type = record.CommitMarker
	}
	var first error
	for i, tp := range t.Partitions {
		p, err := c.b.Partition(tp)
		if err != nil {
			continue // the topic is deleted
		}
		if again {
			open, err := p.openTxn(t.ID)
			end := t.EndAt(i)
			other := end.Topic != [16]byte{} && end.Topic != p.topicID // deleted and made again
			if err == nil && (open == nil || open.First >= end.Offset || other || t.Precedes(open.Epoch)) {
				continue
			}
		}
		next, err := c.b.appendMarker(p, ProducerIdentity(t.Identity), m)
		switch {
		case err == nil:
			e.unsynced[p] = next
		case first == nil:
			first = err
		}
	}
	return first
}

// openTxn finds a producer's open transaction in the partition; nil if there is none.
func (p *Partition) openTxn(pid record.ProducerID) (*segment.OngoingTxn, error) {
	l, err := p.open()
	if err != nil {
		return nil, err
	}
	for _, o := range l.Ongoing() {
		if o.ProducerID == pid {
			return &o, nil
		}
	}
	return nil, nil
}

// appendMarker ends a producer's transaction in one partition, wakes its
// readers, and settles the offsets that were pending there.
func (b *Broker) appendMarker(p *Partition, who ProducerIdentity, m record.Marker) (record.Offset, error) {
	if p.tp.Topic == offsetsTopic {
		return b.groups.appendMarker(p, who, m)
	}
	return p.appendMarker(who, m)
}

func (p *Partition) appendMarker(who ProducerIdentity, m record.Marker) (record.Offset, error) {
	l, err := p.open()
	if err != nil {
		return 0, err
	}
	res, err := l.AppendMarker(who.ID, who.Epoch, m, p.b.nowMS())
	if err != nil {
		return 0, p.wrap(err)
	}
	p.watchers.wake(true)
	return res.Next, nil
}

// WriteTxnMarker ends a producer's transaction in one partition, whatever its
// coordinator knows: the way in which an administrator ends a transaction that
// hangs, and in which Kafka's brokers do it for each other. The producer is
// who is told by Partition.Producers. bumped says that the marker is of a
// decision that raised the epoch (KIP-1228): one whose epoch is that of an open
// transaction came too late. Errors: ErrUnknownTopic, ErrOffline, ErrInvalidProducerEpoch,
// segment.ErrCoordinatorFenced.
func (b *Broker) WriteTxnMarker(tp record.TopicPartition, who ProducerIdentity, m record.Marker, bumped bool) error {
	if err := b.alive(); err != nil {
		return err
	}
	p, err := b.Partition(tp)
	if err != nil {
		return err
	}
	if bumped {
		open, err := p.openTxn(who.ID)
		if err != nil {
			return err
		}
		if open != nil && who.Epoch <= open.Epoch {
			return &PartitionError{tp, fmt.Errorf("%w: marker of epoch %d for an open transaction of epoch %d", ErrInvalidProducerEpoch, who.Epoch, open.Epoch)}
		}
	}
	next, err := b.appendMarker(p, who, m)
	if err != nil {
		return err
	}
	if p.flush() == FlushCommit {
		l, err := p.open()
		if err != nil {
			return err
		}
		return p.syncTo(l, next)
	}
	return nil
}
