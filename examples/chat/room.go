package main

import (
	"context"
	"errors"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// messages is the one partition of the room: within it there is one order.
var messages = record.TopicPartition{Topic: "room", Partition: 0}

// room is an open log with a producer for each user who has spoken.
type room struct {
	log   *broker.Broker
	users map[string]*broker.Producer
}

// openRoom opens the log in a directory, and makes the topic if it is new.
func openRoom(dir string) (*room, error) {
	log, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	if _, err := log.EnsureTopic(broker.TopicSpec{Name: messages.Topic, Partitions: 1}); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &room{log, map[string]*broker.Producer{}}, nil
}

func (r *room) close() (err error) {
	for _, p := range r.users {
		err = errors.Join(err, p.Close())
	}
	return errors.Join(err, r.log.Close())
}

// say appends a message; when it returns the message is on disk.
func (r *room) say(ctx context.Context, user, words string) error {
	p := r.users[user]
	if p == nil {
		var err error
		if p, err = r.log.NewProducer(broker.ProducerConfig{}); err != nil {
			return err
		}
		r.users[user] = p
	}
	_, err := p.SendSync(ctx, broker.Message{Topic: messages.Topic, Partition: messages.Partition,
		Key: []byte(user), Value: []byte(words)})
	return err
}

// replay reads the room as a new reader does: from the start to what is the end
// now. A reader that stays would go on to Poll, which waits for more.
func (r *room) replay(ctx context.Context, show func(broker.Message)) (err error) {
	part, err := r.log.Partition(messages)
	if err != nil {
		return err
	}
	c, err := r.log.NewConsumer(broker.ConsumerConfig{Topics: []string{messages.Topic}, Start: broker.FromStart()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for next, end := part.Offsets().Start, part.Offsets().Stable; next < end; {
		said, err := c.Poll(ctx)
		if err != nil {
			return err
		}
		for _, m := range said {
			show(m)
			next = m.Offset + 1
		}
	}
	return nil
}
