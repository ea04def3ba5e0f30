package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// produceRequest asks for one batch in one partition.
func produceRequest(version int16, top broker.Topic, partition int32, acks int16, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 1000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = top.Name, top.ID
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// produced is the first partition of an answer.
func produced(t *testing.T, resp kmsg.Response) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	r := resp.(*kmsg.ProduceResponse)
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		t.Fatalf("answer has %+v, expected one partition", r.Topics)
	}
	return r.Topics[0].Partitions[0]
}

func TestProduceAppendsAtEveryVersion(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 2)
	c := ts.dial()
	next := int64(0)
	versions(t, keyProduce, func(t *testing.T, v int16) {
		for _, acks := range []int16{1, -1} {
			p := produced(t, c.do(produceRequest(v, top, 1, acks, batchOf(t, "a", "b"))))
			if p.ErrorCode != 0 || p.BaseOffset != next || p.Partition != 1 {
				t.Errorf("version %d acks %d: error %d (%v), partition %d, base offset %d, expected %d", v, acks, p.ErrorCode, p.ErrorMessage, p.Partition, p.BaseOffset, next)
			}
			next += 2
		}
	})
}

func TestTheBytesOfAProducerAreTheBytesOfTheLog(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	batch := batchOf(t, "some", "values")
	c := ts.dial()
	for range 3 {
		if p := produced(t, c.do(produceRequest(9, top, 0, -1, batch))); p.ErrorCode != 0 {
			t.Fatal(p.ErrorCode)
		}
	}
	part, err := ts.b.Partition(record.TopicPartition{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	chunk, err := part.Read(0, broker.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer chunk.Release()
	for i := range 3 {
		_, raw, ok := chunk.NextBatch()
		want := append([]byte(nil), batch...)
		record.SetBaseOffset(want, record.Offset(2*i))
		record.SetLeaderEpoch(want, part.Epoch())
		if !ok || string(raw) != string(want) {
			t.Fatalf("batch %d in the log differs from what was sent in more than base offset and epoch", i)
		}
	}
}

func TestProduceErrorsAreThePartitionsOwn(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1, "max.message.bytes", "300")
	compacted := ts.topic("compacted", 1, "cleanup.policy", "compact")
	flipped := batchOf(t, "value")
	flipped[len(flipped)-3] ^= 1
	big := batchOf(t, string(make([]byte, 400)))
	count := batchOf(t, "a", "b")
	binary.BigEndian.PutUint32(count[57:], 1)
	setCRC(count)
	lengths := batchOf(t, "a", "b")
	lengths[61] += 2
	setCRC(lengths)
	codec := batchOf(t, "a")
	codec[22] |= 6
	setCRC(codec)
	magic := batchOf(t, "a")
	magic[16] = 1
	none := broker.Topic{Name: "nowhere", ID: [16]byte{9}}
	offsets := broker.Topic{Name: "__consumer_offsets"}
	for _, c := range []struct {
		name      string
		top       broker.Topic
		partition int32
		batch     []byte
		version   int16
		want      int16
	}{
		{"flipped bit", top, 0, flipped, 9, codeCorruptMessage},
		{"torn", top, 0, batchOf(t, "a")[:65], 9, codeCorruptMessage},
		{"shorter than a header", top, 0, []byte{1, 2, 3}, 9, codeCorruptMessage},
		{"empty", top, 0, []byte{}, 9, codeInvalidRecord},
		{"null", top, 0, nil, 9, codeInvalidRecord},
		{"two batches", top, 0, append(batchOf(t, "a"), batchOf(t, "b")...), 9, codeInvalidRecord},
		{"too large", top, 0, big, 9, codeMessageTooLarge},
		{"wrong count", top, 0, count, 9, codeInvalidRecord},
		{"records that do not fill the batch", top, 0, lengths, 9, codeInvalidRecord},
		{"unknown codec", top, 0, codec, 9, codeUnsupportedCompressionType},
		{"old magic", top, 0, magic, 9, codeInvalidRecord},
		{"no key in a compacted topic", compacted, 0, batchOf(t, "a"), 9, codeInvalidRecord},
		{"unknown topic", none, 0, batchOf(t, "a"), 9, codeUnknownTopicOrPartition},
		{"unknown topic id", none, 0, batchOf(t, "a"), 13, codeUnknownTopicID},
		{"unknown partition", top, 7, batchOf(t, "a"), 9, codeUnknownTopicOrPartition},
		{"negative partition", top, -1, batchOf(t, "a"), 9, codeUnknownTopicOrPartition},
		{"the coordinators' topic", offsets, 0, batchOf(t, "a"), 9, codeUnknownTopicOrPartition},
	} {
		for _, acks := range []int16{1, -1} {
			req := produceRequest(c.version, c.top, c.partition, acks, c.batch)
			good := kmsg.NewProduceRequestTopic()
			good.Topic, good.TopicID = compacted.Name, compacted.ID
			gp := kmsg.NewProduceRequestTopicPartition()
			gp.Records = keyedBatch(t, "k", "v")
			good.Partitions = append(good.Partitions, gp)
			req.Topics = append(req.Topics, good)
			resp := ts.dial().do(req).(*kmsg.ProduceResponse)
			if got := resp.Topics[0].Partitions[0]; got.ErrorCode != c.want || got.BaseOffset != -1 {
				t.Errorf("%s: error %d (%v), expected %d", c.name, got.ErrorCode, got.ErrorMessage, c.want)
			}
			if got := resp.Topics[1].Partitions[0]; got.ErrorCode != 0 {
				t.Errorf("%s: the partition beside it got error %d", c.name, got.ErrorCode)
			}
		}
	}
}

// What is compressed is read before it is stored, whichever codec: garbage under
// a good checksum would stop every consumer for good.
func TestCompressedBatchesAreReadBeforeTheyAreStored(t *testing.T) {
	ts := newTestServer(t)
	plain := ts.topic("plain", 1)
	compacted := ts.topic("compacted", 1, "cleanup.policy", "compact")
	again := ts.topic("again", 1, "compression.type", "uncompressed", "max.message.bytes", "200000000")
	c := ts.dial()
	for _, codec := range []record.Codec{record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		good := compressedBatch(t, codec, "k", "a", "b", "c")
		garbage := bytes.Clone(good)
		copy(garbage[record.HeaderSize:], "no codec begins like this")
		setCRC(garbage)
		torn := bytes.Clone(good[:len(good)-1])
		binary.BigEndian.PutUint32(torn[8:], uint32(len(torn)-12))
		setCRC(torn)
		count := bytes.Clone(good)
		binary.BigEndian.PutUint32(count[57:], 4)
		binary.BigEndian.PutUint32(count[23:], 3)
		setCRC(count)
		flipped := bytes.Clone(good)
		flipped[len(flipped)-3] ^= 1
		bomb := compressedBatch(t, codec, "k", strings.Repeat("x", record.DefaultMaxDecompressed))
		for _, x := range []struct {
			name  string
			top   broker.Topic
			batch []byte
			want  int16
		}{
			{"good", plain, good, codeNone},
			{"good", compacted, good, codeNone},
			{"garbage", plain, garbage, codeInvalidRecord},
			{"garbage", compacted, garbage, codeInvalidRecord},
			{"torn", plain, torn, codeInvalidRecord},
			{"wrong count", plain, count, codeInvalidRecord},
			{"flipped bit", plain, flipped, codeCorruptMessage},
			{"offsets with a gap", plain, gapBatch(t, codec), codeInvalidRecord},
			{"no key", compacted, compressedBatch(t, codec, "", "a"), codeInvalidRecord},
			{"a bomb", again, bomb, codeMessageTooLarge},
		} {
			if p := produced(t, c.do(produceRequest(9, x.top, 0, -1, x.batch))); p.ErrorCode != x.want {
				t.Errorf("%s, %s to %s: error %d (%v), expected %d", codec, x.name, x.top.Name, p.ErrorCode, p.ErrorMessage, x.want)
			}
		}
	}
}

// compressedBatch has a record for each value, all with the key; "" is none.
func compressedBatch(t testing.TB, codec record.Codec, key string, values ...string) []byte {
	t.Helper()
	b := record.NewBuilder()
	for _, value := range values {
		v := record.View{Value: []byte(value), Timestamp: 1_700_000_000_000}
		if key != "" {
			v.Key = []byte(key)
		}
		b.Append(&v)
	}
	raw, err := b.Finish(codec)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// gapBatch counts two records, whose offset deltas are 0 and 2.
func gapBatch(t testing.TB, codec record.Codec) []byte {
	t.Helper()
	b := record.NewBuilder()
	for _, offset := range []record.Offset{0, 2} {
		b.AppendAt(&record.View{Offset: offset, Key: []byte("k"), Timestamp: 1_700_000_000_000})
	}
	raw, err := b.Finish(codec)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(raw[23:], 1) // the last offset delta that a count of two has
	setCRC(raw)
	return raw
}

func TestRecordErrorsNameTheRecord(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("compacted", 1, "cleanup.policy", "compact")
	p := produced(t, ts.dial().do(produceRequest(9, top, 0, 1, batchOf(t, "a"))))
	if len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != 0 || p.ErrorMessage == nil {
		t.Errorf("error records %+v, message %v, expected record 0 named", p.ErrorRecords, p.ErrorMessage)
	}
}

func TestAcksNone(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	c.write(produceRequest(9, top, 0, 0, batchOf(t, "a")))
	if p := produced(t, c.do(produceRequest(9, top, 0, 1, batchOf(t, "b")))); p.BaseOffset != 1 {
		t.Errorf("the answer after a produce with acks=0 is for base offset %d, expected 1", p.BaseOffset)
	}
	c.write(produceRequest(9, top, 5, 0, batchOf(t, "a")))
	if n := c.closed(); n != 0 {
		t.Errorf("%d bytes came after a failed produce with acks=0, expected the end of the connection", n)
	}
	if p := produced(t, ts.dial().do(produceRequest(9, top, 0, 7, batchOf(t, "b")))); p.ErrorCode != codeInvalidRequiredAcks {
		t.Errorf("acks=7: error %d, expected %d", p.ErrorCode, codeInvalidRequiredAcks)
	}
}

func TestAnswersOfPipelinedProducesAreInOrder(t *testing.T) {
	ts := newTestServer(t, onDisk(t))
	top := ts.topic("t", 1)
	c := ts.dial()
	const n = 200
	go func() {
		for i := range n {
			acks := int16(-1)
			if i%3 == 0 {
				acks = 1
			}
			c.write(produceRequest(9, top, 0, acks, batchOf(t, "a")))
		}
	}()
	for i := range n {
		corr, resp, err := c.tryRead(produceRequest(9, top, 0, 0, nil))
		if err != nil {
			t.Fatal(err)
		}
		if p := produced(t, resp); corr != int32(i+1) || p.BaseOffset != int64(i) {
			t.Fatalf("answer %d has correlation id %d and base offset %d", i, corr, p.BaseOffset)
		}
	}
}

func TestKgoProduces(t *testing.T) {
	ts := newTestServer(t)
	cl := ts.kgo(kgo.DefaultProduceTopic("made-at-first-use"), kgo.AllowAutoTopicCreation(), kgo.DisableIdempotentWrite())
	var recs []*kgo.Record
	for range 1000 {
		recs = append(recs, kgo.StringRecord("hello"))
	}
	if err := cl.ProduceSync(context.Background(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// keyedBatch builds a batch of one record with a key.
func keyedBatch(t testing.TB, key, value string) []byte {
	t.Helper()
	b := record.NewBuilder()
	b.Append(&record.View{Key: []byte(key), Value: []byte(value), Timestamp: 1_700_000_000_000})
	raw, err := b.Finish(record.None)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
