package txn

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
)

// endsTag is the tag of a topic in a Prepare record under which the end offsets
// of its partitions stand, 8 bytes big-endian each, in the partitions' order.
const endsTag = 10000

// idTag is the tag of a topic in a Prepare record under which its id stands, 16 bytes.
const idTag = 10001

// Key is the key of a transactional id's records.
func Key(id string) []byte {
	k := kmsg.TxnMetadataKey{TransactionalID: id}
	return k.AppendTo(nil)
}

// Record encodes a step's record: Kafka's TransactionLogKey version 0 and
// TransactionLogValue version 1. The value is nil (a tombstone) for an id that is forgotten.
func (s *Step) Record() (key, value []byte) {
	key = Key(s.Next.TransactionalID)
	if s.Tombstone {
		return key, nil
	}
	t := s.Next
	v := kmsg.NewTxnMetadataValue()
	v.Version = 1
	v.ProducerID, v.ProducerEpoch = int64(t.ID), int16(t.Epoch)
	v.TimeoutMillis = t.TimeoutMS
	v.State = kmsg.TransactionState(t.State)
	v.Topics = topics(t)
	v.LastUpdateTimestamp, v.StartTimestamp = t.UpdateMS, t.StartMS
	v.PreviousProducerID, v.NextProducerID = int64(t.Previous), int64(t.Next)
	v.ClientTransactionVersion = t.Version
	return key, v.AppendTo(nil)
}

// topics groups the sorted partitions. An id without an open transaction has
// none: null, as Kafka writes it for Empty only.
func topics(t *Txn) []kmsg.TxnMetadataValueTopic {
	if t.State == Empty {
		return nil
	}
	out := []kmsg.TxnMetadataValueTopic{}
	for i := 0; i < len(t.Partitions); {
		tt := kmsg.NewTxnMetadataValueTopic()
		tt.Topic = t.Partitions[i].Topic
		var ends []byte
		var id [16]byte
		for ; i < len(t.Partitions) && t.Partitions[i].Topic == tt.Topic; i++ {
			tt.Partitions = append(tt.Partitions, int32(t.Partitions[i].Partition))
			if t.Ends != nil {
				ends, id = binary.BigEndian.AppendUint64(ends, uint64(t.Ends[i].Offset)), t.Ends[i].Topic
			}
		}
		if ends != nil {
			tt.UnknownTags.Set(endsTag, ends)
		}
		if id != [16]byte{} {
			tt.UnknownTags.Set(idTag, id[:])
		}
		out = append(out, tt)
	}
	return out
}

// Decode reads a record of __transaction_state. A null value gives a nil Txn.
func Decode(key, value []byte) (id string, t *Txn, err error) {
	var k kmsg.TxnMetadataKey
	if err := k.ReadFrom(key); err != nil || k.Version != 0 {
		return "", nil, fmt.Errorf("txn: record key: version %d, expected 0: %w", k.Version, orBad(err))
	}
	if value == nil {
		return k.TransactionalID, nil, nil
	}
	v := kmsg.NewTxnMetadataValue()
	if err := v.ReadFrom(value); err != nil || v.Version < 0 || v.Version > 1 {
		return "", nil, fmt.Errorf("txn: record of %q: version %d, expected 0 or 1: %w", k.TransactionalID, v.Version, orBad(err))
	}
	if v.State < 0 || State(v.State) > Dead {
		return "", nil, fmt.Errorf("txn: record of %q: unknown state %d: %w", k.TransactionalID, v.State, errBadRecord)
	}
	t = &Txn{
		TransactionalID: k.TransactionalID,
		Identity:        Identity{record.ProducerID(v.ProducerID), record.ProducerEpoch(v.ProducerEpoch)},
		LastEpoch:       record.NoProducerEpoch,
		Previous:        record.ProducerID(v.PreviousProducerID),
		Next:            record.ProducerID(v.NextProducerID),
		Version:         v.ClientTransactionVersion,
		TimeoutMS:       v.TimeoutMillis, State: State(v.State),
		StartMS: v.StartTimestamp, UpdateMS: v.LastUpdateTimestamp,
	}
	decodeTopics(t, v.Topics)
	return k.TransactionalID, t, nil
}

func decodeTopics(t *Txn, topics []kmsg.TxnMetadataValueTopic) {
	ends := map[record.TopicPartition]End{}
	for i := range topics {
		tt := &topics[i]
		var raw []byte
		var id [16]byte
		tt.UnknownTags.Each(func(tag uint32, b []byte) {
			if tag == endsTag && len(b) == 8*len(tt.Partitions) {
				raw = b
			}
			if tag == idTag && len(b) == len(id) {
				id = [16]byte(b)
			}
		})
		for j, p := range tt.Partitions {
			tp := record.TopicPartition{Topic: tt.Topic, Partition: record.Partition(p)}
			t.Partitions = append(t.Partitions, tp)
			if raw != nil {
				ends[tp] = End{record.Offset(binary.BigEndian.Uint64(raw[8*j:])), id}
			}
		}
	}
	slices.SortFunc(t.Partitions, Compare)
	t.Partitions = slices.Compact(t.Partitions)
	if len(ends) == len(t.Partitions) && len(ends) > 0 {
		for _, tp := range t.Partitions {
			t.Ends = append(t.Ends, ends[tp])
		}
	}
}

// Replay takes one record of the log, in order.
func (c *Core) Replay(key, value []byte) error {
	id, t, err := Decode(key, value)
	if err != nil {
		return err
	}
	if t == nil {
		delete(c.ids, id)
		delete(c.undone, id)
		return nil
	}
	c.ids[id] = t
	switch t.State {
	case PrepareCommit:
		// Everything decided before was on disk with its markers when this was written.
		c.undone[id] = []*Txn{t}
	case PrepareAbort:
		c.undone[id] = append(c.undone[id], t)
	case CompleteCommit, CompleteAbort:
		delete(c.undone, id)
	case Dead:
		delete(c.ids, id)
		delete(c.undone, id)
	}
	return nil
}

// Undone returns the decisions found by Replay whose markers may be missing, in
// the order of the decisions per id, and forgets them. For each partition that
// is still of the same topic a marker is due if the producer has a transaction
// open there that began below the decision's end offset (EndAt).
func (c *Core) Undone() []*Txn {
	var out []*Txn
	for _, id := range slices.Sorted(maps.Keys(c.undone)) {
		out = append(out, c.undone[id]...)
	}
	c.undone = map[string][]*Txn{}
	return out
}

// EndAt is the bound below which the decided transaction began in Partitions[i]:
// anything, if the decision was written without ends (by Kafka).
func (t *Txn) EndAt(i int) End {
	if t.Ends == nil {
		return End{Offset: 1<<63 - 1}
	}
	return t.Ends[i]
}
