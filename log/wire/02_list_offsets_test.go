package wire

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

func listRequest(version int16, topic string, partition int32, time int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = version, -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, time
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func TestListOffsets(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 1)
	ts.topic("empty", 1)
	p := ts.partition("t", 0)
	for _, time := range []int64{100, 300, 200, 400} {
		b := record.NewBuilder()
		b.Append(&record.View{Value: []byte("v"), Timestamp: time})
		raw, err := b.Finish(record.None)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Produce(raw, broker.AcksLeader); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.DeleteBefore(1); err != nil {
		t.Fatal(err)
	}
	ts.openTransaction("t", 4) // offset 4 is the last stable one
	c := ts.dial()
	for _, q := range []struct {
		topic               string
		time                int64
		isolation           int8
		since               int16
		code                int16
		offset, at          int64
		epochKnown, skipped bool
	}{
		{topic: "t", time: -1, offset: 5, at: -1, epochKnown: true},
		{topic: "t", time: -1, isolation: 1, since: 2, offset: 4, at: -1, epochKnown: true},
		{topic: "t", time: -2, offset: 1, at: -1, epochKnown: true},
		{topic: "t", time: -4, since: 8, offset: 1, at: -1, epochKnown: true},
		{topic: "t", time: -5, since: 9, offset: -1, at: -1},
		{topic: "t", time: -6, since: 11, offset: -1, at: -1},
		{topic: "t", time: -7, code: codeUnsupportedVersion, offset: -1, at: -1},
		{topic: "t", time: 0, offset: 1, at: 300, epochKnown: true},
		{topic: "t", time: 301, offset: 3, at: 400, epochKnown: true},
		{topic: "t", time: 1 << 60, offset: -1, at: -1},
		{topic: "t", time: -3, since: 7, isolation: 1, offset: -1, at: -1}, // the greatest is in the open transaction
		{topic: "empty", time: -1, offset: 0, at: -1, epochKnown: true},
		{topic: "empty", time: -3, since: 7, offset: -1, at: -1},
		{topic: "empty", time: 5, offset: -1, at: -1},
		{topic: "none", time: -1, code: codeUnknownTopicOrPartition, offset: -1, at: -1},
	} {
		versions(t, 2, func(t *testing.T, v int16) {
			if v < 2 && q.isolation != 0 {
				return
			}
			req := listRequest(v, q.topic, 0, q.time)
			req.IsolationLevel = q.isolation
			got := c.do(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
			want := q
			if v < q.since {
				want.code, want.offset, want.at, want.epochKnown = codeUnsupportedVersion, -1, -1, false
			}
			if got.ErrorCode != want.code || got.Offset != want.offset || got.Timestamp != want.at || v >= 4 && (got.LeaderEpoch >= 0) != want.epochKnown {
				t.Errorf("version %d, %s, time %d, isolation %d: error %d, offset %d at %d in epoch %d; expected error %d, offset %d at %d, epoch known: %v",
					v, q.topic, q.time, q.isolation, got.ErrorCode, got.Offset, got.Timestamp, got.LeaderEpoch, want.code, want.offset, want.at, want.epochKnown)
			}
		})
	}
}

func TestListOffsetsChecksTheLeaderEpochAndDoubles(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 1)
	req := listRequest(5, "t", 0, -1)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = 9
	if got := ts.dial().do(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; got.ErrorCode != codeUnknownLeaderEpoch {
		t.Errorf("epoch ahead: error %d", got.ErrorCode)
	}
	req = listRequest(5, "t", 0, -1)
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
	if got := ts.dial().do(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[1]; got.ErrorCode != codeInvalidRequest {
		t.Errorf("a partition named twice: error %d", got.ErrorCode)
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 1)
	ts.produce("t", 0, "a", "b")
	epoch := int32(ts.partition("t", 0).Epoch())
	c := ts.dial()
	versions(t, 23, func(t *testing.T, v int16) {
		for _, q := range []struct {
			topic          string
			partition      int32
			current, asked int32
			code           int16
			epoch          int32
			end            int64
		}{
			{"t", 0, -1, epoch, 0, epoch, 2},
			{"t", 0, epoch, epoch, 0, epoch, 2},
			{"t", 0, epoch, epoch + 1, 0, -1, -1},
			{"t", 0, epoch + 1, epoch, codeUnknownLeaderEpoch, -1, -1},
			{"t", 5, -1, 0, codeUnknownTopicOrPartition, -1, -1},
		} {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.Version, req.ReplicaID = v, -2
			rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
			rt.Topic = q.topic
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = q.partition, q.current, q.asked
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			got := c.do(req).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
			if got.ErrorCode != q.code || got.LeaderEpoch != q.epoch || got.EndOffset != q.end {
				t.Errorf("version %d: %+v: got error %d, epoch %d, end %d", v, q, got.ErrorCode, got.LeaderEpoch, got.EndOffset)
			}
		}
	})
}
