package wire

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

// incremental is the next request of a session: topics may be left out.
func incremental(version int16, id, epoch int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxBytes, req.SessionID, req.SessionEpoch = version, -1, 1<<20, id, epoch
	return req
}

// told are the partitions that an answer names.
func told(resp *kmsg.FetchResponse) map[int32]kmsg.FetchResponseTopicPartition {
	out := map[int32]kmsg.FetchResponseTopicPartition{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out[p.Partition] = p
		}
	}
	return out
}

func TestASessionIsToldWhatChanged(t *testing.T) {
	for _, version := range []int16{7, 12, 13, 18} {
		ts := newTestServer(t)
		top := ts.topic("t", 3)
		ts.produce("t", 1, "a")
		c := ts.dial()
		first := fetchRequest(version, top, 0, 0, 0)
		first.SessionEpoch = 0
		resp := c.do(first).(*kmsg.FetchResponse)
		id := resp.SessionID
		if id == 0 || len(told(resp)) != 3 {
			t.Fatalf("version %d: session %d with %d partitions, expected a session and all 3", version, id, len(told(resp)))
		}
		// Position moves on: nothing to tell.
		next := incremental(version, id, 1)
		next.Topics = fetchRequest(version, top, 0, 1).Topics
		if got := told(c.do(next).(*kmsg.FetchResponse)); len(got) != 0 {
			t.Errorf("version %d: nothing changed, but %d partitions are told", version, len(got))
		}
		// Data in one partition.
		ts.produce("t", 2, "b")
		got := told(c.do(incremental(version, id, 2)).(*kmsg.FetchResponse))
		if p, ok := got[2]; len(got) != 1 || !ok || len(p.RecordBatches) == 0 {
			t.Errorf("version %d: expected partition 2 with its data, got %v", version, got)
		}
		// Forgotten partitions are silent.
		forget := incremental(version, id, 3)
		forget.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: top.Name, TopicID: top.ID, Partitions: []int32{2}}}
		if got := told(c.do(forget).(*kmsg.FetchResponse)); len(got) != 0 {
			t.Errorf("version %d: a forgotten partition is told: %v", version, got)
		}
		// The log start moves.
		if _, err := ts.partition("t", 1).DeleteBefore(1); err != nil {
			t.Fatal(err)
		}
		got = told(c.do(incremental(version, id, 4)).(*kmsg.FetchResponse))
		if p, ok := got[1]; len(got) != 1 || !ok || p.LogStartOffset != 1 || p.ErrorCode != 0 {
			t.Errorf("version %d: expected partition 1 with log start 1, got %v", version, got)
		}
		wantSessionErrors(t, c, version, id, top)
	}
}

func wantSessionErrors(t *testing.T, c *rawConn, version int16, id int32, top broker.Topic) {
	t.Helper()
	expect := func(what string, req *kmsg.FetchRequest, want int16) {
		t.Helper()
		if resp := c.do(req).(*kmsg.FetchResponse); resp.ErrorCode != want || want != 0 && len(resp.Topics) != 0 {
			t.Errorf("version %d: %s: error %d with %d topics, expected %d", version, what, resp.ErrorCode, len(resp.Topics), want)
		}
	}
	expect("an epoch again", incremental(version, id, 4), codeInvalidFetchSessionEpoch)
	expect("unknown session", incremental(version, id+1, 1), codeFetchSessionIDNotFound)
	other := int16(12)
	if version < 13 {
		other = 13
	}
	expect("names by another way", incremental(other, id, 5), codeFetchSessionTopicIDError)
	last := fetchRequest(version, top, 0)
	last.SessionID, last.SessionEpoch = id, -1
	expect("the last request", last, 0)
	expect("after the end", incremental(version, id, 5), codeFetchSessionIDNotFound)
}

func TestASessionTellsAnErrorUntilItIsGone(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	first := fetchRequest(12, top, 5)
	first.SessionEpoch = 0
	id := c.do(first).(*kmsg.FetchResponse).SessionID
	for epoch := int32(1); epoch < 4; epoch++ {
		if got := told(c.do(incremental(12, id, epoch)).(*kmsg.FetchResponse)); got[0].ErrorCode != codeOffsetOutOfRange {
			t.Errorf("request %d of the session: %v, expected the error again", epoch, got)
		}
	}
	fixed := incremental(12, id, 4)
	fixed.Topics = fetchRequest(12, top, 0).Topics
	if p, ok := told(c.do(fixed).(*kmsg.FetchResponse))[0]; !ok || p.ErrorCode != 0 {
		t.Errorf("after the error is gone: %v, %v; expected to be told so", p, ok)
	}
}

func TestEveryPartitionOfASessionGetsItsTurn(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 4)
	for n := range 4 {
		ts.produce("t", n, "some value")
	}
	c := ts.dial()
	first := fetchRequest(12, top, 0, 0, 0, 0)
	first.SessionEpoch, first.MaxBytes = 0, 1
	resp := c.do(first).(*kmsg.FetchResponse)
	seen := map[int32]bool{}
	for epoch := int32(1); len(seen) < 4 && epoch < 10; epoch++ {
		for n, p := range told(resp) {
			seen[n] = seen[n] || len(p.RecordBatches) > 0
			if !seen[n] {
				delete(seen, n)
			}
		}
		req := incremental(12, resp.SessionID, epoch)
		req.MaxBytes = 1
		resp = c.do(req).(*kmsg.FetchResponse)
	}
	if len(seen) != 4 {
		t.Errorf("only partitions %v had data, with one batch to an answer; expected all 4 in turn", seen)
	}
}

func TestTheCacheOfSessionsIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	c := newFetchSessions(2, func() time.Time { return now })
	part := []fetchPart{{fetchKey: fetchKey{topic: "t"}}}
	a, b := c.create(false, part), c.create(false, part)
	if a == nil || b == nil || c.create(false, part) != nil {
		t.Fatal("expected 2 sessions and no third")
	}
	now = now.Add(fetchIdle)
	c.find(a.id)
	if d := c.create(false, part); d == nil || c.find(b.id) != nil || c.find(a.id) == nil {
		t.Error("expected the session that was unused for long to give way, and the other to stay")
	}
	c.remove(a.id)
	if c.partitions != 1 || len(c.sessions) != 1 {
		t.Errorf("%d partitions in %d sessions are counted, expected 1 in 1", c.partitions, len(c.sessions))
	}
	if c.create(false, make([]fetchPart, maxSessionPartitions)) != nil && c.partitions > maxSessionPartitions {
		t.Errorf("%d partitions in all sessions", c.partitions)
	}
}

func TestASessionOwnsItsNames(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("named", 1)
	ts.produce("named", 0, "v")
	c := ts.dial()
	first := fetchRequest(12, top, 0)
	first.SessionEpoch = 0
	id := c.do(first).(*kmsg.FetchResponse).SessionID
	for i := range 20 { // other requests use the memory of the first
		c.do(fetchRequest(12, broker.Topic{Name: string(rune('a'+i)) + "----"}, 0, 0, 0))
	}
	ts.produce("named", 0, "w")
	resp := c.do(incremental(12, id, 1)).(*kmsg.FetchResponse)
	if len(resp.Topics) != 1 || resp.Topics[0].Topic != "named" {
		t.Errorf("the session names %+v, expected its topic", resp.Topics)
	}
}

func TestPartitionsOfASessionShareTheirTopicsName(t *testing.T) {
	ts := newTestServer(t)
	c := ts.dial()
	var session *fetchSession
	expect := func(want int) {
		t.Helper()
		session.mu.Lock()
		defer session.mu.Unlock()
		if len(session.parts) != want {
			t.Fatalf("%d partitions, expected %d", len(session.parts), want)
		}
		names := map[*byte]bool{}
		for i := range session.parts {
			p := &session.parts[i]
			names[unsafe.StringData(p.topic)], names[unsafe.StringData(p.name)] = true, true
		}
		for key := range session.index {
			names[unsafe.StringData(key.topic)] = true
		}
		if len(names) > 2 {
			t.Errorf("%d partitions that two requests brought have %d names, expected one of each request", want, len(names))
		}
	}
	first := fetchRequest(12, broker.Topic{Name: "t"}, make([]int64, 500)...)
	first.SessionEpoch = 0
	id := c.do(first).(*kmsg.FetchResponse).SessionID
	session = ts.srv.fetches.find(id)
	expect(500)
	next := incremental(12, id, 1)
	next.Topics = fetchRequest(12, broker.Topic{Name: "t"}, make([]int64, 1000)...).Topics
	c.do(next)
	expect(1000)

	frame := unsafe.StringData(next.Topics[0].Topic)
	if parts := (&fetch{req: next}).asked(nil, true); unsafe.StringData(parts[0].topic) == frame {
		t.Error("the name of a session's topic keeps its request's frame in memory")
	}
}

func TestANameThatNoTopicCanHaveGetsNoSession(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	long := broker.Topic{Name: strings.Repeat("n", broker.MaxTopicName+1)}
	first := fetchRequest(12, long, 0, 0)
	first.SessionEpoch = 0
	resp := c.do(first).(*kmsg.FetchResponse)
	if got := told(resp); resp.SessionID != 0 || len(got) != 2 || got[1].ErrorCode != codeUnknownTopicOrPartition {
		t.Errorf("session %d, told %v; expected none, and both partitions unknown", resp.SessionID, got)
	}
	first = fetchRequest(12, top, 0)
	first.SessionEpoch = 0
	id := c.do(first).(*kmsg.FetchResponse).SessionID
	next := incremental(12, id, 1)
	next.Topics = fetchRequest(12, long, 0).Topics
	expectCode(t, "a long name in a session", c.do(next).(*kmsg.FetchResponse).ErrorCode, codeFetchSessionIDNotFound)
	expectCode(t, "the session after it", c.do(incremental(12, id, 2)).(*kmsg.FetchResponse).ErrorCode, codeFetchSessionIDNotFound)
	if s := ts.srv.fetches; len(s.sessions) != 0 || s.partitions != 0 {
		t.Errorf("%d sessions with %d partitions are left", len(s.sessions), s.partitions)
	}
}

func TestAFetchAboveItsQuotaLeavesNoSession(t *testing.T) {
	ts := newTestServer(t, withClock(newHandClock()))
	top := ts.topic("t", 1)
	ts.produce("t", 0, strings.Repeat("v", 5000))
	ts.setQuota("user", "ANONYMOUS", "consumer_byte_rate", 100) // the burst is 1000 bytes
	ts.dial().do(fetchRequest(12, top, 0))
	req := fetchRequest(12, top, 0)
	req.SessionEpoch = 0
	resp := ts.dial().do(req).(*kmsg.FetchResponse)
	if resp.ThrottleMillis == 0 || resp.SessionID != 0 || len(ts.srv.fetches.sessions) != 0 {
		t.Errorf("throttled %d ms, session %d, %d sessions held; expected a throttled answer and none", resp.ThrottleMillis, resp.SessionID, len(ts.srv.fetches.sessions))
	}
}
