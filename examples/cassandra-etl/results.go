package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// results reads the log of a run that has ended.
type results struct{ log *broker.Broker }

func openResults(dir string) (*results, error) {
	log, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	return &results{log}, nil
}

func (r *results) close() error { return r.log.Close() }

// each calls fn for every committed record of a topic, those of a partition in order.
func (r *results) each(ctx context.Context, topic string, fn func(*broker.Message) error) error {
	t, ok := r.log.Topic(topic)
	if !ok {
		return nil
	}
	for p := range record.Partition(t.Partitions) {
		if err := r.partition(ctx, record.TopicPartition{Topic: topic, Partition: p}, fn); err != nil {
			return fmt.Errorf("%s-%d: %w", topic, p, err)
		}
	}
	return nil
}

func (r *results) partition(ctx context.Context, tp record.TopicPartition, fn func(*broker.Message) error) error {
	part, err := r.log.Partition(tp)
	if err != nil {
		return err
	}
	from, end := part.Offsets().Start, part.Offsets().Stable
	if from >= end {
		return nil
	}
	in, err := r.log.NewConsumer(broker.ConsumerConfig{
		Partitions: []record.TopicPartition{tp},
		Start:      broker.FromOffsets(map[record.TopicPartition]record.Offset{tp: from}),
	})
	if err != nil {
		return err
	}
	defer in.Close()
	for in.Positions()[tp].Offset < end {
		messages, err := in.Poll(ctx)
		if err != nil {
			return err
		}
		for i := range messages {
			if err := fn(&messages[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// deadLetter is a row that was put aside.
type deadLetter struct {
	stage, reason, file, line string
	value                     string
}

func (r *results) deadLetters(ctx context.Context, fn func(deadLetter)) error {
	return r.each(ctx, deadLettersTopic, func(m *broker.Message) error {
		d := deadLetter{value: string(m.Value)}
		for _, h := range m.Headers {
			switch h.Key {
			case connectors.HeaderStage:
				d.stage = string(h.Value)
			case connectors.HeaderReason:
				d.reason = string(h.Value)
			case headerFile:
				d.file = string(h.Value)
			case headerLine:
				d.line = string(h.Value)
			}
		}
		fn(d)
		return nil
	})
}

// tally is what the last line of a summary says.
type tally struct {
	orders      int64 // rows of the orders file, good and bad
	bad         int64 // those of them that went to the dead letters
	rows        int64 // of all tables
	deadLetters int64 // of both files, and of Cassandra
}

func (t tally) String() string {
	return fmt.Sprintf("orders=%d bad=%d rows=%d dead_letters=%d", t.orders, t.bad, t.rows, t.deadLetters)
}

// tableRows hands every row of both tables to s, in the order in which they were
// written, and counts the good orders.
func (r *results) tableRows(ctx context.Context, j *job, s *sorter) (good int64, err error) {
	line := newRowPrinter(j.c.output)
	err = r.each(ctx, dailySalesTable, func(m *broker.Message) error {
		var row DailySales
		if err := json.Unmarshal(m.Value, &row); err != nil {
			return fmt.Errorf("offset %d: %w", m.Offset, err)
		}
		return s.add(row.sortKey(append(line.key[:0], 'd')), line.sales(&row))
	})
	if err != nil {
		return 0, err
	}
	err = r.each(ctx, ordersByCustomerTable, func(m *broker.Message) error {
		var row CustomerOrder
		if err := json.Unmarshal(m.Value, &row); err != nil {
			return fmt.Errorf("offset %d: %w", m.Offset, err)
		}
		good++
		return s.add(row.sortKey(append(line.key[:0], 'o')), line.order(&row))
	})
	return good, err
}

// count counts without looking at rows: an order has one row, as IDs are not
// repeated; daily sales have one for each key.
func (r *results) count(ctx context.Context) (good, days int64, err error) {
	keys := map[string]struct{}{}
	err = r.each(ctx, dailySalesTable, func(m *broker.Message) error {
		keys[string(m.Key)] = struct{}{}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	err = r.each(ctx, ordersByCustomerTable, func(*broker.Message) error { good++; return nil })
	return good, int64(len(keys)), err
}
