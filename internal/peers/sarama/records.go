package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

type produceArgs struct {
	Topic, Codec, Acks string
	Idempotent         bool
	Records            []record
}

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

var acks = map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll}

func (d *driver) produce(a produceArgs) (any, error) {
	c := config()
	c.Producer.Compression, c.Producer.RequiredAcks = codecs[a.Codec], acks[a.Acks]
	if a.Idempotent {
		c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
	}
	p, err := sarama.NewAsyncProducer(d.brokers, c)
	if err != nil {
		return nil, err
	}
	offsets, err := send(p, a.Topic, a.Records)
	return offsets, errors.Join(err, p.Close())
}

// send produces the records and gives their offsets.
func send(p sarama.AsyncProducer, topic string, records []record) ([]int64, error) {
	go func() {
		for i, r := range records {
			m := &sarama.ProducerMessage{Topic: topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Time), Metadata: i}
			if r.Key != nil {
				m.Key = sarama.ByteEncoder(r.Key)
			}
			if r.Value != nil {
				m.Value = sarama.ByteEncoder(r.Value)
			}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
			}
			p.Input() <- m
		}
	}()
	offsets := make([]int64, len(records))
	late := time.After(patience)
	for range records {
		select {
		case m := <-p.Successes():
			offsets[m.Metadata.(int)] = m.Offset
		case err := <-p.Errors():
			return nil, err
		case <-late:
			return nil, errors.New("not all was delivered in time")
		}
	}
	return offsets, nil
}

func decode(m *sarama.ConsumerMessage) record {
	r := record{Partition: m.Partition, Offset: m.Offset, Time: m.Timestamp.UnixMilli(), Key: m.Key, Value: m.Value, Headers: []header{}}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, header{string(h.Key), h.Value})
	}
	return r
}

type readArgs struct{ Topic, Isolation string }

// read reads until each partition's high watermark. Where the last records are
// aborted or markers, sarama's consumer shows no record there: its high
// watermark and the silence after it tell the end.
func (d *driver) read(a readArgs) (any, error) {
	c := config()
	if a.Isolation == "read_committed" {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	client, err := sarama.NewClient(d.brokers, c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partitions, err := client.Partitions(a.Topic)
	if err != nil {
		return nil, err
	}
	all := []record{}
	for _, p := range partitions {
		if all, err = readPartition(client, consumer, a.Topic, p, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readPartition(client sarama.Client, consumer sarama.Consumer, topic string, partition int32, all []record) ([]record, error) {
	start, err := client.GetOffset(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil || start == end {
		return all, err
	}
	pc, err := consumer.ConsumePartition(topic, partition, start)
	if err != nil {
		return nil, err
	}
	defer pc.Close()
	late := time.After(patience)
	for {
		quiet := time.After(1500 * time.Millisecond) // three long polls
		select {
		case m := <-pc.Messages():
			all = append(all, decode(m))
			if m.Offset == end-1 {
				return all, nil
			}
		case err := <-pc.Errors():
			return nil, err
		case <-quiet:
			if pc.HighWaterMarkOffset() >= end {
				return all, nil
			}
		case <-late:
			return nil, fmt.Errorf("%s-%d: not at %d in time", topic, partition, end)
		}
	}
}

type transactArgs struct {
	TxID, Topic string
	Steps       []struct {
		Records []record
		Commit  bool
	}
}

func (d *driver) transactional(id string) (sarama.AsyncProducer, error) {
	c := config()
	c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks = true, 1, sarama.WaitForAll
	c.Producer.Transaction.ID = id
	return sarama.NewAsyncProducer(d.brokers, c)
}

func (d *driver) transact(a transactArgs) (any, error) {
	p, err := d.transactional(a.TxID)
	if err != nil {
		return nil, err
	}
	all := []int64{}
	for _, step := range a.Steps {
		if err := p.BeginTxn(); err != nil {
			return nil, err
		}
		offsets, err := send(p, a.Topic, step.Records)
		if err != nil {
			return nil, err
		}
		all = append(all, offsets...)
		end := p.AbortTxn
		if step.Commit {
			end = p.CommitTxn
		}
		if err := end(); err != nil {
			return nil, err
		}
	}
	return all, p.Close()
}

// fence has two producers with one transactional id; it gives what the older
// hears when it commits after the younger has.
func (d *driver) fence(a transactArgs) (any, error) {
	old, err := d.begun(a, 0)
	if err != nil {
		return nil, err
	}
	defer old.Close()
	young, err := d.begun(a, 1)
	if err != nil {
		return nil, err
	}
	defer young.Close()
	if err := young.CommitTxn(); err != nil {
		return nil, err
	}
	if err := old.CommitTxn(); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

// begun is a producer with an open transaction of a step's records.
func (d *driver) begun(a transactArgs, step int) (sarama.AsyncProducer, error) {
	p, err := d.transactional(a.TxID)
	if err != nil {
		return nil, err
	}
	if err := p.BeginTxn(); err != nil {
		return nil, err
	}
	_, err = send(p, a.Topic, a.Steps[step].Records)
	return p, err
}
