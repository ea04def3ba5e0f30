package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// results reads the log of a run that has ended: the embedded one, or a cluster's.
type results struct {
	log     *broker.Broker
	brokers []string // of the cluster
}

func openResults(at string) (*results, error) {
	if brokers, cluster := strings.CutPrefix(at, "kafka://"); cluster {
		return &results{brokers: strings.Split(brokers, ",")}, nil
	}
	log, err := broker.Open(broker.Config{Dir: strings.TrimPrefix(at, "embedded:")})
	if err != nil {
		return nil, err
	}
	return &results{log: log}, nil
}

func (r *results) close() error {
	if r.log == nil {
		return nil
	}
	return r.log.Close()
}

// each calls fn for every committed record of a topic, those of a partition in
// order. The record is valid until fn returns.
func (r *results) each(ctx context.Context, topic string, fn func(*record.View) error) error {
	if r.log == nil {
		return eachOnCluster(ctx, r.brokers, topic, fn)
	}
	t, ok := r.log.Topic(topic)
	if !ok {
		return nil
	}
	batch := record.NewIterator(nil, record.ReadOptions{})
	defer batch.Release()
	for p := range record.Partition(t.Partitions) {
		part, err := r.log.Partition(record.TopicPartition{Topic: topic, Partition: p})
		if err != nil {
			return err
		}
		at, end := part.Offsets().Start, part.Offsets().Stable
		for at < end && err == nil {
			if err = ctx.Err(); err == nil {
				at, err = eachOfChunk(part, at, batch, fn)
			}
		}
		if err != nil {
			return fmt.Errorf("%s-%d: offset %d: %w", topic, p, at, err)
		}
	}
	return nil
}

// eachOfChunk reads what the log gives at once, from an offset on, and returns
// the offset after it, which passes over aborted transactions and their markers.
func eachOfChunk(part *broker.Partition, from record.Offset, batch *record.Iterator, fn func(*record.View) error) (next record.Offset, err error) {
	chunk, err := part.Read(from, broker.ReadOptions{Committed: true})
	if err != nil {
		return from, err
	}
	defer chunk.Release()
	for _, raw, ok := chunk.NextBatch(); ok; _, raw, ok = chunk.NextBatch() {
		batch.Reset(raw, record.ReadOptions{})
		var v record.View
		for batch.Next(&v) {
			if v.Offset < from {
				continue
			}
			if err := fn(&v); err != nil {
				return v.Offset, err
			}
		}
		if err := batch.Err(); err != nil {
			return from, err
		}
	}
	return chunk.Next, chunk.Err()
}

// deadLetter is a row that was put aside.
type deadLetter struct {
	stage, reason, file, line string
	value                     string
}

func (r *results) deadLetters(ctx context.Context, fn func(deadLetter)) error {
	return r.each(ctx, deadLettersTopic, func(m *record.View) error {
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
	err = r.each(ctx, dailySalesTable, func(m *record.View) error {
		var row DailySales
		if err := json.Unmarshal(m.Value, &row); err != nil {
			return err
		}
		return s.add(row.sortKey(append(line.key[:0], 'd')), line.sales(&row))
	})
	if err != nil {
		return 0, err
	}
	err = r.each(ctx, ordersByCustomerTable, func(m *record.View) error {
		var row CustomerOrder
		if err := json.Unmarshal(m.Value, &row); err != nil {
			return err
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
	err = r.each(ctx, dailySalesTable, func(m *record.View) error {
		keys[string(m.Key)] = struct{}{}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	err = r.each(ctx, ordersByCustomerTable, func(*record.View) error { good++; return nil })
	return good, int64(len(keys)), err
}
