package embedded

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

const (
	// flushBytes is the size at which a partition's batch goes to the broker. With
	// its last record it still fits into one chunk of a reader, which otherwise
	// would have to read it twice.
	flushBytes = chunkBytes - 8<<10
	// maxBuffered bounds what the batches of a writer hold together; at the bound
	// all of them go to the broker.
	maxBuffered = 4 << 20
	// maxKept is the size up to which a builder's memory is used again.
	maxKept = 2 * flushBytes
)

// writer implements logclient.Writer: one transactional producer.
//
// Invariant: dirty has each output with a builder; buffered is the sum of their
// sizes; inTxn holds for an output once the coordinator knows it as a part of
// the open transaction.
type writer struct {
	log   *Log
	id    string
	codec record.Codec
	ident broker.ProducerIdentity

	topics   map[string]*topicOutputs
	last     *topicOutputs // of the Append before
	dirty    []*output
	written  []*output // of the open transaction, each once
	free     []*record.Builder
	buffered int
	open     bool // the coordinator has a transaction to end
	failed   error
	dead     error // the writer is of no more use

	adding  []record.TopicPartition                          // scratch of add
	offsets map[record.TopicPartition]broker.CommittedOffset // scratch of Commit
}

// topicOutputs are the partitions of one topic.
type topicOutputs struct {
	name  string
	limit int // max.message.bytes
	parts []*output
}

// output is one partition as this writer sees it.
type output struct {
	part     *broker.Partition
	tp       record.TopicPartition
	limit    int
	builder  *record.Builder // nil if nothing is buffered
	sequence int32           // of the next record
	inTxn    bool
	isNew    bool // nothing produced in this transaction
	next     logclient.OffsetEpoch
}

// transactionTimeout is long: the writer lives in the log's own process, so a
// transaction is open for minutes only where the machine is that slow, and one
// whose writer is gone is ended at the next start.
const transactionTimeout = 15 * time.Minute

// Writer implements logclient.Log.
func (l *Log) Writer(ctx context.Context, id logclient.TxnID, cfg logclient.WriterConfig) (logclient.Writer, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	if id == "" {
		return nil, fmt.Errorf("embedded log: a writer needs a transactional id, which is empty")
	}
	if cfg.TransactionTimeout == 0 {
		cfg.TransactionTimeout = transactionTimeout
	}
	ident, err := l.broker.InitProducerID(string(id), cfg.TransactionTimeout, broker.NoProducer)
	if err != nil {
		return nil, classified("open transactional id "+string(id), err)
	}
	return &writer{
		log: l, id: string(id), codec: cfg.Compression, ident: ident,
		topics:  map[string]*topicOutputs{},
		offsets: map[record.TopicPartition]broker.CommittedOffset{},
	}, nil
}

// Append implements logclient.Writer.
func (w *writer) Append(tp record.TopicPartition, v *record.View) error {
	if w.failed != nil || w.dead != nil {
		return w.broken()
	}
	t := w.last
	if t == nil || t.name != tp.Topic {
		var err error
		if t, err = w.topic(tp); err != nil {
			return err
		}
	}
	if uint(tp.Partition) >= uint(len(t.parts)) {
		return fmt.Errorf("embedded log: append to %s-%d: the topic has %d partitions: %w", tp.Topic, tp.Partition, len(t.parts), logclient.ErrUnknownTopic)
	}
	out := t.parts[tp.Partition]
	if out == nil {
		var err error
		if out, err = w.output(t, tp); err != nil {
			return err
		}
	}
	if out.builder == nil {
		w.begin(out)
	}
	before := out.builder.Size()
	if before+len(v.Key)+len(v.Value)+overhead(v) > out.limit {
		return w.appendLarge(out, v)
	}
	out.builder.Append(v)
	after := out.builder.Size()
	w.buffered += after - before
	if after >= flushBytes {
		return w.flush(out)
	}
	if w.buffered >= maxBuffered {
		return w.flushAll()
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
	if out.builder.Count() > 0 && out.builder.SizeWith(v) > out.limit {
		if err := w.flush(out); err != nil {
			return err
		}
		w.begin(out)
	}
	if size := out.builder.SizeWith(v); size > out.limit {
		return &logclient.RecordTooLargeError{TopicPartition: out.tp, Size: size, Limit: out.limit, Key: bytes.Clone(v.Key)}
	}
	before := out.builder.Size()
	out.builder.Append(v)
	w.buffered += out.builder.Size() - before
	if out.builder.Size() >= flushBytes {
		return w.flush(out)
	}
	return nil
}

// topic finds or makes the outputs of a topic.
func (w *writer) topic(tp record.TopicPartition) (*topicOutputs, error) {
	t := w.topics[tp.Topic]
	if t == nil {
		if err := w.log.live(); err != nil {
			return nil, err
		}
		have, is := w.log.broker.Topic(tp.Topic)
		if !is {
			return nil, fmt.Errorf("embedded log: append to %s-%d: %w", tp.Topic, tp.Partition, logclient.ErrUnknownTopic)
		}
		t = &topicOutputs{name: tp.Topic, limit: w.log.maxMessageBytes(have), parts: make([]*output, have.Partitions)}
		w.topics[tp.Topic] = t
	}
	w.last = t
	return t, nil
}

// maxMessageBytes is the size of the largest batch that the topic takes.
func (l *Log) maxMessageBytes(t broker.Topic) int {
	for _, configs := range []map[string]string{t.Configs, l.defaults} {
		if n, err := strconv.Atoi(configs["max.message.bytes"]); err == nil && n > 0 {
			return n
		}
	}
	return defaultMaxMessageBytes
}

func (w *writer) output(t *topicOutputs, tp record.TopicPartition) (*output, error) {
	part, err := w.log.partition(tp)
	if err != nil {
		return nil, err
	}
	out := &output{part: part, tp: tp, limit: t.limit, isNew: true}
	t.parts[tp.Partition] = out
	return out, nil
}

// begin gives the output a builder.
func (w *writer) begin(out *output) {
	if n := len(w.free); n > 0 {
		out.builder, w.free = w.free[n-1], w.free[:n-1]
	} else {
		out.builder = record.NewBuilder()
	}
	w.dirty = append(w.dirty, out)
	w.buffered += out.builder.Size()
}

// flush hands one partition's batch to the broker.
func (w *writer) flush(out *output) error {
	for i, d := range w.dirty {
		if d == out {
			last := len(w.dirty) - 1
			w.dirty[i], w.dirty = w.dirty[last], w.dirty[:last]
			break
		}
	}
	if !out.inTxn {
		w.adding = append(w.adding[:0], out.tp)
		if err := w.add(); err != nil {
			w.drop(out)
			return err
		}
		out.inTxn = true
	}
	return w.produce(out)
}

// flushAll hands everything to the broker; one call adds the partitions.
func (w *writer) flushAll() error {
	w.adding = w.adding[:0]
	for _, out := range w.dirty {
		if !out.inTxn && out.builder.Count() > 0 {
			w.adding = append(w.adding, out.tp)
		}
	}
	if len(w.adding) > 0 {
		if err := w.add(); err != nil {
			w.dropAll()
			return err
		}
	}
	for i, out := range w.dirty {
		out.inTxn = out.inTxn || out.builder.Count() > 0
		if err := w.produce(out); err != nil {
			w.dirty = w.dirty[i+1:] // the rest is dropped by Abort
			return err
		}
	}
	w.dirty = w.dirty[:0]
	return nil
}

// add makes the partitions of w.adding part of the transaction.
func (w *writer) add() error {
	if err := w.log.broker.AddPartitionsToTxn(w.id, w.ident, w.adding); err != nil {
		return w.fail("add partitions to the transaction of "+w.id, err)
	}
	w.open = true
	return nil
}

// produce appends the output's batch to the log and takes its builder away.
func (w *writer) produce(out *output) error {
	defer w.drop(out)
	count := out.builder.Count()
	if count == 0 {
		return nil
	}
	if out.isNew {
		out.isNew = false
		w.written = append(w.written, out)
	}
	out.builder.SetProducer(w.ident.ID, w.ident.Epoch, out.sequence)
	out.builder.SetTransactional(true)
	batch, err := out.builder.Finish(w.codec)
	if err != nil {
		return w.fail("encode a batch for "+out.tp.Topic, err)
	}
	res, err := out.part.Produce(batch, broker.AcksLeader)
	if err != nil {
		return w.fail(fmt.Sprintf("append to %s-%d", out.tp.Topic, out.tp.Partition), err)
	}
	out.sequence = record.AddSequence(out.sequence, int32(count))
	out.next = logclient.OffsetEpoch{Offset: res.NextOffset, Epoch: res.Epoch}
	return nil
}

// drop takes the output's builder away, with what is in it.
func (w *writer) drop(out *output) {
	b := out.builder
	out.builder = nil
	w.buffered -= b.Size()
	if b.Size() <= maxKept {
		b.Reset()
		w.free = append(w.free, b)
	}
}

func (w *writer) dropAll() {
	for _, out := range w.dirty {
		w.drop(out)
	}
	w.dirty = w.dirty[:0]
}

// fail remembers an error that only Abort, or nothing, mends.
func (w *writer) fail(what string, err error) error {
	w.failed = classified(what, err)
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
	if err := w.flushAll(); err != nil {
		return nil, err
	}
	if len(in) > 0 {
		if err := w.commitPositions(in, g); err != nil {
			return nil, err
		}
	}
	if w.open {
		ident, err := w.log.broker.EndTxn(w.id, w.ident, true)
		if err != nil {
			return nil, w.fail("commit the transaction of "+w.id, err)
		}
		w.ended(ident)
	}
	done := make(map[record.TopicPartition]logclient.OffsetEpoch, len(w.written))
	for _, out := range w.written {
		done[out.tp] = out.next
	}
	w.nextTransaction()
	return done, nil
}

// commitPositions puts the input positions into the transaction.
func (w *writer) commitPositions(in logclient.Positions, g logclient.Generation) error {
	if err := w.log.checkGeneration(g); err != nil {
		w.failed = err
		return err
	}
	if err := w.log.broker.AddOffsetsToTxn(w.id, w.ident, g.Group); err != nil {
		return w.fail("add group "+g.Group+" to the transaction of "+w.id, err)
	}
	w.open = true
	clear(w.offsets)
	for tp, p := range in {
		w.offsets[tp] = broker.CommittedOffset{Offset: p.Offset, Epoch: p.Epoch, Metadata: p.Metadata}
	}
	if err := w.log.broker.TxnOffsetCommit(w.id, w.ident, committer(g.Group), w.offsets); err != nil {
		return w.fail("commit the positions of group "+g.Group, err)
	}
	return nil
}

// ended takes over the identity to go on with; sequences begin anew with it.
func (w *writer) ended(ident broker.ProducerIdentity) {
	w.open = false
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

// nextTransaction forgets which partitions the last one had.
func (w *writer) nextTransaction() {
	for _, out := range w.written {
		out.isNew = true
	}
	w.written = w.written[:0]
	for _, t := range w.topics {
		for _, out := range t.parts {
			if out != nil {
				out.inTxn = false
			}
		}
	}
}

// Abort implements logclient.Writer.
func (w *writer) Abort(ctx context.Context) error {
	if w.dead != nil {
		return w.dead
	}
	if err := w.log.enter(ctx); err != nil {
		return err
	}
	w.dropAll()
	if w.open {
		ident, err := w.log.broker.EndTxn(w.id, w.ident, false)
		if err != nil {
			return w.fail("abort the transaction of "+w.id, err)
		}
		w.ended(ident)
	}
	w.nextTransaction()
	w.failed = nil
	return nil
}

// Close implements logclient.Writer: like the end of the process, it leaves an
// open transaction to the successor or to its timeout.
func (w *writer) Close() error {
	if w.dead == nil {
		w.dropAll()
		w.free = nil
		w.dead = fmt.Errorf("embedded log: the writer of %s: %w", w.id, logclient.ErrClosed)
	}
	return nil
}
