package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// asideRecord is a record that becomes a dead letter at the next commit. It
// points into the poll's memory: the commit comes before the next poll.
type asideRecord struct {
	record record.View
	letter letter
}

// deliver hands the records of a poll to the connector, as many at a time as
// its limits allow, and commits where they, or dead letters, ask for it.
func (s *sinkRunner) deliver(work context.Context) error {
	p := &s.polled
	if len(p.ends) > 0 && s.due.IsZero() {
		s.due = time.Now().Add(s.e.cfg.CommitInterval)
	}
	if len(p.records) == 0 {
		p.passed(0, 0, s.next)
	}
	for from := 0; from < len(p.records); {
		to := len(p.records)
		if s.limits.MaxRecords > 0 {
			to = min(to, from+s.limits.MaxRecords)
		}
		if done, err := s.write(p.records[from:to]); !done {
			s.aside = s.aside[:0] // of records that come again
			return err
		}
		p.passed(from, to, s.next)
		from = to
		if s.limits.CommitEach || len(s.aside) > 0 {
			if err := s.commit(work); err != nil {
				return err
			}
			s.due = time.Now().Add(s.e.cfg.CommitInterval) // for what follows
		}
		if s.tenure.wait.Err() != nil {
			return nil // what is left of the poll is read again
		}
	}
	return nil
}

// write hands records to the connector until each is acknowledged or put aside:
// then it is done. It is not if the sink has to let go before that, or with an error.
func (s *sinkRunner) write(records []connectors.Record) (done bool, err error) {
	s.left = append(s.left[:0], records...)
	s.tries = append(s.tries[:0], make([]int, len(records))...)
	left := s.left
	alone := false // a bound is reached: every record has one more attempt, by itself
	for len(left) > 0 {
		n := len(left)
		if alone {
			n = 1
		}
		s.state.inFlight(n)
		began := time.Now()
		err := s.gate.call("sink "+s.cfg.Name, func() error { return s.cfg.Sink.Write(s.tenure.write, left[:n]) })
		if err == errLeft {
			return false, err
		}
		took := time.Since(began)
		o := outcomeOf(err, n)
		left = s.settle(left, n, &o, took)
		switch {
		case o.err == nil:
			s.retry.progressed()
			continue
		case s.tenure.wait.Err() != nil:
			return false, nil
		case len(o.again) < n:
			s.retry.progressed()
		}
		wait, again := s.retry.failed(time.Now(), o.err)
		switch {
		case !mayPass(o.err, true) || !again && !alone && s.retry.policy.Then == "stop":
			s.gaveUp(took, o.err)
			return false, s.fatal(&left[0], o.err)
		case again && !alone:
			if !s.await(took, wait, o.err) {
				return false, nil
			}
		case alone || len(left) == 1:
			s.gaveUp(took, o.err)
			left = s.putAside(left, 0, o.err)[1:]
			s.retry.progressed()
		default:
			s.gaveUp(took, o.err)
			alone = true
		}
	}
	return true, nil
}

// outcome is what became of the n records of a Write: each is rejected, to come
// again, or acknowledged.
//
// Invariant: err is nil if and only if no record has to come again because of
// an error; those behind a RecordError come again without one.
type outcome struct {
	rejected []connectors.RecordError
	again    []int // ascending
	err      error
}

// outcomeOf makes one form of all that a connector may say. A form that
// contradicts itself is a *ConnectorMistakeError, after which nothing counts as
// acknowledged.
func outcomeOf(err error, n int) (o outcome) {
	var each *connectors.WriteError
	var one *connectors.RecordError
	var partial *connectors.PartialError
	from := 0
	switch {
	case err == nil:
		return outcome{}
	case errors.As(err, &each):
		if wrong := each.Check(n); wrong != nil {
			o.err = &ConnectorMistakeError{fmt.Errorf("%w: %w", wrong, err)}
			break
		}
		return outcome{rejected: each.Rejected, again: each.Again, err: each.Err}
	case errors.As(err, &one):
		if one.Index < 0 || one.Index >= n {
			o.err = &ConnectorMistakeError{fmt.Errorf("its RecordError has the index %d, the Write had %d records: %w", one.Index, n, err)}
			break
		}
		o.rejected = []connectors.RecordError{*one}
		from = one.Index + 1
	case errors.As(err, &partial):
		if partial.Done < 0 || partial.Done >= n {
			o.err = &ConnectorMistakeError{fmt.Errorf("its PartialError says that %d records are done and others are not, the Write had %d: %w", partial.Done, n, err)}
			break
		}
		from, o.err = partial.Done, err
	default:
		o.err = err
	}
	for i := from; i < n; i++ {
		o.again = append(o.again, i)
	}
	return o
}

// settle counts what went through, puts the rejected aside and returns what is
// left: the records that come again, and those after the first n.
//
// Invariant: left is the end of s.left, and s.tries says of each record of
// s.left how often it was tried.
func (s *sinkRunner) settle(left []connectors.Record, n int, o *outcome, took time.Duration) []connectors.Record {
	tries := s.tries[len(s.left)-len(left):]
	for _, r := range o.rejected {
		tries[r.Index]++
		s.putAside(left, r.Index, r.Err)
	}
	for _, i := range o.again {
		if o.err != nil { // else it is only behind one that was rejected
			tries[i]++
		}
	}
	if done := n - len(o.again) - len(o.rejected); done > 0 {
		bytes := int64(0)
		for i := range n {
			bytes += int64(len(left[i].Key) + len(left[i].Value))
		}
		for _, r := range o.rejected {
			bytes -= int64(len(left[r.Index].Key) + len(left[r.Index].Value))
		}
		for _, i := range o.again {
			bytes -= int64(len(left[i].Key) + len(left[i].Value))
		}
		s.state.succeeded(int64(done), bytes)
		s.attempted(int64(done), bytes, took, nil)
	}
	if o.err == nil {
		s.state.works()
	}
	if len(o.again) == 0 {
		return left[n:]
	}
	first := n - len(o.again)
	for i := len(o.again) - 1; i >= 0; i-- { // from the back: records move up to those after the first n
		left[first+i], tries[first+i] = left[o.again[i]], tries[o.again[i]]
	}
	return left[first:]
}

func (s *sinkRunner) gaveUp(took time.Duration, err error) {
	s.attempted(0, 0, took, err)
	s.state.failedAttempt()
}

// putAside makes left[i] a dead letter; it returns left.
func (s *sinkRunner) putAside(left []connectors.Record, i int, reason error) []connectors.Record {
	r := &left[i]
	s.e.logger.Debug("dead letter", "sink", s.cfg.Name, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "reason", reason)
	s.aside = append(s.aside, asideRecord{r.View, letter{
		stage: s.cfg.Name, kind: kindSink, reason: reason.Error(), topic: r.Topic, partition: r.Partition, offset: r.Offset,
		attempts: s.tries[len(s.left)-len(left)+i],
	}})
	return left
}

func (s *sinkRunner) fatal(r *connectors.Record, err error) error {
	return &connectorError{fmt.Errorf("sink %s: %s-%d offset %d: %w", s.cfg.Name, r.Topic, r.Partition, r.Offset, err)}
}
