package wire

import (
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka's readers refuse strings above 32767 bytes, and records of coordinators
// cannot have them: the key of a committed offset could not be read again.
func TestAStringLongerThanKafkaReadsIsNoRequest(t *testing.T) {
	long := strings.Repeat("n", maxString+1)
	in := func(version int16, set func(name string) kmsg.Request) func(string) kmsg.Request {
		return func(name string) kmsg.Request {
			req := set(name)
			req.SetVersion(version)
			return req
		}
	}
	for what, of := range map[string]func(string) kmsg.Request{
		"topic of a fetch": in(12, func(n string) kmsg.Request {
			return &kmsg.FetchRequest{Topics: []kmsg.FetchRequestTopic{{Topic: n}}}
		}),
		"topic that a fetch forgets": in(12, func(n string) kmsg.Request {
			return &kmsg.FetchRequest{ForgottenTopics: []kmsg.FetchRequestForgottenTopic{{Topic: n}}}
		}),
		"rack of a fetch": in(12, func(n string) kmsg.Request { return &kmsg.FetchRequest{Rack: n} }),
		"topic of a produce": in(9, func(n string) kmsg.Request {
			return &kmsg.ProduceRequest{Topics: []kmsg.ProduceRequestTopic{{Topic: n}}}
		}),
		"transactional id of a produce": in(9, func(n string) kmsg.Request { return &kmsg.ProduceRequest{TransactionID: &n} }),
		"transactional id":              in(4, func(n string) kmsg.Request { return &kmsg.InitProducerIDRequest{TransactionalID: &n} }),
		"group that commits":            in(8, func(n string) kmsg.Request { return &kmsg.OffsetCommitRequest{Group: n} }),
		"group that is joined":          in(9, func(n string) kmsg.Request { return &kmsg.JoinGroupRequest{Group: n} }),
		"member of a consumer group":    in(1, func(n string) kmsg.Request { return &kmsg.ConsumerGroupHeartbeatRequest{Group: "g", MemberID: n} }),
		"topic that is subscribed to": in(1, func(n string) kmsg.Request {
			return &kmsg.ConsumerGroupHeartbeatRequest{SubscribedTopicNames: []string{"a", n}}
		}),
		"group of an offset fetch": in(8, func(n string) kmsg.Request {
			return &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g"}, {Group: n}}}
		}),
	} {
		for name, good := range map[string]bool{long[1:]: true, long: false} {
			req := of(name)
			// The empty section of tags of the header comes first.
			h := header{key: req.Key(), version: req.GetVersion(), rest: append([]byte{0}, req.AppendTo(nil)...)}
			if _, err := decode(&h, nil); (err == nil) != good {
				t.Errorf("%s of %d bytes: %v", what, len(name), err)
			}
		}
	}
}

func TestAGroupsNameThatDoesNotFitEndsTheConnection(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("t", 1)
	req := offsetCommit("t")
	req.Group = strings.Repeat("g", maxString+1)
	c := ts.dial()
	c.write(req)
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n := c.closed(); n != 0 {
		t.Errorf("%d bytes were answered", n)
	}
	if got := ts.b.Groups(); len(got) != 0 {
		t.Errorf("%d groups were made", len(got))
	}
	ts.works()
}
