package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

const (
	// flushBytes is the size at which a partition's batch is sent, with all others.
	flushBytes = 256 << 10
	// maxBuffered bounds what a writer holds back for all partitions together.
	maxBuffered = 4 << 20
	// maxKept is the size up to which a builder's memory is used again.
	maxKept = 2 * flushBytes
)

// identity is a producer id with its epoch.
type identity struct {
	id    int64
	epoch int16
}

// writer implements logclient.Writer: one transactional producer, or one without
// transactions (staged). Batches go out
// in flights: all partitions that have records, one request per leader, while
// Append goes on. The next flight waits for the one before, so that a partition
// has one batch under way, and sending it again keeps the order.
//
// Invariant: dirty has each output with a builder; buffered is the sum of their
// sizes; open holds from the first request that may have begun a transaction.
type writer struct {
	log   *Log
	cl    *kgo.Client
	id    string
	codec record.Codec
	ident identity
	// staged is how a writer without transactions commits; nil: it has transactions.
	staged *staged

	ctx    context.Context // ends with Close, or with the log's
	cancel context.CancelFunc

	topics   map[string]*topicOutputs
	last     *topicOutputs // of the Append before
	dirty    []*output
	written  []*output // of the open transaction, each once
	free     []*record.Builder
	buffered int
	flight   *flight // under way; nil if none
	open     bool
	failed   error // only Abort mends it
	dead     error // the writer is of no more use
}

// topicOutputs are the partitions of one topic.
type topicOutputs struct {
	name  string
	id    [16]byte
	limit int // max.message.bytes
	stage logclient.Stage
	parts []*output
}

// output is one partition as this writer sees it. While it is in a flight, next
// and added belong to the flight.
type output struct {
	topic    *topicOutputs
	tp       record.TopicPartition
	builder  *record.Builder // nil if nothing is buffered
	sequence int32           // of the next record
	added    bool            // the coordinator knows it as a part of the transaction
	isNew    bool            // nothing sent in this transaction
	next     logclient.OffsetEpoch
}

// Writer implements logclient.Log.
func (l *Log) Writer(ctx context.Context, id logclient.TxnID, cfg logclient.WriterConfig) (logclient.Writer, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	if id == "" {
		return nil, errors.New("kafka log: a writer needs a transactional id, which is empty")
	}
	opts := []kgo.Opt{kgo.ProducerBatchMaxBytes(maxRequest), kgo.BrokerMaxWriteBytes(maxRequest)}
	if !l.txn2 {
		opts = append(opts, withoutTxn2())
	}
	cl, err := l.client(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka log: %w", err)
	}
	w := &writer{log: l, cl: cl, id: string(id), codec: cfg.Compression, ident: identity{-1, -1}, topics: map[string]*topicOutputs{}}
	w.ctx, w.cancel = context.WithCancel(l.ctx)
	timeout := cfg.TransactionTimeout
	if timeout == 0 {
		timeout = l.cfg.TransactionTimeout
	}
	err = w.initialize(ctx, &w.id, int32(timeout.Milliseconds()))
	if err == nil && cfg.AtLeastOnce {
		// What a predecessor with transactions left has ended.
		w.staged = newStaged(w, cfg)
		w.ident = identity{-1, -1}
		err = w.initialize(ctx, nil, 0)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// maxRequest is above what a flight can hold: maxBuffered and one large batch for
// each partition that had one.
const maxRequest = 100 << 20

// initialize opens the transactional id: the transaction that a predecessor, or
// this writer, left open is aborted, and the epoch rises. Without one it gets a
// producer id of its own.
func (w *writer) initialize(ctx context.Context, id *string, timeoutMS int32) error {
	ctx, done := w.log.whileOpen(ctx)
	defer done()
	err := again(ctx, func() error {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = id, timeoutMS
		if id != nil {
			req.ProducerID, req.ProducerEpoch = w.ident.id, w.ident.epoch
		}
		resp, err := req.RequestWith(ctx, w.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			w.begin(identity{resp.ProducerID, resp.ProducerEpoch})
		}
		return err
	})
	if errors.Is(err, kerr.InvalidTransactionTimeout) {
		return fmt.Errorf("kafka log: open transactional id %s: the transaction time-out of %d ms is above the broker's transaction.max.timeout.ms: set Cluster.TransactionTimeout to less, or raise the broker's: %w", w.id, timeoutMS, err)
	}
	if err != nil {
		return w.log.failed(ctx, "open transactional id "+w.id, w.log.denied(err, attempt{id: w.id}))
	}
	return nil
}

// begin goes on under an identity; sequences begin anew with a new one.
func (w *writer) begin(ident identity) {
	if ident == w.ident {
		return
	}
	w.ident = ident
	for _, t := range w.topics {
		for _, out := range t.parts {
			if out != nil {
				out.sequence = 0
			}
		}
	}
}

// Append implements logclient.Writer.
func (w *writer) Append(tp record.TopicPartition, v *record.View) error {
	if err := w.broken(); err != nil {
		return err
	}
	t := w.last
	if t == nil || t.name != tp.Topic {
		var err error
		if t, err = w.topic(tp); err != nil {
			return err
		}
	}
	if uint(tp.Partition) >= uint(len(t.parts)) {
		return fmt.Errorf("kafka log: append to %s-%d: the topic has %d partitions: %w", tp.Topic, tp.Partition, len(t.parts), logclient.ErrUnknownTopic)
	}
	out := t.parts[tp.Partition]
	if out == nil {
		out = &output{topic: t, tp: tp, isNew: true}
		t.parts[tp.Partition] = out
	}
	if out.builder == nil {
		w.fill(out)
	}
	before := out.builder.Size()
	if before+len(v.Key)+len(v.Value)+overhead(v) > t.limit {
		return w.appendLarge(out, v)
	}
	out.builder.Append(v)
	return w.grown(out, before)
}

// grown counts what a batch has got, and sends when it is time.
func (w *writer) grown(out *output, before int) error {
	after := out.builder.Size()
	w.buffered += after - before
	if after >= flushBytes || w.buffered >= maxBuffered {
		return w.send()
	}
	return nil
}

// overhead is at most what a record's lengths, deltas and headers take.
func overhead(v *record.View) int {
	n := 36
	for i := range v.Headers {
		n += len(v.Headers[i].Key) + len(v.Headers[i].Value) + 10
	}
	return n
}

// appendLarge appends a record that may not fit into the batch at hand.
func (w *writer) appendLarge(out *output, v *record.View) error {
	if out.builder.Count() > 0 && out.builder.SizeWith(v) > out.topic.limit {
		if err := w.makeRoom(out); err != nil {
			return err
		}
		w.fill(out)
	}
	if size := out.builder.SizeWith(v); size > out.topic.limit {
		return &logclient.RecordTooLargeError{TopicPartition: out.tp, Size: size, Limit: out.topic.limit, Key: bytes.Clone(v.Key)}
	}
	before := out.builder.Size()
	out.builder.Append(v)
	return w.grown(out, before)
}

// makeRoom takes a full batch out of an output's hands.
func (w *writer) makeRoom(out *output) error {
	switch {
	case w.staged == nil || out.topic.stage == logclient.StageOutput:
		return w.send()
	case out.topic.stage == logclient.StagePosition:
		return w.staged.park(out)
	}
	if err := w.staged.fly(w.ctx, logclient.StageOutput); err != nil {
		return err
	}
	return w.staged.writeState(w.ctx, w.staged.current())
}

// topic finds or makes the outputs of a topic.
func (w *writer) topic(tp record.TopicPartition) (*topicOutputs, error) {
	t := w.topics[tp.Topic]
	if t == nil {
		what := fmt.Sprintf("append to %s-%d", tp.Topic, tp.Partition)
		known, err := w.log.topics.get(w.ctx, tp.Topic)
		if err != nil {
			return nil, w.log.failed(w.ctx, what, err)
		}
		limit, err := w.log.maxMessageBytes(w.ctx, tp.Topic)
		if err != nil {
			return nil, err
		}
		t = &topicOutputs{name: tp.Topic, id: known.id, limit: limit, parts: make([]*output, len(known.parts))}
		if w.staged != nil {
			t.stage = w.staged.of(tp.Topic)
		}
		w.topics[tp.Topic] = t
	}
	w.last = t
	return t, nil
}

// fill gives the output a builder.
func (w *writer) fill(out *output) {
	if n := len(w.free); n > 0 {
		out.builder, w.free = w.free[n-1], w.free[:n-1]
	} else {
		out.builder = record.NewBuilder()
	}
	w.dirty = append(w.dirty, out)
	w.buffered += out.builder.Size()
}

// send lets everything that is buffered fly, after the flight before has landed.
func (w *writer) send() error {
	if w.staged != nil {
		return w.staged.send()
	}
	if err := w.land(w.ctx); err != nil {
		return err
	}
	parcels := w.pack(w.dirty)
	w.dirty, w.buffered = w.dirty[:0], 0
	return w.launch(parcels)
}

// pack makes batches of what outputs hold.
func (w *writer) pack(outs []*output) (parcels []*parcel) {
	for _, out := range outs {
		b := out.builder
		out.builder = nil
		count := b.Count()
		if count == 0 {
			w.keep(b)
			continue
		}
		b.SetProducer(record.ProducerID(w.ident.id), record.ProducerEpoch(w.ident.epoch), out.sequence)
		b.SetTransactional(w.staged == nil)
		data, err := b.Finish(w.codec)
		if err != nil {
			w.failed = fmt.Errorf("kafka log: encode a batch for %s: %w", out.tp.Topic, err)
		}
		out.sequence = record.AddSequence(out.sequence, int32(count))
		if out.isNew {
			out.isNew = false
			w.written = append(w.written, out)
		}
		parcels = append(parcels, &parcel{out: out, builder: b, data: data, count: int64(count)})
	}
	return parcels
}

// launch sends batches on their way; none is in the air.
func (w *writer) launch(parcels []*parcel) error {
	if w.failed != nil || len(parcels) == 0 {
		return w.failed
	}
	f := &flight{w: w, ident: w.ident, parcels: parcels, done: make(chan struct{})}
	w.open, w.flight = w.staged == nil, f
	go f.run(w.ctx)
	return nil
}

// land waits for the flight under way. An error of ctx leaves it in the air.
func (w *writer) land(ctx context.Context) error {
	f := w.flight
	if f == nil {
		return nil
	}
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-ctx.Done():
			if err := w.log.live(); err != nil {
				return err
			}
			return ctx.Err()
		}
	}
	w.flight = nil
	for _, p := range f.parcels {
		w.keep(p.builder)
	}
	if f.err != nil {
		return w.fail("append", f.err)
	}
	return nil
}

// keep takes a builder back.
func (w *writer) keep(b *record.Builder) {
	if b.Size() <= maxKept {
		b.Reset()
		w.free = append(w.free, b)
	}
}

// drop forgets what was not sent.
func (w *writer) drop() {
	for _, out := range w.dirty {
		w.keep(out.builder)
		out.builder = nil
	}
	w.dirty, w.buffered = w.dirty[:0], 0
}

// fail remembers an error that only Abort, or nothing, mends.
func (w *writer) fail(what string, err error) error {
	if w.staged == nil && (errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)) {
		what += " under the transactional id " + w.id + ", which another process has opened since, or which the cluster has ended for its time-out"
	}
	w.failed = w.log.failed(w.ctx, what, err)
	if w.staged != nil {
		if blamed := w.staged.blamed(err); blamed != nil {
			w.failed = blamed
		}
	}
	switch logclient.Classify(w.failed) {
	case logclient.ClassFenced, logclient.ClassUnknownOutcome:
		w.dead = w.failed
	}
	return w.failed
}

// broken is why the writer cannot go on.
func (w *writer) broken() error {
	if w.dead != nil {
		return w.dead
	}
	return w.failed
}

// Buffered implements logclient.Writer.
func (w *writer) Buffered() int {
	return w.buffered - len(w.dirty)*record.HeaderSize
}

// Commit implements logclient.Writer.
func (w *writer) Commit(ctx context.Context, in logclient.Positions, g logclient.Generation) (map[record.TopicPartition]logclient.OffsetEpoch, error) {
	if err := w.broken(); err != nil {
		return nil, err
	}
	if err := w.log.enter(ctx); err != nil {
		return nil, err
	}
	ctx, release := w.log.whileOpen(ctx)
	defer release()
	commit := w.commit
	if w.staged != nil {
		commit = w.staged.commit
	}
	if err := commit(ctx, in, g); err != nil {
		return nil, err
	}
	done := make(map[record.TopicPartition]logclient.OffsetEpoch, len(w.written))
	for _, out := range w.written {
		done[out.tp] = out.next
	}
	w.nextTransaction()
	return done, nil
}

// commit ends a transaction.
func (w *writer) commit(ctx context.Context, in logclient.Positions, g logclient.Generation) error {
	if err := w.send(); err != nil {
		return err
	}
	if err := w.land(ctx); err != nil {
		w.failed = err
		return err
	}
	if len(in) > 0 {
		if err := w.commitPositions(ctx, in, g); err != nil {
			return err
		}
	}
	if !w.open {
		return nil
	}
	return w.end(ctx, true)
}

// commitPositions puts the input positions into the transaction.
func (w *writer) commitPositions(ctx context.Context, in logclient.Positions, g logclient.Generation) error {
	if g.Group == "" {
		w.failed = errors.New("kafka log: positions are committed without a group: set Generation to that of the member's assignment")
		return w.failed
	}
	offsetCommit := w.offsetCommit
	if w.staged != nil {
		offsetCommit = w.staged.offsetCommit
	} else {
		w.open = true
	}
	if !w.log.txn2 && w.staged == nil {
		err := again(ctx, func() error { return w.addGroup(ctx, g.Group) })
		if err != nil {
			return w.failIn(ctx, "add group "+g.Group+" to the transaction of "+w.id, w.log.denied(err, attempt{group: g.Group, id: w.id}))
		}
	}
	err := w.log.ride(ctx, in, g, func(g logclient.Generation) error {
		return again(ctx, func() error { return offsetCommit(ctx, in, g) })
	})
	what := "commit the positions of group " + g.Group
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.FencedInstanceID):
		// This member is no longer one. Whether another process has its name, or its
		// session is over, it finds out by itself.
		w.failed = as(logclient.ErrRebalanced, what, err)
		return w.failed
	}
	return w.failIn(ctx, what, err)
}

// failIn is fail for a call whose context may have ended.
func (w *writer) failIn(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil && w.log.live() == nil {
		w.failed = ctx.Err()
		return w.failed
	}
	return w.fail(what, err)
}

func (w *writer) addGroup(ctx context.Context, group string) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = w.id, w.ident.id, w.ident.epoch, group
	resp, err := req.RequestWith(ctx, w.cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

func (w *writer) offsetCommit(ctx context.Context, in logclient.Positions, g logclient.Generation) error {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = w.id, g.Group, w.ident.id, w.ident.epoch
	req.Generation, req.MemberID = g.ID, g.Member
	if w.log.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(w.log.cfg.InstanceID)
	}
	var tps []record.TopicPartition
	for tp := range in {
		tps = append(tps, tp)
	}
	names, parts := byTopic(tps)
	for _, name := range names {
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = name
		if known, err := w.log.topics.get(ctx, name); err == nil {
			t.TopicID = known.id
		}
		for _, p := range parts[name] {
			at := in[record.TopicPartition{Topic: name, Partition: record.Partition(p)}]
			tp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			tp.Partition, tp.Offset, tp.LeaderEpoch, tp.Metadata = p, int64(at.Offset), int32(at.Epoch), kmsg.StringPtr(at.Metadata)
			t.Partitions = append(t.Partitions, tp)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, w.cl)
	if err != nil {
		return err
	}
	var failed error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				failed = worse(failed, fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, w.log.denied(err, attempt{"Read", t.Topic, g.Group, w.id})))
			}
		}
	}
	return failed
}

// end decides the transaction. A commit of which nobody can say whether it
// happened is ErrUnknownOutcome.
func (w *writer) end(ctx context.Context, commit bool) error {
	asked := false
	err := again(ctx, func() error {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = w.id, w.ident.id, w.ident.epoch, commit
		asked = true
		resp, err := req.RequestWith(ctx, w.cl)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		if w.log.txn2 && resp.ProducerID >= 0 {
			w.begin(identity{resp.ProducerID, resp.ProducerEpoch})
		}
		return nil
	})
	if err == nil {
		w.open = false
		return nil
	}
	what := map[bool]string{true: "commit", false: "abort"}[commit] + " the transaction of " + w.id
	var code *kerr.Error
	answered := errors.As(err, &code) && !moving(err)
	if commit && asked && !answered {
		w.failed = as(logclient.ErrUnknownOutcome, what, err)
		w.dead = w.failed
		return w.failed
	}
	return w.failIn(ctx, what, w.log.denied(err, attempt{id: w.id}))
}

// nextTransaction forgets which partitions the last one had.
func (w *writer) nextTransaction() {
	for _, out := range w.written {
		out.isNew = true
	}
	w.written = w.written[:0]
	for _, t := range w.topics {
		for _, out := range t.parts {
			if out != nil {
				out.added = false
			}
		}
	}
}

// Abort implements logclient.Writer. After a failure nobody knows which batches
// have arrived: the id is opened anew, which ends the transaction and raises the
// epoch, so that sequences begin anew (KIP-360).
func (w *writer) Abort(ctx context.Context) error {
	if w.dead != nil {
		return w.dead
	}
	if err := w.log.enter(ctx); err != nil {
		return err
	}
	w.drop()
	if w.flight != nil {
		if w.failed != nil || w.flight.stopped() {
			w.flight.stop()
		}
		if err := w.land(ctx); err != nil && w.flight != nil {
			return err
		}
		if w.dead != nil {
			return w.dead
		}
	}
	if w.staged != nil {
		return w.staged.abort(ctx)
	}
	if w.open {
		err := error(nil)
		if w.failed != nil {
			err = w.initialize(ctx, &w.id, int32(w.log.cfg.TransactionTimeout.Milliseconds()))
			w.topics, w.last = map[string]*topicOutputs{}, nil // topics may have been made anew
			w.written = nil
		} else {
			err = w.end(ctx, false)
		}
		if err != nil {
			if logclient.Classify(err) == logclient.ClassFenced {
				w.dead = err
			}
			w.failed = err
			return err
		}
		w.open = false
	}
	w.nextTransaction()
	w.failed = nil
	return nil
}

// Close implements logclient.Writer: like the end of the process, it leaves an
// open transaction to the successor or to its timeout.
func (w *writer) Close() error {
	if w.cl == nil {
		return nil
	}
	w.cancel()
	if w.flight != nil {
		<-w.flight.done
		w.flight = nil
	}
	w.drop()
	w.free = nil
	w.cl.Close()
	w.cl = nil
	if w.dead == nil {
		w.dead = fmt.Errorf("kafka log: the writer of %s: %w", w.id, logclient.ErrClosed)
	}
	return nil
}
