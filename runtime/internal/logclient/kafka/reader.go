package kafka

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// What one Fetch request may bring and how long a broker holds it back while
// there is nothing. A partition that is resumed, or whose chunk was just taken,
// waits so long at most. A broker sends a batch that is larger than
// partitionBytes only for the first partition of a request that has any records:
// the limit lies above what topics take by default, and the order of partitions
// in a request goes round.
const (
	partitionBytes = 1<<20 + 4<<10
	fetchBytes     = 8 << 20
	fetchWait      = 100 * time.Millisecond
)

// reader implements logclient.Reader. One chunk per partition is read ahead: while
// the caller works on it, the next is under way. There is at most one request per
// leader in flight, because a broker answers those of a connection in order.
//
// Invariant: a partition is in at most one request, and in none while it has a
// chunk; what comes back for an older assignment (generation) is thrown away.
type reader struct {
	log *Log
	cfg logclient.ReaderConfig
	cl  *kgo.Client

	ctx    context.Context // ends with Close, or with the log's
	cancel context.CancelFunc
	wake   chan struct{} // holds one token: something came
	flying sync.WaitGroup

	mu         sync.Mutex // guards what follows
	generation int
	order      []*input // sorted by partition
	byTP       map[record.TopicPartition]*input
	turn       int // whose turn it is at the next Poll
	busy       map[int32]bool
	closed     bool

	lent []logclient.Batch // of the Poll before; the caller's goroutine only
}

// input is one assigned partition.
type input struct {
	tp       record.TopicPartition
	next     record.Offset // to be fetched next
	end      record.Offset // of what can be read, as of the last answer
	known    bool          // end is
	paused   bool
	fetching bool
	ready    *chunk
	err      error // the next Poll returns it
}

// Reader implements logclient.Log.
func (l *Log) Reader(cfg logclient.ReaderConfig) (logclient.Reader, error) {
	if err := l.live(); err != nil {
		return nil, err
	}
	cl, err := l.client()
	if err != nil {
		return nil, fmt.Errorf("kafka log: %w", err)
	}
	r := &reader{
		log: l, cfg: cfg, cl: cl, wake: make(chan struct{}, 1),
		byTP: map[record.TopicPartition]*input{}, busy: map[int32]bool{},
	}
	r.ctx, r.cancel = context.WithCancel(l.ctx)
	return r, nil
}

// Assign implements logclient.Reader.
func (r *reader) Assign(from map[record.TopicPartition]record.Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	r.order, r.turn = r.order[:0], 0
	clear(r.byTP)
	if r.closed {
		return
	}
	for tp, offset := range from {
		in := &input{tp: tp, next: offset}
		r.order = append(r.order, in)
		r.byTP[tp] = in
	}
	sort.Slice(r.order, func(i, j int) bool {
		a, b := r.order[i].tp, r.order[j].tp
		return a.Topic < b.Topic || a.Topic == b.Topic && a.Partition < b.Partition
	})
}

// Pause implements logclient.Reader.
func (r *reader) Pause(tps ...record.TopicPartition) { r.setPaused(tps, true) }

// Resume implements logclient.Reader.
func (r *reader) Resume(tps ...record.TopicPartition) { r.setPaused(tps, false) }

func (r *reader) setPaused(tps []record.TopicPartition, paused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tp := range tps {
		if in := r.byTP[tp]; in != nil {
			in.paused = paused
		}
	}
}

// Poll implements logclient.Reader.
func (r *reader) Poll(ctx context.Context, maxBytes int) ([]logclient.Batch, error) {
	clear(r.lent)
	r.lent = r.lent[:0]
	for {
		if err := r.log.live(); err != nil {
			return nil, err
		}
		if err := r.collect(maxBytes); err != nil {
			return nil, err
		}
		if err := r.fetch(); err != nil && len(r.lent) == 0 {
			return nil, err
		}
		if len(r.lent) > 0 {
			return r.lent, nil
		}
		select {
		case <-r.wake:
		case <-r.log.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// collect lends the chunks that are there, in turn, until maxBytes are reached.
func (r *reader) collect(maxBytes int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("kafka log: the reader: %w", logclient.ErrClosed)
	}
	var failed error
	for range r.order {
		if r.turn >= len(r.order) {
			r.turn = 0
		}
		in := r.order[r.turn]
		r.turn++
		switch {
		case in.paused:
		case in.err != nil:
			failed = in.err // it stays, and comes again
		case in.ready != nil:
			c := in.ready
			in.ready = nil
			r.lent = append(r.lent, lend(r.log, in.tp, c, r.cfg.KeepChunks))
			if maxBytes -= max(1, len(c.data)); maxBytes <= 0 {
				return nil
			}
		}
	}
	if len(r.lent) > 0 {
		return nil
	}
	return failed
}

// fetch sends a request to each leader that has partitions to ask for and none in
// flight.
func (r *reader) fetch() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	asks := map[int32][]*input{}
	for i := range r.order {
		in := r.order[(r.turn+i)%len(r.order)]
		if in.paused || in.fetching || in.ready != nil || in.err != nil {
			continue
		}
		node, err := r.leader(in)
		if err != nil {
			return err
		}
		if !r.busy[node] {
			asks[node] = append(asks[node], in)
		}
	}
	for node, ins := range asks {
		r.busy[node] = true
		req := r.request(ins)
		for _, in := range ins {
			in.fetching = true
		}
		generation := r.generation
		r.flying.Go(func() { r.ask(node, req, ins, generation) })
	}
	return nil
}

// nobody is the node to ask for a leader that is not known: none, but the pause
// before the next look.
const nobody = -1

// leader finds who leads a partition, from memory. The lock is held: a topic that
// is not known yet is asked for by ask.
func (r *reader) leader(in *input) (int32, error) {
	c := r.log.topics
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.known[in.tp.Topic]
	if t == nil || uint(in.tp.Partition) >= uint(len(t.parts)) {
		return nobody, nil
	}
	return t.parts[in.tp.Partition].node, nil
}

// request makes the request for some partitions of one leader.
func (r *reader) request(ins []*input) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.SessionEpoch = -1, -1
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(fetchWait/time.Millisecond), 1, fetchBytes
	if !r.cfg.ReadUncommitted {
		req.IsolationLevel = 1
	}
	c := r.log.topics
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, in := range ins {
		if i == 0 || ins[i-1].tp.Topic != in.tp.Topic { // sorted, but for where it begins
			t := kmsg.NewFetchRequestTopic()
			t.Topic = in.tp.Topic
			if known := c.known[in.tp.Topic]; known != nil {
				t.TopicID = known.id
			}
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(in.tp.Partition), int64(in.next), partitionBytes
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return req
}

// ask sends a request and files the answer. Whatever fails for the moment is
// asked for again after a pause, with leaders looked up anew.
func (r *reader) ask(node int32, req *kmsg.FetchRequest, ins []*input, generation int) {
	var resp *kmsg.FetchResponse
	err := error(kerr.LeaderNotAvailable)
	if node != nobody {
		resp, err = r.send(node, req)
	}
	stale := map[string]bool{}
	if err != nil {
		for _, in := range ins {
			stale[in.tp.Topic] = true
		}
	} else {
		r.file(resp, ins, generation, stale)
	}
	if len(stale) > 0 && r.ctx.Err() == nil {
		r.lookAgain(stale, ins, generation, node != nobody)
	}
	r.mu.Lock()
	for _, in := range ins {
		in.fetching = false
	}
	r.busy[node] = false
	r.mu.Unlock()
	r.notify()
}

func (r *reader) send(node int32, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	kresp, err := r.cl.Broker(int(node)).Request(r.ctx, req)
	if err != nil {
		return nil, err
	}
	resp := kresp.(*kmsg.FetchResponse)
	return resp, kerr.ErrorForCode(resp.ErrorCode)
}

func (r *reader) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// lookPause lies between looks at who leads.
const lookPause = 50 * time.Millisecond

// lookAgain asks for the leaders of topics; one that is gone is its partitions' error.
func (r *reader) lookAgain(stale map[string]bool, ins []*input, generation int, pause bool) {
	if pause && wait(r.ctx, lookPause) != nil {
		return
	}
	var names []string
	for name := range stale {
		names = append(names, name)
	}
	found, err := r.log.topics.ask(r.ctx, names)
	if err != nil {
		r.log.cfg.Logger.Warn("kafka: leaders are not known", "topics", names, "err", err)
		wait(r.ctx, mostPause)
		if moving(err) {
			return
		}
	}
	for _, in := range ins {
		if t := found[in.tp.Topic]; t != nil && uint(in.tp.Partition) < uint(len(t.parts)) && t.parts[in.tp.Partition].node == nobody {
			wait(r.ctx, lookPause)
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if generation != r.generation {
		return
	}
	for _, in := range ins {
		what := fmt.Sprintf("read %s-%d", in.tp.Topic, in.tp.Partition)
		switch t := found[in.tp.Topic]; {
		case !stale[in.tp.Topic]:
		case err != nil:
			in.err = classified(what, err)
		case t == nil || uint(in.tp.Partition) >= uint(len(t.parts)):
			in.err = classified(what, kerr.UnknownTopicOrPartition)
		}
	}
}

// file puts what came beside its partitions, and names the topics whose leaders
// have moved.
func (r *reader) file(resp *kmsg.FetchResponse, ins []*input, generation int, stale map[string]bool) {
	byTP := map[record.TopicPartition]*input{}
	for _, in := range ins {
		byTP[in.tp] = in
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		name := r.log.topics.name(t.Topic, t.TopicID)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			in := byTP[record.TopicPartition{Topic: name, Partition: record.Partition(p.Partition)}]
			if in == nil {
				continue
			}
			if err := r.take(in, p, generation); err != nil {
				stale[name] = true
			}
		}
	}
}

// take files the answer for one partition; an error is of a leader that moves.
func (r *reader) take(in *input, p *kmsg.FetchResponseTopicPartition, generation int) error {
	code := kerr.ErrorForCode(p.ErrorCode)
	switch {
	case code == nil:
	case errors.Is(code, kerr.OffsetOutOfRange):
		r.fail(in, generation, r.log.outOfRange(r.ctx, in.tp, in.next))
		return nil
	case moving(code), errors.Is(code, kerr.UnknownTopicOrPartition), errors.Is(code, kerr.UnknownTopicID):
		return code
	default:
		r.fail(in, generation, classified(fmt.Sprintf("read %s-%d from %d", in.tp.Topic, in.tp.Partition, in.next), r.log.denied(code, attempt{op: "Read", topic: in.tp.Topic})))
		return nil
	}
	c, err := newChunk(p, in.next, !r.cfg.ReadUncommitted)
	if err != nil {
		r.fail(in, generation, fmt.Errorf("kafka log: read %s-%d from %d: %w", in.tp.Topic, in.tp.Partition, in.next, err))
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if generation != r.generation {
		return nil
	}
	in.end, in.known = record.Offset(p.HighWatermark), true
	if !r.cfg.ReadUncommitted {
		in.end = record.Offset(p.LastStableOffset)
	}
	if c != nil {
		in.ready, in.next = c, c.next
	}
	return nil
}

func (r *reader) fail(in *input, generation int, err error) {
	if r.ctx.Err() != nil || moving(err) && errors.Is(err, logclient.ErrUnavailable) {
		return // asked for again
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if generation == r.generation {
		in.err = err
	}
}

// endPatience bounds the question for an end that no answer has told yet.
const endPatience = 5 * time.Second

// End implements logclient.Reader. Before the first answer for a partition it asks.
func (r *reader) End(tp record.TopicPartition) record.Offset {
	r.mu.Lock()
	in := r.byTP[tp]
	if in != nil && in.known {
		defer r.mu.Unlock()
		return in.end
	}
	generation := r.generation
	r.mu.Unlock()
	kind := logclient.AtStable
	if r.cfg.ReadUncommitted {
		kind = logclient.AtEnd
	}
	ctx, cancel := context.WithTimeout(r.ctx, endPatience)
	defer cancel()
	found, err := r.log.Offsets(ctx, []record.TopicPartition{tp}, logclient.At{Kind: kind})
	if err != nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in != nil && generation == r.generation && !in.known {
		in.end, in.known = found[0].Offset, true
	}
	return found[0].Offset
}

// Close implements logclient.Reader.
func (r *reader) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed, r.order = true, nil
	r.generation++
	clear(r.byTP)
	r.mu.Unlock()
	r.cancel()
	r.flying.Wait()
	r.cl.Close()
	return nil
}
