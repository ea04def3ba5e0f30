package wire

import (
	"fmt"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

func metadataRequest(version int16, names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = version
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, n := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr(n)})
	}
	return req
}

func TestMetadataByName(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 3)
	c := ts.dial()
	versions(t, 3, func(t *testing.T, v int16) {
		resp := c.do(metadataRequest(v, "t", "t")).(*kmsg.MetadataResponse)
		if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != 1 || resp.Brokers[0].Host != "127.0.0.1" || v >= 1 && resp.ControllerID != 1 {
			t.Errorf("version %d: brokers %+v, controller %d", v, resp.Brokers, resp.ControllerID)
		}
		if v >= 2 && (resp.ClusterID == nil || *resp.ClusterID != ts.b.ClusterID()) {
			t.Errorf("version %d: cluster id %v", v, resp.ClusterID)
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 3 || v >= 10 && resp.Topics[0].TopicID != top.ID {
			t.Fatalf("version %d: topics %+v", v, resp.Topics)
		}
		for i, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != 0 || p.Leader != 1 || p.Partition != int32(i) || len(p.Replicas) != 1 || len(p.ISR) != 1 || v >= 7 && p.LeaderEpoch < 0 {
				t.Errorf("version %d: partition %+v", v, p)
			}
		}
	})
}

func TestMetadataOfAllTopicsAndOfNone(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("a", 1)
	ts.topic("b", 1)
	c := ts.dial()
	versions(t, 3, func(t *testing.T, v int16) {
		all := metadataRequest(v)
		if v > 0 {
			all.Topics = nil
		}
		if resp := c.do(all).(*kmsg.MetadataResponse); len(resp.Topics) != 2 {
			t.Errorf("version %d: all topics: %d", v, len(resp.Topics))
		}
		if resp := c.do(metadataRequest(v)).(*kmsg.MetadataResponse); v > 0 && len(resp.Topics) != 0 {
			t.Errorf("version %d: no topics: %d", v, len(resp.Topics))
		}
	})
}

func TestMetadataByID(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	for _, v := range []int16{12, 13} {
		req := metadataRequest(v)
		req.Topics = []kmsg.MetadataRequestTopic{{TopicID: top.ID}, {TopicID: [16]byte{1, 2}}}
		resp := ts.dial().do(req).(*kmsg.MetadataResponse)
		if len(resp.Topics) != 2 || resp.Topics[0].Topic == nil || *resp.Topics[0].Topic != "t" || resp.Topics[0].ErrorCode != 0 {
			t.Errorf("version %d: %+v", v, resp.Topics)
		} else if resp.Topics[1].ErrorCode != codeUnknownTopicID || resp.Topics[1].Topic != nil {
			t.Errorf("version %d: unknown id: %+v", v, resp.Topics[1])
		}
	}
	req := metadataRequest(11)
	req.Topics = []kmsg.MetadataRequestTopic{{TopicID: top.ID}}
	c := ts.dial()
	c.write(req)
	if n := c.closed(); n != 0 {
		t.Errorf("an id in version 11 was answered with %d bytes", n)
	}
}

func TestMetadataMakesTopicsThatAreAskedFor(t *testing.T) {
	ts := newTestServer(t)
	no := newTestServer(t, func(_ *broker.Config, w *Config) { w.NoAutoCreate = true })
	versions(t, 3, func(t *testing.T, v int16) {
		name := "made-" + string(rune('a'+v))
		req := metadataRequest(v, name)
		if v >= 4 {
			if got := ts.dial().do(req).(*kmsg.MetadataResponse).Topics[0]; got.ErrorCode != codeUnknownTopicOrPartition {
				t.Errorf("version %d, not allowed by the request: error %d", v, got.ErrorCode)
			}
		}
		req.AllowAutoTopicCreation = true
		if got := no.dial().do(req).(*kmsg.MetadataResponse).Topics[0]; got.ErrorCode != codeUnknownTopicOrPartition {
			t.Errorf("version %d, not allowed by the broker: error %d", v, got.ErrorCode)
		}
		if got := ts.dial().do(req).(*kmsg.MetadataResponse).Topics[0]; got.ErrorCode != codeLeaderNotAvailable || len(got.Partitions) != 0 {
			t.Errorf("version %d: error %d with %d partitions, expected LEADER_NOT_AVAILABLE, at which a group's leader joins again", v, got.ErrorCode, len(got.Partitions))
		}
		if got := ts.dial().do(req).(*kmsg.MetadataResponse).Topics[0]; got.ErrorCode != 0 || len(got.Partitions) != 1 {
			t.Errorf("version %d: error %d with %d partitions, expected a new topic", v, got.ErrorCode, len(got.Partitions))
		}
		bad := metadataRequest(v, "no/such name")
		bad.AllowAutoTopicCreation = true
		if got := ts.dial().do(bad).(*kmsg.MetadataResponse).Topics[0]; got.ErrorCode != codeInvalidTopicException {
			t.Errorf("version %d: a bad name: error %d", v, got.ErrorCode)
		}
	})
}

func TestMetadataNamesTheListenerByWhichTheClientCame(t *testing.T) {
	ts := newTestServer(t, func(_ *broker.Config, w *Config) {
		w.Listeners = []Listener{
			{Addr: "127.0.0.1:0"},
			{Name: "OUTSIDE", Addr: "127.0.0.1:0", Advertised: "broker.example:19092"},
			{Name: "ALL", Addr: "0.0.0.0:0"},
		}
	})
	for i, want := range []string{"127.0.0.1", "broker.example", "127.0.0.1"} {
		ts.addr = fmt.Sprintf("127.0.0.1:%d", ts.srv.Addrs()[i].(*net.TCPAddr).Port)
		if got := ts.dial().do(metadataRequest(9)).(*kmsg.MetadataResponse).Brokers[0]; got.Host != want || (got.Port == 19092) != (i == 1) {
			t.Errorf("listener %d: %s:%d, expected host %s", i, got.Host, got.Port, want)
		}
	}
}
