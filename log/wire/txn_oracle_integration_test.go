package wire

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
)

// Random requests about transactions, by producers that are current, fenced or
// confused, are sent to Apache Kafka and to us, and are answered with the same
// codes, epochs and states. What differs on purpose stands in txnDiffers.

// txnWorld is one of the two brokers.
type txnWorld struct {
	name string
	dial func() *rawConn
	c    *rawConn
	top  broker.Topic
}

// txnActor is one producer, in both worlds.
type txnActor struct {
	name string
	p    [2]*wireProducer
	last [2]*kmsg.EndTxnRequest // as it was sent
	sent [2]*kmsg.ProduceRequest
}

// txnDiffers says where we do another thing on purpose, and why.
func txnDiffers(op, kafka, ours string) bool {
	switch {
	case op == "end again" && kafka[0] == '0' && ours == "90 -1":
		// By the first protocol an epoch below is a fenced producer's; Kafka takes
		// it for the same request again and hands it the newcomer's epoch.
		return true
	case op == "initialise again" && strings.HasPrefix(kafka, "90") && kafka == ours:
		// Kafka has aborted the transaction of the producer that fenced this one
		// before it looked at the epoch; here a zombie does nothing.
		return true
	}
	return false
}

func (w *txnWorld) ready(t *testing.T, topic string) {
	w.c = w.dial()
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 5, 10_000
	for _, name := range []string{topic, "in-" + topic} {
		r := kmsg.NewCreateTopicsRequestTopic()
		r.Topic, r.NumPartitions, r.ReplicationFactor = name, 2, 1
		create.Topics = append(create.Topics, r)
	}
	for _, r := range w.c.do(create).(*kmsg.CreateTopicsResponse).Topics {
		expectCode(t, w.name+": create topic", r.ErrorCode, codeNone)
	}
	w.top = broker.Topic{Name: topic}
	for n := range int32(2) {
		settled(func() int16 {
			c, _ := producedCode(w.c.do(produceRequest(9, w.top, n, acksAll, batchOf(t, "first"))))
			return c
		}, codeNotLeaderForPartition, codeUnknownTopicOrPartition)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version = 4
	for _, typ := range []int8{0, 1} {
		find.CoordinatorType, find.CoordinatorKeys = typ, []string{"g"}
		settled(func() int16 {
			return w.c.do(find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode
		}, codeCoordinatorNotAvailable)
	}
}

// settled asks until the code is none of those that ask for patience.
func settled(ask func() int16, wait ...int16) int16 {
	wait = append(wait, codeConcurrentTransactions, codeCoordinatorLoadInProgress, codeNotCoordinator, codeNotEnoughReplicas, codeCoordinatorNotAvailable)
	for began := time.Now(); ; {
		c := ask()
		again := false
		for _, w := range wait {
			again = again || c == w
		}
		if !again || time.Since(began) > time.Minute {
			return c
		}
	}
}

// identity is what a producer has, without the number of its id, which must differ.
func (a *txnActor) identity(w int, before broker.ProducerIdentity) string {
	who := a.p[w].who
	return fmt.Sprintf("epoch %d same id %v", who.Epoch, who.ID == before.ID)
}

// do is one operation in one world, and the answer as far as it must be the same.
func (a *txnActor) do(w int, world *txnWorld, op string, partition int32) string {
	p := a.p[w]
	before := p.who
	tp := topicPartition(world.top.Name, partition)
	switch op {
	case "initialise anew":
		p.who = broker.NoProducer
		c := settled(p.init)
		return fmt.Sprint(c, " ", a.identity(w, broker.NoProducer))
	case "initialise again":
		c := settled(p.init)
		return fmt.Sprint(c, " ", a.identity(w, before))
	case "add":
		return fmt.Sprint(settled(func() int16 { return p.addPartition(tp) }))
	case "produce", "produce with a gap":
		if op != "produce" {
			p.seq[tp] += 3
			defer func() { p.seq[tp] -= 3 }()
		}
		a.sent[w] = p.produceRequest(world.top, partition, "v")
		c := settled(func() int16 { c, _ := producedCode(p.conn.do(a.sent[w])); return c })
		if c == codeNone && op == "produce" {
			p.seq[tp]++
		}
		return fmt.Sprint(c)
	case "produce the last batch again":
		if a.sent[w] == nil {
			return "none"
		}
		return fmt.Sprint(settled(func() int16 { c, _ := producedCode(p.conn.do(a.sent[w])); return c }))
	case "add the group":
		return fmt.Sprint(settled(func() int16 { return p.conn.do(p.addOffsetsRequest("g")).(*kmsg.AddOffsetsToTxnResponse).ErrorCode }))
	case "commit offsets":
		in := topicPartition("in-"+world.top.Name, 0)
		return fmt.Sprint(settled(func() int16 { return offsetsCode(p.conn.do(p.offsetsRequest("g", in, 1))) }))
	case "commit", "abort":
		a.last[w] = p.endRequest(op == "commit")
		c := settled(func() int16 { return p.ended(p.conn.do(a.last[w])) })
		return fmt.Sprint(c, " ", a.identity(w, before))
	case "end again":
		if a.last[w] == nil {
			return "none"
		}
		var resp *kmsg.EndTxnResponse
		c := settled(func() int16 { resp = p.conn.do(a.last[w]).(*kmsg.EndTxnResponse); return resp.ErrorCode })
		return fmt.Sprint(c, " ", resp.ProducerEpoch)
	case "describe":
		s := world.describe(p.id)
		return fmt.Sprint(s.ErrorCode, " ", s.ProducerEpoch, " ", s.State == "Ongoing", " ", s.TimeoutMillis)
	}
	panic(op)
}

func (w *txnWorld) describe(id string) kmsg.DescribeTransactionsResponseTransactionState {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	return w.c.do(req).(*kmsg.DescribeTransactionsResponse).TransactionStates[0]
}

// completed waits for the markers, which Kafka writes after it has answered; until
// then it takes batches of the first protocol into the transaction that is over.
func (w *txnWorld) completed(id string) {
	for began := time.Now(); strings.HasPrefix(w.describe(id).State, "Prepare") && time.Since(began) < 20*time.Second; {
	}
}

var txnOperations = []string{
	"initialise anew", "initialise again", "add", "add", "produce", "produce", "produce", "produce with a gap", "produce the last batch again",
	"add the group", "commit offsets", "commit", "commit", "commit", "abort", "end again", "describe",
}

func TestIntegrationTransactionsAreAnsweredAsKafkaDoes(t *testing.T) {
	kafka := peers.StartKafkaBroker(t, "controller.quorum.append.linger.ms=0")
	ours := newTestServer(t)
	worlds := [2]*txnWorld{
		{name: "kafka", dial: func() *rawConn { return dialTo(t, kafka.Addr()) }},
		{name: "ours", dial: ours.dial},
	}
	seeds, steps := 9, 0
	if os.Getenv("TORTURE") != "" {
		seeds = 100
	}
	for seed := range seeds {
		topic := fmt.Sprint("t", seed)
		for _, w := range worlds {
			w.ready(t, topic)
		}
		steps += compareTransactions(t, worlds, uint64(seed))
		for _, w := range worlds {
			_ = w.c.Close()
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d requests were answered alike", steps)
	if steps < 100 {
		t.Errorf("only %d requests were compared", steps)
	}
}

func compareTransactions(t *testing.T, worlds [2]*txnWorld, seed uint64) (steps int) {
	rng := rand.New(rand.NewPCG(seed, 5))
	var actors []*txnActor
	var log []string
	defer func() {
		for _, a := range actors {
			for _, p := range a.p {
				_ = p.conn.Close()
			}
		}
	}()
	spoken := dialects
	if seed%2 == 0 { // one protocol in a history, or all
		spoken = dialects[seed/2%3:][:1]
	}
	for range 60 {
		var a *txnActor
		op := txnOperations[rng.IntN(len(txnOperations))]
		if len(actors) == 0 || len(actors) < 5 && rng.IntN(12) == 0 {
			a = &txnActor{name: fmt.Sprint("p", len(actors))}
			id := fmt.Sprintf("x-%d-%d", seed, len(actors)%2)
			d := spoken[rng.IntN(len(spoken))]
			d.produce = min(d.produce, 12) // by name: the ids of topics differ
			for w := range worlds {
				a.p[w] = &wireProducer{txnDialect: d, t: t, conn: worlds[w].dial(), id: id, who: broker.NoProducer}
				a.p[w].reset()
			}
			actors = append(actors, a)
			op = "initialise anew"
		} else {
			a = actors[rng.IntN(len(actors))]
		}
		partition := int32(rng.IntN(2))
		kafka, ours := a.do(0, worlds[0], op, partition), a.do(1, worlds[1], op, partition)
		worlds[0].completed(a.p[0].id)
		log = append(log, fmt.Sprintf("%s %s %v: %s on %d: kafka %s, ours %s", a.name, a.p[1].name, a.p[1].who, op, partition, kafka, ours))
		steps++
		switch {
		case txnDiffers(op, kafka, ours):
			return steps // the worlds part here
		case kafka != ours:
			for _, l := range log {
				t.Log(l)
			}
			t.Errorf("seed %d, %s, %s: kafka answers %s, ours %s", seed, a.name, op, kafka, ours)
			return steps
		}
	}
	return steps
}
