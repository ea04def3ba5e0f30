package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
)

// partitionOf is a partition's log in short: "a" is a record of producer a's open
// transaction, "-a" the marker that aborts it, "+a" the one that commits it.
func partitionOf(t *testing.T, history string) (log []byte) {
	t.Helper()
	for at, step := range strings.Fields(history) {
		producer := record.ProducerID(step[len(step)-1])
		var batch []byte
		switch step[0] {
		case '-', '+':
			kind := record.AbortMarker
			if step[0] == '+' {
				kind = record.CommitMarker
			}
			batch = record.AppendMarkerBatch(nil, producer, 0, record.Marker{Type: kind}, 1)
		default:
			b := record.NewBuilder()
			b.SetProducer(producer, 0, 0)
			b.SetTransactional(true)
			b.Append(&record.View{Value: []byte(step)})
			var err error
			if batch, err = b.Finish(record.None); err != nil {
				t.Fatal(err)
			}
			batch = append([]byte(nil), batch...)
		}
		record.SetBaseOffset(batch, record.Offset(at))
		log = append(log, batch...)
	}
	return log
}

func TestAbortedTransactionsAreSkippedHoweverTheyAreListed(t *testing.T) {
	for _, c := range []struct {
		history string
		aborted string // producer and first offset, in the order of the answer
		want    string
	}{
		{"a b -a -b c +c", "a0 b1", "c"},
		{"a b -b -a c +c", "b1 a0", "c"}, // by their ends, as Apache Kafka has it
		{"a b c -c -b -a", "c2 b1 a0", ""},
		{"a b -b b +b -a", "b1 a0", "b"},
		{"a -a a +a a -a", "a0 a4", "a"},
		{"a +a b a -b -a", "b2 a3", "a"},
	} {
		p := kmsg.NewFetchResponseTopicPartition()
		p.RecordBatches = partitionOf(t, c.history)
		for _, entry := range strings.Fields(c.aborted) {
			a := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
			a.ProducerID, a.FirstOffset = int64(entry[0]), int64(entry[1]-'0')
			p.AbortedTransactions = append(p.AbortedTransactions, a)
		}
		chunk, err := newChunk(&p, 0, true)
		if err != nil {
			t.Fatal(err)
		}
		b := lend(nil, record.TopicPartition{Topic: "t"}, chunk, false)
		var got string
		var v record.View
		for b.Next(&v) {
			got += string(v.Value)
		}
		if b.Err() != nil || got != c.want {
			t.Errorf("%s, aborted %s: read %q, %v, expected %q", c.history, c.aborted, got, b.Err(), c.want)
		}
		b.Release()
	}
}
