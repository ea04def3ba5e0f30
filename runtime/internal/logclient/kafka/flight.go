package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

const (
	// produceTimeoutMS is how long a broker waits for its replicas.
	produceTimeoutMS = 10_000
	// leaderPatience is how long an answer may take before the others are asked
	// whether they have another leader by now: one that stands still refuses nothing.
	leaderPatience = 3 * time.Second
)

// flight is a set of batches on their way, one per partition. It runs in a
// goroutine of its own and touches of the writer only what does not change
// meanwhile, and the outputs' next and added.
type flight struct {
	w       *writer
	ident   identity
	parcels []*parcel
	done    chan struct{}
	err     error // after done

	mu     sync.Mutex
	cancel context.CancelFunc
	halt   bool
}

// parcel is the batch of one partition; it is sent as it is until it has arrived.
type parcel struct {
	out     *output
	builder *record.Builder // owns data
	data    []byte
	count   int64
	arrived bool
}

// stop ends the flight early.
func (f *flight) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halt = true
	if f.cancel != nil {
		f.cancel()
	}
}

func (f *flight) stopped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.halt
}

func (f *flight) run(ctx context.Context) {
	defer close(f.done)
	ctx, cancel := context.WithTimeout(ctx, f.w.log.cfg.TransactionTimeout)
	defer cancel()
	f.mu.Lock()
	f.cancel = cancel
	if f.halt {
		cancel()
	}
	f.mu.Unlock()
	if !f.w.log.txn2 && f.w.staged == nil {
		if f.err = again(ctx, func() error { return f.add(ctx) }); f.err != nil {
			return
		}
	}
	f.err = again(ctx, func() error { return f.round(ctx) })
}

// add makes the partitions part of the transaction, before transaction.version 2.
func (f *flight) add(ctx context.Context) error {
	var tps []record.TopicPartition
	for _, p := range f.parcels {
		if !p.out.added {
			tps = append(tps, p.out.tp)
		}
	}
	if len(tps) == 0 {
		return nil
	}
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = f.w.id, f.ident.id, f.ident.epoch
	names, parts := byTopic(tps)
	for _, name := range names {
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = name, parts[name]
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, f.w.cl)
	if err != nil {
		return err
	}
	var failed error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.OperationNotAttempted) {
				failed = worse(failed, fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, f.w.log.denied(err, attempt{op: "Write", topic: t.Topic, id: f.w.id})))
			}
		}
	}
	if failed != nil {
		return failed
	}
	for _, p := range f.parcels {
		p.out.added = true
	}
	return nil
}

// round sends what has not arrived to its leaders, all of them at once.
func (f *flight) round(ctx context.Context) error {
	byNode, err := f.sort(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for node, parcels := range byNode {
		wg.Go(func() {
			err := f.send(ctx, node, parcels)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = worse(failed, err)
			}
		})
	}
	wg.Wait()
	if failed != nil {
		f.lookAgain(ctx)
	}
	return failed
}

// sort finds the leaders of what has not arrived.
func (f *flight) sort(ctx context.Context) (map[int32][]*parcel, error) {
	byNode := map[int32][]*parcel{}
	for _, p := range f.parcels {
		if p.arrived {
			continue
		}
		t, err := f.w.log.topics.get(ctx, p.out.tp.Topic)
		if err != nil {
			return nil, err
		}
		if t.id != p.out.topic.id || int(p.out.tp.Partition) >= len(t.parts) {
			return nil, kerr.UnknownTopicOrPartition // deleted under the writer
		}
		l := t.parts[p.out.tp.Partition]
		if l.node < 0 {
			f.lookAgain(ctx)
			return nil, kerr.LeaderNotAvailable
		}
		byNode[l.node] = append(byNode[l.node], p)
	}
	return byNode, nil
}

func topicsIn(parcels []*parcel) (names []string) {
	for _, p := range parcels {
		if !slices.Contains(names, p.out.tp.Topic) {
			names = append(names, p.out.tp.Topic)
		}
	}
	return names
}

// lookAgain asks who leads what has not arrived.
func (f *flight) lookAgain(ctx context.Context) {
	ask := topicsIn(slices.DeleteFunc(slices.Clone(f.parcels), func(p *parcel) bool { return p.arrived }))
	if _, err := f.w.log.topics.ask(ctx, ask); err != nil && ctx.Err() == nil {
		f.w.log.cfg.Logger.Warn("kafka: leaders are not known", "topics", ask, "err", err)
	}
}

// send brings batches to one leader.
func (f *flight) send(ctx context.Context, node int32, parcels []*parcel) error {
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = f.w.txnID(), -1, produceTimeoutMS
	at := map[string]int{}
	byTP := map[record.TopicPartition]*parcel{}
	for _, p := range parcels {
		name := p.out.tp.Topic
		i, is := at[name]
		if !is {
			i = len(req.Topics)
			at[name] = i
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = name, p.out.topic.id
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = int32(p.out.tp.Partition), p.data
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
		byTP[p.out.tp] = p
	}
	asking, done := f.whileLeading(ctx, node, parcels)
	kresp, err := f.w.cl.Broker(int(node)).Request(asking, req)
	moved := ctx.Err() == nil && asking.Err() != nil
	done()
	if err != nil {
		if moved {
			return fmt.Errorf("broker %d did not answer and leads no more: %w", node, kerr.NotLeaderForPartition)
		}
		return err
	}
	var failed error
	resp := kresp.(*kmsg.ProduceResponse)
	for _, t := range resp.Topics {
		name := f.w.log.topics.name(t.Topic, t.TopicID)
		for _, rp := range t.Partitions {
			p := byTP[record.TopicPartition{Topic: name, Partition: record.Partition(rp.Partition)}]
			if p == nil {
				continue
			}
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
				if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) {
					err = fmt.Errorf("a batch of %d bytes, made for a max.message.bytes of %d, is refused: raise max.message.bytes of topic %s, or let this program's user see it (DescribeConfigs on the topic), so that its batches fit: %w", len(p.data), p.out.topic.limit, name, err)
				}
				err = f.w.log.denied(produceError(err), attempt{op: "Write", topic: name, id: f.w.id})
				failed = worse(failed, fmt.Errorf("%s-%d: %w", name, rp.Partition, err))
				continue
			}
			p.arrived = true
			p.out.next = logclient.OffsetEpoch{Offset: record.Offset(rp.BaseOffset + p.count), Epoch: f.epoch(p.out.tp)}
		}
	}
	if failed == nil {
		for _, p := range parcels {
			if !p.arrived {
				return fmt.Errorf("%s-%d: the leader's answer does not have it: %w", p.out.tp.Topic, p.out.tp.Partition, kerr.UnknownServerError)
			}
		}
	}
	return failed
}

// whileLeading is a context that ends once all of these partitions have another
// leader than node. What was sent to node may have arrived all the same; sending it
// again does no harm.
func (f *flight) whileLeading(ctx context.Context, node int32, parcels []*parcel) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	topics, tps := topicsIn(parcels), make([]record.TopicPartition, len(parcels))
	for i, p := range parcels {
		tps[i] = p.out.tp
	}
	timer := time.AfterFunc(leaderPatience, func() {
		for ctx.Err() == nil {
			asking, done := context.WithTimeout(ctx, leaderPatience)
			_, err := f.w.log.topics.ask(asking, topics)
			done()
			if err == nil && !f.w.log.topics.leads(node, tps) {
				cancel()
			}
			wait(ctx, leaderPatience/3)
		}
	})
	return ctx, func() {
		timer.Stop()
		cancel()
	}
}

// produceError tells a leader that does not know the topic yet, which asking
// again mends, from a topic that is gone, which sort finds.
func produceError(err error) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) {
		return kerr.NotLeaderForPartition
	}
	return err
}

func (f *flight) epoch(tp record.TopicPartition) record.LeaderEpoch {
	c := f.w.log.topics
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.known[tp.Topic]; t != nil && int(tp.Partition) < len(t.parts) {
		return t.parts[tp.Partition].epoch
	}
	return record.NoLeaderEpoch
}
