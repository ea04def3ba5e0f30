package wire

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// txnDialect is the versions that a client's transactions speak.
type txnDialect struct {
	name                                              string
	initID, produce, add, addOffsets, commitOffs, end int16
}

// implicit says that the client's partitions join by being written to (KIP-890).
func (d *txnDialect) implicit() bool { return d.end >= 5 }

var (
	// librdkafka as of 2.x: the first protocol, and that in its oldest words.
	dialectLibrdkafka = txnDialect{"librdkafka", 4, 10, 0, 0, 3, 1}
	// Java clients 3.x and franz-go against a broker without transaction.version=2.
	dialectFirst = txnDialect{"first", 5, 11, 3, 4, 4, 4}
	// Java clients 4.x.
	dialectBumping = txnDialect{"bumping", 5, 13, 3, 4, 5, 5}

	dialects = []txnDialect{dialectLibrdkafka, dialectFirst, dialectBumping}
)

// wireProducer is a transactional producer that sends requests one by one and
// leaves what to make of the answers to the test.
type wireProducer struct {
	txnDialect
	t     testing.TB
	conn  *rawConn
	id    string
	who   broker.ProducerIdentity
	seq   map[record.TopicPartition]int32
	added map[record.TopicPartition]bool
}

func (ts *testServer) wireProducer(d txnDialect, id string) *wireProducer {
	ts.t.Helper()
	p := &wireProducer{txnDialect: d, t: ts.t, conn: ts.dial(), id: id, who: broker.NoProducer}
	p.reset()
	if c := p.init(); c != codeNone {
		ts.t.Fatalf("InitProducerId of %s: error %d", id, c)
	}
	return p
}

// reset is what an identity begins with.
func (p *wireProducer) reset() {
	p.seq, p.added = map[record.TopicPartition]int32{}, map[record.TopicPartition]bool{}
}

func (p *wireProducer) initRequest() *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = p.initID, &p.id, 60_000
	req.ProducerID, req.ProducerEpoch = int64(p.who.ID), int16(p.who.Epoch)
	return req
}

// init takes the identity that the answer has, unless it is an error.
func (p *wireProducer) init() int16 {
	p.t.Helper()
	return p.initialised(p.conn.do(p.initRequest()))
}

func (p *wireProducer) initialised(r kmsg.Response) int16 {
	resp := r.(*kmsg.InitProducerIDResponse)
	if resp.ErrorCode == codeNone {
		p.who = identityOf(resp.ProducerID, resp.ProducerEpoch)
		p.reset()
	}
	return resp.ErrorCode
}

func (p *wireProducer) addRequest(tp record.TopicPartition) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.txnDialect.add, p.id, int64(p.who.ID), int16(p.who.Epoch)
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: tp.Topic, Partitions: []int32{int32(tp.Partition)}}}
	return req
}

// addPartition adds a partition as the first protocol does.
func (p *wireProducer) addPartition(tp record.TopicPartition) int16 {
	p.t.Helper()
	c := addedCode(p.conn.do(p.addRequest(tp)))
	p.added[tp] = p.added[tp] || c == codeNone
	return c
}

func addedCode(resp kmsg.Response) int16 {
	return resp.(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode
}

func (p *wireProducer) produceRequest(top broker.Topic, partition int32, values ...string) *kmsg.ProduceRequest {
	b := record.NewBuilder()
	b.SetProducer(p.who.ID, p.who.Epoch, p.seq[topicPartition(top.Name, partition)])
	b.SetTransactional(true)
	for _, v := range values {
		b.Append(&record.View{Value: []byte(v), Timestamp: 1_700_000_000_000})
	}
	raw, err := b.Finish(record.None)
	if err != nil {
		p.t.Fatal(err)
	}
	req := produceRequest(p.produce, top, partition, acksAll, raw)
	req.TransactionID = &p.id
	return req
}

func producedCode(resp kmsg.Response) (code int16, offset int64) {
	r := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	return r.ErrorCode, r.BaseOffset
}

// put writes records, adding the partition before where the protocol asks for it.
func (p *wireProducer) put(top broker.Topic, partition int32, values ...string) int16 {
	p.t.Helper()
	tp := topicPartition(top.Name, partition)
	if !p.implicit() && !p.added[tp] {
		if c := p.addPartition(tp); c != codeNone {
			return c
		}
	}
	c, _ := producedCode(p.conn.do(p.produceRequest(top, partition, values...)))
	if c == codeNone {
		p.seq[tp] += int32(len(values))
	}
	return c
}

func (p *wireProducer) addOffsetsRequest(group string) *kmsg.AddOffsetsToTxnRequest {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.addOffsets, p.id, int64(p.who.ID), int16(p.who.Epoch), group
	return req
}

func (p *wireProducer) offsetsRequest(group string, tp record.TopicPartition, offset int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.commitOffs, p.id, int64(p.who.ID), int16(p.who.Epoch), group
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset = int32(tp.Partition), offset
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: tp.Topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{part}}}
	return req
}

func offsetsCode(resp kmsg.Response) int16 {
	return resp.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
}

// commitOffset puts a group's position into the transaction.
func (p *wireProducer) commitOffset(group string, tp record.TopicPartition, offset int64) int16 {
	p.t.Helper()
	if !p.implicit() {
		if c := p.conn.do(p.addOffsetsRequest(group)).(*kmsg.AddOffsetsToTxnResponse).ErrorCode; c != codeNone {
			return c
		}
	}
	return offsetsCode(p.conn.do(p.offsetsRequest(group, tp, offset)))
}

func (p *wireProducer) endRequest(commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.txnDialect.end, p.id, int64(p.who.ID), int16(p.who.Epoch), commit
	return req
}

func (p *wireProducer) finish(commit bool) int16 {
	p.t.Helper()
	return p.ended(p.conn.do(p.endRequest(commit)))
}

// ended takes the identity that the answer has, unless it is an error.
func (p *wireProducer) ended(r kmsg.Response) int16 {
	resp := r.(*kmsg.EndTxnResponse)
	if resp.ErrorCode != codeNone {
		return resp.ErrorCode
	}
	clear(p.added)
	if p.implicit() {
		p.who = identityOf(resp.ProducerID, resp.ProducerEpoch)
		p.reset()
	}
	return codeNone
}

// committed reads a partition's values as read_committed shows them.
func (ts *testServer) committed(topic string, partition int) string {
	ts.t.Helper()
	values, err := readCommittedValues(ts.b, topic, partition)
	if err != nil {
		ts.t.Fatal(err)
	}
	return strings.Join(values, " ")
}

func readCommittedValues(b *broker.Broker, topic string, partition int) (values []string, err error) {
	p, err := b.Partition(topicPartition(topic, int32(partition)))
	if err != nil {
		return nil, err
	}
	for at := p.Offsets().Start; ; {
		c, err := p.Read(at, broker.ReadOptions{Committed: true})
		if err != nil {
			return nil, err
		}
		if len(c.Data) == 0 {
			c.Release()
			return values, nil
		}
		for {
			_, raw, ok := c.NextBatch()
			if !ok {
				break
			}
			it := record.NewIterator(raw, record.ReadOptions{})
			var v record.View
			for it.Next(&v) {
				values = append(values, string(v.Value))
			}
			it.Release()
		}
		at = c.Next
		c.Release()
	}
}
