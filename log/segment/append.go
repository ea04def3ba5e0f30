package segment

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/millstream-io/millstream/log/record"
)

// request is one Append that waits for its turn.
type request struct {
	batches []byte
	headers []record.BatchHeader
	opts    AppendOptions
	marker  record.Marker
	control bool // batches is one marker batch of ours

	done bool // guarded by Log.mu, as are res and err
	res  AppendResult
	err  error
	mark int // undo position before this request
}

var requestPool = sync.Pool{New: func() any { return new(request) }}

// queue holds the requests that wait for Log.mu.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	spare   []*request
}

func (q *queue) push(r *request) {
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	q.mu.Unlock()
}

// take gives all that wait; put gives the slice back.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.waiting
	q.waiting, q.spare = q.spare[:0], nil
	return all
}

func (q *queue) put(all []*request) {
	clear(all)
	q.mu.Lock()
	q.spare = all[:0]
	q.mu.Unlock()
}

// Append appends one or more whole batches: all or none. Base offset and leader epoch are
// stamped into batches, which belongs to the log until Append returns. The bytes are then in
// the page cache and readable, not durable: see Sync.
//
// Errors: *record.BatchError or ErrInvalidBatch (the bytes), ErrTooLarge, *ProducerError,
// ErrStorage (the disk refused; nothing was appended), *OfflineError, ErrClosed.
func (l *Log) Append(batches []byte, o AppendOptions) (AppendResult, error) {
	r := requestPool.Get().(*request)
	r.batches, r.opts, r.control, r.done = batches, o, false, false
	if err := l.prepare(r); err != nil {
		l.recycle(r)
		return AppendResult{}, err
	}
	return l.submit(r)
}

// AppendMarker ends the producer's transaction in this partition.
func (l *Log) AppendMarker(id record.ProducerID, epoch record.ProducerEpoch, m record.Marker, now int64) (AppendResult, error) {
	r := requestPool.Get().(*request)
	batch := record.AppendMarkerBatch(nil, id, epoch, m, now)
	h, err := record.ParseHeader(batch)
	if err != nil {
		return AppendResult{}, err
	}
	r.batches, r.headers = batch, append(r.headers[:0], h)
	r.opts, r.marker, r.control, r.done = AppendOptions{Now: now, Coordinator: true}, m, true, false
	return l.submit(r)
}

// submit queues the request; whoever gets the mutex writes for all that wait.
func (l *Log) submit(r *request) (AppendResult, error) {
	l.queue.push(r)
	l.mu.Lock()
	if !r.done {
		all := l.queue.take()
		l.appendAll(all)
		l.queue.put(all)
	}
	l.mu.Unlock()
	res, err := r.res, r.err
	l.recycle(r)
	return res, err
}

func (l *Log) recycle(r *request) {
	r.batches, r.err = nil, nil
	requestPool.Put(r)
}

// prepare checks all that needs no lock: whole batches, sizes, CRCs, counts.
func (l *Log) prepare(r *request) error {
	limit := l.settings.Load().MaxBatchBytes
	r.headers = r.headers[:0]
	if len(r.batches) == 0 {
		return fmt.Errorf("%w: no bytes", ErrInvalidBatch)
	}
	if int64(len(r.batches)) > math.MaxInt32 {
		return fmt.Errorf("%w: %d bytes in one append", ErrTooLarge, len(r.batches))
	}
	for b := r.batches; len(b) > 0; {
		if size, ok := record.PeekSize(b); ok && size > limit {
			return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, limit)
		}
		h, err := record.Validate(b)
		if err != nil {
			return placed(err, int64(len(r.batches)-len(b)))
		}
		if err := checkAppended(&h, r.opts); err != nil {
			return err
		}
		if r.opts.LogAppendTime {
			record.SetLogAppendTime(b[:h.Size()], r.opts.Now)
			h.MaxTimestamp = r.opts.Now
		}
		r.headers = append(r.headers, h)
		b = b[h.Size():]
	}
	return nil
}

// checkAppended holds the rules for a producer's batch beyond its own format.
func checkAppended(h *record.BatchHeader, o AppendOptions) error {
	bad := func(expected string, found any) error {
		return fmt.Errorf("%w: expected %s, found %v", ErrInvalidBatch, expected, found)
	}
	switch _, horizon := h.DeleteHorizon(); {
	case h.Control():
		return bad("data", "a control batch")
	case h.Count < 1 || h.Count != h.LastOffsetDelta+1:
		return bad(fmt.Sprintf("count = last offset delta + 1 = %d", h.LastOffsetDelta+1), h.Count)
	case horizon:
		return bad("no delete horizon", h.BaseTimestamp)
	case h.HasProducer() && h.ProducerEpoch < 0:
		return bad("a producer epoch", h.ProducerEpoch)
	case h.HasProducer() && !o.Coordinator && h.BaseSequence < 0:
		return bad("a base sequence", h.BaseSequence)
	case h.Transactional() && !h.HasProducer():
		return bad("a producer id in a transactional batch", h.ProducerID)
	}
	return nil
}

// appendPlan is what one vectored write will do; reused under Log.mu.
type appendPlan struct {
	requests []*request
	bufs     [][]byte
	bytes    int64
	end      record.Offset // after all of it
	aborted  []AbortedTxn
	entries  indexEntries
}

func (p *appendPlan) reset(end record.Offset) {
	clear(p.requests)
	clear(p.bufs)
	p.requests, p.bufs, p.bytes, p.end, p.aborted = p.requests[:0], p.bufs[:0], 0, end, p.aborted[:0]
	p.entries.reset()
}

// appendAll serves requests in order with as few writes as segments allow.
func (l *Log) appendAll(all []*request) {
	l.plan.reset(l.End())
	for _, r := range all {
		if err := l.usable(); err != nil {
			r.err, r.done = err, true
			continue
		}
		if l.epochUnwritten.Load() {
			if err := l.writeEpochs(); err != nil {
				r.err, r.done = err, true
				continue
			}
		}
		if l.mustRoll(r) {
			l.write()
			if err := l.roll(); err != nil {
				r.err, r.done = fmt.Errorf("%w: roll %s: %w", ErrStorage, l.cfg.Dir, err), true
				continue
			}
		}
		l.place(r)
	}
	l.write()
}

// place checks a request against the producer state and puts it into the plan, or answers it.
func (l *Log) place(r *request) {
	r.mark = l.producers.mark()
	aborted := len(l.plan.aborted)
	next := l.plan.end
	r.res = AppendResult{Base: next, LogAppendTime: record.NoTimestamp, Epoch: l.Epoch()}
	if r.opts.LogAppendTime {
		r.res.LogAppendTime = r.opts.Now
	}
	for i := range r.headers {
		h := &r.headers[i]
		if h.HasProducer() && !r.control && !r.opts.Coordinator {
			if dup, ok := l.producers.duplicate(h); ok {
				l.producers.rollback(r.mark)
				if len(l.plan.requests) > 0 {
					// The original may be in this very plan: it must be written before its duplicate is answered.
					l.write()
					l.place(r)
					return
				}
				r.res.Base, r.res.Next, r.res.Duplicate = dup.lastOffset-record.Offset(dup.delta), dup.lastOffset+1, true
				r.done = true
				return
			}
		}
		h.BaseOffset = next
		if err := l.applyChecked(h, r); err != nil {
			l.producers.rollback(r.mark)
			l.plan.aborted = l.plan.aborted[:aborted]
			r.res, r.err, r.done = AppendResult{}, err, true
			return
		}
		next = h.NextOffset()
	}
	at := 0
	for i := range r.headers {
		record.SetBaseOffset(r.batches[at:], r.headers[i].BaseOffset)
		record.SetLeaderEpoch(r.batches[at:], l.Epoch())
		at += r.headers[i].Size()
	}
	r.res.Next = next
	l.plan.requests = append(l.plan.requests, r)
	l.plan.bufs = append(l.plan.bufs, r.batches)
	l.plan.bytes += int64(len(r.batches))
	l.plan.end = next
}

// applyChecked folds a batch into the producer state after checking it.
func (l *Log) applyChecked(h *record.BatchHeader, r *request) error {
	if !h.HasProducer() {
		return nil
	}
	if r.control {
		if err := l.producers.checkMarker(h, r.marker); err != nil {
			return err
		}
		if t, aborted := l.producers.applyMarker(h, r.marker, r.opts.Now); aborted {
			l.plan.aborted = append(l.plan.aborted, t)
		}
		return nil
	}
	if err := l.producers.checkData(h, r.opts); err != nil {
		return err
	}
	l.producers.applyData(h, r.opts.Now)
	return nil
}

// write puts the plan on disk, publishes it and answers its requests. When the
// disk refuses, all is as before.
func (l *Log) write() {
	p := &l.plan
	if len(p.requests) == 0 {
		l.producers.commit()
		return
	}
	s := l.active()
	err := l.writeBytes(s)
	if err != nil {
		l.producers.rollback(0)
		for _, r := range p.requests {
			r.res, r.err, r.done = AppendResult{}, err, true
		}
		p.reset(l.End())
		return
	}
	l.producers.commit()
	l.publish(s)
	for _, r := range p.requests {
		r.done = true
	}
	p.reset(p.end)
}

func (l *Log) writeBytes(s *segment) error {
	f, err := s.log.acquire()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	defer s.log.release()
	size := s.size.Load()
	s.log.dirty.Store(true)
	n, err := f.WritevAt(l.plan.bufs, size)
	if err == nil && int64(n) != l.plan.bytes {
		err = errors.New("short write")
	}
	if err == nil {
		return nil
	}
	// A .log ends at its last batch: take the torn bytes back.
	if terr := f.Truncate(size); terr != nil {
		l.failSync(fmt.Errorf("cut %s back to %d bytes after a failed write: %w", s.log.path, size, terr))
	}
	return fmt.Errorf("%w: append to %s: %w; nothing was appended, free space and retry", ErrStorage, s.log.path, err)
}

// publish makes written batches visible: indexes, size, end, stable, in this order.
func (l *Log) publish(s *segment) {
	p := &l.plan
	interval := l.settings.Load().IndexIntervalBytes
	position := s.size.Load()
	for _, r := range p.requests {
		for i := range r.headers {
			s.indexBatch(&r.headers[i], position, interval, &p.entries)
			position += int64(r.headers[i].Size())
		}
	}
	for _, t := range p.aborted {
		l.warn("transaction index", s.txn.append(t))
	}
	s.size.Store(position)
	if len(p.entries.offsets) > 0 {
		l.warn("offset index", s.index.append(p.entries.offsets))
	}
	if len(p.entries.times) > 0 {
		l.warn("time index", s.time.append(p.entries.times))
	}
	l.appended.Add(p.bytes)
	l.end.Store(int64(p.end))
	l.stable.Store(int64(l.producers.stable(p.end)))
}

// warn reports an index that could not be written; recovery and reads do without.
func (l *Log) warn(what string, err error) {
	if err != nil {
		l.logger.Warn(what+" not written; it is rebuilt at the next open", "dir", l.cfg.Dir, "error", err)
	}
}
