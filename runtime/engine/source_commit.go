package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// A record's event time is in the years 1 to 9999, which are those that every
// calendar, time.Time's JSON among them, can say; milliseconds since 1970.
const (
	minTimestamp int64 = -62135596800000
	maxTimestamp int64 = 253402300799999
)

// append puts what was read into the transaction.
func (s *sourceRunner) append() error {
	if s.batch.Len() == 0 {
		return nil
	}
	now := time.Now()
	if s.began.IsZero() {
		s.began = now
	}
	for _, o := range s.batch.Records() {
		v := record.View{Key: o.Key, Value: o.Value, Headers: o.Headers, Timestamp: o.Timestamp}
		if v.Timestamp == record.NoTimestamp {
			v.Timestamp = now.UnixMilli()
		}
		if v.Timestamp < minTimestamp || v.Timestamp > maxTimestamp {
			if o.DeadLetter == "" {
				o.DeadLetter = fmt.Sprintf("its timestamp is %d ms since 1970, expected years 1 to 9999 (%d to %d)", v.Timestamp, minTimestamp, maxTimestamp)
			}
			v.Timestamp = now.UnixMilli() // of the dead letter: it can be listed, and expires
		}
		size := int64(len(o.Key) + len(o.Value))
		s.size += size
		if o.DeadLetter != "" {
			if err := s.putAside(v, o.DeadLetter); err != nil {
				return err
			}
			continue
		}
		p, err := s.partition(&o)
		if err != nil {
			return err
		}
		err = s.writer.Append(record.TopicPartition{Topic: s.cfg.Topic, Partition: p}, &v)
		var large *logclient.RecordTooLargeError
		if errors.As(err, &large) {
			err = s.putAside(v, large.Error())
		} else {
			s.records++
			s.bytes += size
		}
		if err != nil {
			return err
		}
	}
	s.state.inFlight(int(s.records))
	return nil
}

func (s *sourceRunner) putAside(v record.View, reason string) error {
	s.dead++
	return putAside(s.writer, s.e.topo.Name, v, letter{stage: s.cfg.Name, kind: kindSource, reason: reason, topic: s.cfg.Topic, partition: -1})
}

func (s *sourceRunner) partition(o *connectors.Out) (record.Partition, error) {
	switch {
	case o.Partition >= 0 && int32(o.Partition) < s.info.Partitions:
		return o.Partition, nil
	case o.Partition >= 0:
		return 0, &connectorError{connectors.Permanent(fmt.Errorf("the source chose partition %d of topic %s, which has %d", o.Partition, s.cfg.Topic, s.info.Partitions))}
	case o.Key != nil:
		return record.PartitionForKey(o.Key, s.info.Partitions), nil
	}
	s.turn = (s.turn + 1) & 0x7fffffff
	return record.Partition(s.turn % s.info.Partitions), nil
}

func (s *sourceRunner) due() bool {
	return !s.began.IsZero() && (s.size >= sourceCommitBytes || time.Since(s.began) >= s.e.cfg.CommitInterval)
}

// commit ends the transaction: the records and the position after them.
func (s *sourceRunner) commit(ctx context.Context) error {
	if s.began.IsZero() {
		return nil
	}
	return s.gate.pass(func() error { return s.commitNow(ctx) })
}

func (s *sourceRunner) commitNow(ctx context.Context) error {
	if p := s.cfg.Source.Position(); p != nil {
		v := record.View{Key: []byte(s.positionKey()), Value: append([]byte{1}, p...), Timestamp: time.Now().UnixMilli()}
		if err := s.writer.Append(record.TopicPartition{Topic: plan.PositionsTopic(s.e.plan.App)}, &v); err != nil {
			s.abort()
			return err
		}
	}
	if _, err := s.writer.Commit(ctx, nil, logclient.Generation{}); err != nil {
		if logclient.Classify(err) != logclient.ClassUnknownOutcome {
			s.abort()
		}
		return fmt.Errorf("commit: %w", err)
	}
	s.committed()
	return nil
}

// committed tells of a transaction that is done.
func (s *sourceRunner) committed() {
	s.e.status.deadLettered(s.dead)
	s.state.succeeded(s.records, s.bytes)
	s.state.deadLettered(s.dead)
	if m, ok := s.cfg.Source.(connectors.Measurer); ok {
		s.state.measure(m.Measures())
	}
	if s.records+s.dead > 0 {
		s.retry.progressed()
	}
	s.state.publish()
	if h := s.e.cfg.Hooks.Source; h != nil {
		h(s.cfg.Name, s.records, s.bytes, nil)
	}
	if h := s.e.cfg.Hooks.DeadLettered; h != nil && s.dead > 0 {
		h(s.cfg.Name, s.dead)
	}
	s.reset()
}

func (s *sourceRunner) reset() {
	s.began, s.records, s.bytes, s.dead, s.size = time.Time{}, 0, 0, 0, 0
}

func (s *sourceRunner) abort() {
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	if err := s.writer.Abort(ctx); err != nil {
		s.e.logger.Debug("abort", "source", s.cfg.Name, "err", err)
	}
}
