package broker_test

import (
	"context"
	"fmt"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

func ExampleProducer() {
	b, err := broker.Open(broker.Config{Dir: "/data", FS: vfs.NewMem()})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if _, err := b.CreateTopic(broker.TopicSpec{Name: "orders", Partitions: 3}); err != nil {
		panic(err)
	}
	p, err := b.NewProducer(broker.ProducerConfig{TransactionalID: "shop"})
	if err != nil {
		panic(err)
	}
	defer p.Close()
	ctx := context.Background()
	err = p.Send(ctx, broker.Message{
		Topic: "orders", Partition: 2, Key: []byte("42"), Value: []byte("two teapots"),
		Headers: []record.Header{{Key: "source", Value: []byte("web")}},
	}, func(m broker.Message, err error) {
		fmt.Printf("partition %d, offset %d, error %v\n", m.Partition, m.Offset, err)
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("committed:", p.Commit(ctx))
	// Output:
	// partition 2, offset 0, error <nil>
	// committed: <nil>
}

func ExampleConsumer() {
	b, err := broker.Open(broker.Config{Dir: "/data", FS: vfs.NewMem()})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if _, err := b.CreateTopic(broker.TopicSpec{Name: "orders"}); err != nil {
		panic(err)
	}
	p, err := b.NewProducer(broker.ProducerConfig{})
	if err != nil {
		panic(err)
	}
	defer p.Close()
	ctx := context.Background()
	for _, v := range []string{"one teapot", "two cups"} {
		m := broker.Message{Topic: "orders", Partition: broker.AnyPartition, Key: []byte("42"), Value: []byte(v)}
		if _, err := p.SendSync(ctx, m); err != nil {
			panic(err)
		}
	}
	c, err := b.NewConsumer(broker.ConsumerConfig{Group: "kitchen", Topics: []string{"orders"}, Start: broker.FromStart()})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	messages, err := c.Poll(ctx)
	if err != nil {
		panic(err)
	}
	for _, m := range messages {
		fmt.Printf("%d: %s = %s\n", m.Offset, m.Key, m.Value)
	}
	fmt.Println("committed:", c.Commit())
	// Output:
	// 0: 42 = one teapot
	// 1: 42 = two cups
	// committed: <nil>
}
