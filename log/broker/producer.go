package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/record"
)

// AnyPartition lets the producer choose.
const AnyPartition record.Partition = -1

// Message is a record as a Go program sends and receives it.
type Message struct {
	Topic     string
	Partition record.Partition // of Send: AnyPartition, or where it shall go
	Offset    record.Offset    // ignored by Send
	Key       []byte           // nil is null
	Value     []byte           // nil is null
	Headers   []record.Header
	Time      time.Time // zero in Send: now. To the millisecond
}

// Partitioner chooses a partition of n for a message.
type Partitioner func(m *Message, n int32) record.Partition

// ProducerConfig makes a producer. The zero value is the documented default.
type ProducerConfig struct {
	// TransactionalID makes it transactional: a transaction begins with the first
	// Send after Commit or Abort, and a newer producer of the same id fences this one.
	TransactionalID    string
	TransactionTimeout time.Duration // one minute

	// AcksLeader acknowledges from the page cache; by default as durable as the topic's flush says.
	AcksLeader bool
	// NotIdempotent leaves out producer id and sequences.
	NotIdempotent bool
	Linger        time.Duration // how long a batch waits for more; 5 ms
	BatchBytes    int           // a batch is closed at this size; 128 KiB
	BufferBytes   int64         // Send blocks above so much unsent; 32 MiB
	Compression   record.Codec
	// Partitioner by default hashes the key as Kafka does (murmur2) and puts
	// messages without one into one partition per batch, in turn.
	Partitioner Partitioner
}

// Producer sends messages in batches from a goroutine of its own. Any goroutine
// may use it; messages of one goroutine to one partition keep their order.
//
// Invariant: one goroutine (run) appends, so batches of a partition are
// appended in the order in which they were closed, and sequences follow.
type Producer struct {
	b    *Broker
	cfg  ProducerConfig
	wake chan struct{} // one token: something may be ready
	done chan struct{} // closed when run has ended

	id  ProducerIdentity                // of run, or with nothing unsent
	seq map[record.TopicPartition]int32 // of run, or with nothing unsent

	mu       sync.Mutex // guards what follows
	open     map[*Partition]*sendBatch
	ready    []*sendBatch // closed, in order
	handles  map[string][]*Partition
	sticky   map[string]*Partition
	buffered int64
	space    chan struct{} // closed and replaced when buffered shrinks
	unsent   int           // batches open, ready or in flight
	flushing int           // callers of Flush: nothing lingers
	inTxn    map[*Partition]bool
	txnErr   error // why the open transaction can only be aborted
	closed   bool
	free     []*sendBatch
}

// sendBatch is a batch being filled, closed or in flight.
type sendBatch struct {
	p       *Partition
	builder *record.Builder
	bytes   int64
	since   time.Time
	dones   []func(Message, error)
}

// NewProducer makes a producer; a transactional one fences its predecessor here.
func (b *Broker) NewProducer(cfg ProducerConfig) (*Producer, error) {
	if cfg.Linger == 0 {
		cfg.Linger = 5 * time.Millisecond
	}
	if cfg.BatchBytes <= 0 {
		cfg.BatchBytes = 128 << 10
	}
	if cfg.BufferBytes <= 0 {
		cfg.BufferBytes = 32 << 20
	}
	p := &Producer{
		b: b, cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{}), id: NoProducer,
		seq: map[record.TopicPartition]int32{}, open: map[*Partition]*sendBatch{}, handles: map[string][]*Partition{},
		sticky: map[string]*Partition{}, space: make(chan struct{}), inTxn: map[*Partition]bool{},
	}
	if cfg.TransactionalID != "" || !cfg.NotIdempotent {
		id, err := b.InitProducerID(cfg.TransactionalID, cfg.TransactionTimeout, NoProducer)
		if err != nil {
			return nil, err
		}
		p.id = id
	}
	go p.run()
	return p, nil
}

// Send takes a message and returns when it is in the buffer: at once, or when
// there is room. Key, value and headers are copied. done (nil: nobody wants to
// know) is called from the producer's goroutine, in order, when the message is
// acknowledged, with partition, offset and time filled in, or has failed; it
// must not wait for the producer.
func (p *Producer) Send(ctx context.Context, m Message, done func(Message, error)) error {
	if m.Time.IsZero() {
		m.Time = p.b.cfg.Now()
	}
	v := record.View{Timestamp: m.Time.UnixMilli(), Key: m.Key, Value: m.Value, Headers: m.Headers}
	size := int64(len(m.Key) + len(m.Value) + 32)
	for i := range m.Headers {
		size += int64(len(m.Headers[i].Key) + len(m.Headers[i].Value) + 8)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.buffered > 0 && p.buffered+size > p.cfg.BufferBytes && !p.closed {
		space := p.space
		p.mu.Unlock()
		select {
		case <-space:
			p.mu.Lock()
		case <-ctx.Done():
			p.mu.Lock()
			return fmt.Errorf("producer: buffer of %d bytes is full: %w", p.cfg.BufferBytes, ctx.Err())
		}
	}
	switch {
	case p.closed:
		return ErrClosed
	case p.txnErr != nil:
		return fmt.Errorf("producer: the transaction must be aborted: %w", p.txnErr)
	}
	part, err := p.choose(&m)
	if err != nil {
		return err
	}
	p.add(part, &v, size, done)
	return nil
}

// choose finds the partition. p.mu is held.
func (p *Producer) choose(m *Message) (*Partition, error) {
	parts := p.handles[m.Topic]
	if parts == nil || parts[0].gone.Load() {
		if parts = p.b.partitionsOf(m.Topic); parts == nil {
			return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, m.Topic)
		}
		p.handles[m.Topic] = parts
		delete(p.sticky, m.Topic)
	}
	n := m.Partition
	switch {
	case n != AnyPartition:
	case p.cfg.Partitioner != nil:
		n = p.cfg.Partitioner(m, int32(len(parts)))
	case m.Key != nil:
		n = record.PartitionForKey(m.Key, int32(len(parts)))
	default:
		part := p.sticky[m.Topic]
		if part == nil {
			part = parts[0]
			p.sticky[m.Topic] = part
		}
		return part, nil
	}
	if n < 0 || int(n) >= len(parts) {
		return nil, fmt.Errorf("%w: %s-%d", ErrUnknownTopic, m.Topic, n)
	}
	return parts[n], nil
}

// add puts a record into the partition's open batch. p.mu is held.
func (p *Producer) add(part *Partition, v *record.View, size int64, done func(Message, error)) {
	limit := min(p.cfg.BatchBytes, part.settings.Load().maxMessage)
	s := p.open[part]
	if s != nil && s.builder.Count() > 0 && s.builder.SizeWith(v) > limit {
		p.shut(s)
		s = nil
	}
	first := s == nil
	if first {
		s = p.newBatch(part)
	}
	s.builder.Append(v)
	s.bytes += size
	s.dones = append(s.dones, done)
	p.buffered += size
	full := s.builder.Size() >= limit
	if full {
		p.shut(s)
	}
	if first || full || p.flushing > 0 {
		p.signal()
	}
}

func (p *Producer) newBatch(part *Partition) *sendBatch {
	s := &sendBatch{builder: record.NewBuilder()}
	if n := len(p.free); n > 0 {
		s, p.free = p.free[n-1], p.free[:n-1]
	}
	s.p, s.since = part, p.b.cfg.Now()
	p.open[part] = s
	p.unsent++
	return s
}

// shut closes a batch for sending and moves keyless messages on. p.mu is held.
func (p *Producer) shut(s *sendBatch) {
	delete(p.open, s.p)
	p.ready = append(p.ready, s)
	topic := s.p.tp.Topic
	if p.sticky[topic] == s.p {
		parts := p.handles[topic]
		p.sticky[topic] = parts[(int(s.p.tp.Partition)+1)%len(parts)]
	}
}

func (p *Producer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// SendSync sends one message and waits for its acknowledgement.
func (p *Producer) SendSync(ctx context.Context, m Message) (Message, error) {
	type outcome struct {
		m   Message
		err error
	}
	c := make(chan outcome, 1)
	if err := p.Send(ctx, m, func(m Message, err error) { c <- outcome{m, err} }); err != nil {
		return m, err
	}
	if err := p.Flush(ctx); err != nil {
		return m, err
	}
	o := <-c
	m.Partition, m.Offset, m.Time = o.m.Partition, o.m.Offset, o.m.Time
	return m, o.err
}

// Flush waits until everything sent before is acknowledged or has failed (which done tells).
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushing++
	defer func() { p.flushing-- }()
	for p.unsent > 0 {
		p.signal()
		space := p.space
		p.mu.Unlock()
		select {
		case <-space:
			p.mu.Lock()
		case <-ctx.Done():
			p.mu.Lock()
			return ctx.Err()
		}
	}
	return nil
}

// Close flushes, aborts an open transaction, and ends the producer.
func (p *Producer) Close() error {
	ctx := context.Background()
	err := p.Flush(ctx)
	if p.cfg.TransactionalID != "" {
		err = errors.Join(err, p.Abort(ctx))
	}
	p.mu.Lock()
	was := p.closed
	p.closed = true
	p.mu.Unlock()
	if !was {
		p.signal()
	}
	<-p.done
	return err
}
