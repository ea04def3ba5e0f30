package wire

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// admin_oracle_integration_test.go compares the answers with Kafka's; here is
// what needs no Kafka.

func TestAdministrationAnswersEveryVersion(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 2)
	c := ts.dial()
	for _, key := range []int16{19, 20, 21, 32, 33, 34, 35, 37, 43, 44, 45, 46, 55, 57, 60, 74, 75} {
		versions(t, key, func(t *testing.T, v int16) {
			req := kmsg.RequestForKey(key)
			req.SetVersion(v)
			c.do(req) // fails the test unless it can be read
		})
	}
	versions(t, 19, func(t *testing.T, v int16) {
		name := fmt.Sprint("made-", v)
		got := c.do(create(v, false, newTopic(name, 3, 1, "retention.ms", "5"))()).(*kmsg.CreateTopicsResponse).Topics[0]
		top, ok := ts.b.Topic(name)
		if got.ErrorCode != codeNone || !ok || top.Partitions != 3 || top.Configs["retention.ms"] != "5" {
			t.Errorf("version %d: code %d, made %+v", v, got.ErrorCode, top)
		}
		if v >= 7 && got.TopicID != top.ID {
			t.Errorf("version %d: id %x, expected %x", v, got.TopicID, top.ID)
		}
		if v >= 5 && (got.NumPartitions != 3 || got.ReplicationFactor != 1 || len(got.Configs) < 30) {
			t.Errorf("version %d: told %d partitions, %d replicas, %d configurations", v, got.NumPartitions, got.ReplicationFactor, len(got.Configs))
		}
		if v < 6 {
			c.do(deleteNamed(min(v, 5), name)())
		} else {
			c.do(deleteBy(kmsg.DeleteTopicsRequestTopic{TopicID: top.ID})())
		}
		if _, ok := ts.b.Topic(name); ok {
			t.Errorf("version %d: the topic was not deleted", v)
		}
	})
}

func TestAdministrationSaysWhyWithTheObjectsName(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 2)
	c := ts.dial()
	for _, s := range []struct {
		req  func() kmsg.Request
		code int16
	}{
		{create(7, false, newTopic("__consumer_offsets", 1, 1)), codeInvalidTopicException},
		{create(7, false, newTopic("r", 1, 3)), codeInvalidReplicationFactor},
		{create(7, false, newTopic("t", 1, 1)), codeTopicAlreadyExists},
		{create(7, false, newTopic("c", 1, 1, "segment.byte", "2000000")), codeInvalidConfig},
		{deleteNamed(5, "__consumer_offsets"), codeUnknownTopicOrPartition},
		{alterIn(kmsg.ConfigResourceTypeTopic, "t", false, changeOf{kmsg.IncrementalAlterConfigOpSet, "retention.ms", "x"}), codeInvalidConfig},
		{alterIn(kmsg.ConfigResourceTypeBroker, "1", false, changeOf{kmsg.IncrementalAlterConfigOpSet, "num.partitions", "2"}), codeInvalidRequest},
	} {
		var code int16
		var words *string
		switch resp := c.do(s.req()).(type) {
		case *kmsg.CreateTopicsResponse:
			code, words = resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage
		case *kmsg.DeleteTopicsResponse:
			code, words = resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage
		case *kmsg.IncrementalAlterConfigsResponse:
			code, words = resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage
		}
		if code != s.code || words == nil || *words == "" {
			t.Errorf("expected code %d with words, found %d", s.code, code)
		}
	}
}

func TestLogDirsTellSizesAndTheFileSystem(t *testing.T) {
	ts := newTestServer(t, onDisk(t))
	ts.topic("t", 2)
	c := ts.dial()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = 9, -1
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 1, Records: kafkaBatch("abc")}}}}
	c.do(req)
	ask := kmsg.NewPtrDescribeLogDirsRequest()
	ask.Version = 4
	dir := c.do(ask).(*kmsg.DescribeLogDirsResponse).Dirs[0]
	p := dir.Topics[0].Partitions
	if want := int64(len(kafkaBatch("abc"))); len(p) != 2 || p[0].Size != 0 || p[1].Size != want {
		t.Errorf("sizes %+v, expected 0 and %d", p, want)
	}
	if dir.TotalBytes <= 0 || dir.UsableBytes <= 0 || dir.UsableBytes > dir.TotalBytes {
		t.Errorf("%d bytes in all, %d usable", dir.TotalBytes, dir.UsableBytes)
	}
}

// Page by page, a client sees every partition once.
func TestTopicPartitionsAreDescribedPageByPage(t *testing.T) {
	ts := newTestServer(t)
	for i := range 4 {
		ts.topic(fmt.Sprint("t", i), int32(i+1))
	}
	c := ts.dial()
	seen := map[string]int{}
	var cursor *kmsg.DescribeTopicPartitionsRequestCursor
	for pages := 1; ; pages++ {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit, req.Cursor = 3, cursor
		resp := c.do(req).(*kmsg.DescribeTopicPartitionsResponse)
		n := 0
		for _, top := range resp.Topics {
			for _, p := range top.Partitions {
				seen[fmt.Sprint(*top.Topic, "-", p.Partition)]++
				n++
			}
		}
		if n > 3 {
			t.Fatalf("page %d has %d partitions, expected at most 3", pages, n)
		}
		if resp.NextCursor == nil {
			if pages != 4 {
				t.Errorf("10 partitions came in %d pages of 3", pages)
			}
			break
		}
		cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
	}
	if len(seen) != 10 {
		t.Errorf("seen %v", seen)
	}
	for p, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", p, n)
		}
	}
}
