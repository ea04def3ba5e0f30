package cassandra

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

// unit is what goes out as one request: changes of one partition.
type unit struct {
	ops        []*op
	statements []statement
	key        []byte // routing key
}

// round is one go at sending: when begin ends, no request begins any more, and
// those under way are waited for; when ctx does, these end too.
type round struct {
	ctx, begin context.Context
	stop       context.CancelCauseFunc
}

// send sends changes side by side and sets the err of each. One that cannot be
// written for now stops those that have not begun.
func (s *Sink) send(ctx context.Context, ops []*op) {
	all := s.prepare(ops)
	r := round{ctx: ctx}
	r.begin, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(s.cfg.InFlight, len(all)) {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(len(all)); i = next.Add(1) {
				s.sendUnit(&r, all[i-1])
			}
		})
	}
	workers.Wait()
}

// prepare builds the requests; the workers share none of the memory they take.
func (s *Sink) prepare(ops []*op) []unit {
	groups := units(ops, s.cfg.BatchRows, s.cfg.BatchBytes)
	all := make([]unit, len(groups))
	for i, g := range groups {
		st := s.memory.stmts.take(len(g))
		for n, o := range g {
			o.err = nil
			st[n] = o.statement(&s.memory)
		}
		all[i] = unit{ops: g, statements: st, key: g[0].routingKey()}
	}
	return all
}

// sendUnit sends one request until it is acknowledged, refused, or not to be
// tried again within this Write.
func (s *Sink) sendUnit(r *round, u unit) {
	for attempt := 1; ; attempt++ {
		number, err := s.limit.enter(r.begin)
		if err != nil {
			u.failed(context.Cause(r.begin))
			return
		}
		err = s.session.write(r.ctx, u.statements, u.key)
		if err == nil {
			s.limit.leave(number, false)
			s.counts.requests.Add(1)
			s.counts.written.Add(int64(len(u.ops)))
			return
		}
		c := classify(err)
		s.limit.leave(number, c == classBusy)
		switch {
		case c == classInvalid && len(u.ops) > 1:
			s.sendSingly(r, u)
			return
		case c == classInvalid:
			u.failed(err)
			return
		case c == classEnded && r.ctx.Err() != nil:
			u.failed(r.ctx.Err())
			return
		case c == classRefused, attempt >= s.cfg.Attempts:
			u.failed(err)
			r.stop(err)
			return
		}
		s.counts.retries.Add(1)
		if err := pause(r.begin, s.cfg.Backoff<<(attempt-1)); err != nil {
			u.failed(err)
			return
		}
	}
}

// sendSingly finds out which change of a refused batch is at fault.
func (s *Sink) sendSingly(r *round, u unit) {
	for i := range u.ops {
		s.sendUnit(r, unit{u.ops[i : i+1], u.statements[i : i+1], u.key})
	}
}

func (u unit) failed(err error) {
	for _, o := range u.ops {
		o.err = err
	}
}

// pause waits between half of d and d.
func pause(ctx context.Context, d time.Duration) error {
	d = min(d, maxBackoff)
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outcome is what became of the records of a Write.
type outcome struct {
	rejected map[int]error
	again    map[int]bool
	err      error // why again
}

// judge sorts the changes that were sent and not written, and returns those to be
// sent now because the ones that made them needless are refused.
func (s *Sink) judge(ctx context.Context, ops []*op, out *outcome) []*op {
	var invalid, next []*op
	for _, o := range ops {
		switch {
		case o.err == nil:
		case classify(o.err) == classInvalid:
			invalid = append(invalid, o)
		default:
			out.comeAgain(o, o.err)
		}
	}
	if len(invalid) == 0 {
		return nil
	}
	if changed, err := s.schemaChanged(ctx); changed {
		for _, o := range invalid {
			out.comeAgain(o, err)
		}
		return nil
	}
	for _, o := range invalid {
		out.rejected[o.record] = fmt.Errorf("%w: table %s: %w", ErrRow, o.plan.full, o.err)
		next = s.merge.revive(next, o)
	}
	return next
}

// comeAgain notes the record of a change, and of those that it stands for.
func (out *outcome) comeAgain(o *op, err error) {
	out.again[o.record] = true
	if out.err == nil {
		out.err = err
	}
	for _, v := range o.victims {
		out.comeAgain(v, err)
	}
}

// error is what Write returns.
func (out *outcome) error() error {
	w := &connectors.WriteError{}
	for _, i := range slices.Sorted(maps.Keys(out.rejected)) {
		w.Rejected = append(w.Rejected, connectors.RecordError{Index: i, Err: out.rejected[i]})
		delete(out.again, i)
	}
	w.Again = slices.Sorted(maps.Keys(out.again))
	if len(w.Again) > 0 {
		w.Err = fmt.Errorf("cassandra: %w", out.err)
	}
	if len(w.Again) == 0 && len(w.Rejected) == 0 {
		return nil
	}
	return w
}
