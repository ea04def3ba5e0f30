package wire

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

// withTimers lets the broker run the timers of groups.
func withTimers(b *broker.Config, _ *Config) {
	b.TickInterval = 100 * time.Millisecond
	b.Properties = map[string]string{"group.min.session.timeout.ms": "100", "group.consumer.assignment.interval.ms": "0", "group.consumer.heartbeat.interval.ms": "50"}
}

// crew is consumers of one group that note what they read and what they own.
type crew struct {
	ts      *testServer
	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	owned   map[string]map[string]map[int32]bool // by member, topic
	read    map[string]int                       // values, how often
	twice   string                               // a partition that two members had at once
}

func newCrew(ts *testServer) *crew {
	c := &crew{ts: ts, owned: map[string]map[string]map[int32]bool{}, read: map[string]int{}}
	c.changed = sync.NewCond(&c.mu)
	return c
}

func (c *crew) gets(name string, parts map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owned[name] == nil {
		c.owned[name] = map[string]map[int32]bool{}
	}
	for t, ps := range parts {
		for _, p := range ps {
			for other, has := range c.owned {
				if other != name && has[t][p] {
					c.twice = fmt.Sprintf("%s-%d belongs to %s and %s", t, p, other, name)
				}
			}
			if c.owned[name][t] == nil {
				c.owned[name][t] = map[int32]bool{}
			}
			c.owned[name][t][p] = true
		}
	}
	c.changed.Broadcast()
}

func (c *crew) loses(name string, parts map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, ps := range parts {
		for _, p := range ps {
			delete(c.owned[name][t], p)
		}
	}
	c.changed.Broadcast()
}

// member starts a consumer of the group; the function ends it.
func (c *crew) member(name string, opts ...kgo.Opt) (leave func()) {
	cl := c.ts.kgo(append([]kgo.Opt{
		kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(50 * time.Millisecond),
		kgo.SessionTimeout(5 * time.Second), kgo.RebalanceTimeout(5 * time.Second), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.DisableAutoCommit(), kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(200 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { c.gets(name, p) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, p map[string][]int32) {
			if err := cl.CommitUncommittedOffsets(ctx); err != nil {
				c.ts.t.Logf("%s: commit: %v", name, err)
			}
			c.loses(name, p)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { c.loses(name, p) }),
	}, opts...)...)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			c.note(cl.PollFetches(ctx))
		}
	})
	return func() { cancel(); wg.Wait(); cl.Close() }
}

func (c *crew) note(f kgo.Fetches) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.EachRecord(func(r *kgo.Record) { c.read[string(r.Value)]++ })
	c.changed.Broadcast()
}

// until waits for a condition on the crew; desc is what was waited for.
func (c *crew) until(desc string, cond func() bool) {
	c.ts.t.Helper()
	stop := time.AfterFunc(2*time.Minute, func() { c.mu.Lock(); defer c.mu.Unlock(); c.changed.Broadcast() })
	defer stop.Stop()
	end := time.Now().Add(2 * time.Minute)
	c.mu.Lock()
	defer c.mu.Unlock()
	for !cond() {
		if !time.Now().Before(end) {
			c.ts.t.Fatalf("waited for %s; found %v, read %d values", desc, c.shares(), len(c.read))
		}
		c.changed.Wait()
	}
	if c.twice != "" {
		c.ts.t.Fatal(c.twice)
	}
}

// shares is how many partitions each member has.
func (c *crew) shares() map[string]int {
	out := map[string]int{}
	for name, topics := range c.owned {
		for _, ps := range topics {
			out[name] += len(ps)
		}
	}
	return out
}

// share waits until the members have these numbers of partitions.
func (c *crew) share(want map[string]int) {
	c.ts.t.Helper()
	c.until(fmt.Sprint("the shares ", want), func() bool {
		got := c.shares()
		maps.DeleteFunc(got, func(_ string, n int) bool { return n == 0 })
		return maps.Equal(got, want)
	})
}

// fill produces values and waits until the crew has read them.
func (c *crew) fill(topic, prefix string, n int) {
	c.ts.t.Helper()
	p := c.ts.kgo(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	for i := range n {
		if err := p.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%s%d", prefix, i)}).FirstErr(); err != nil {
			c.ts.t.Fatal(err)
		}
	}
	c.until(fmt.Sprintf("%d values %s", n, prefix), func() bool {
		for i := range n {
			if c.read[fmt.Sprintf("%s%d", prefix, i)] == 0 {
				return false
			}
		}
		return true
	})
}

// TestGroupsOfFranzGoShareTheirPartitions goes through joins and leaves with each
// kind of balancer, and with the consumer protocol.
func TestGroupsOfFranzGoShareTheirPartitions(t *testing.T) {
	for name, opt := range map[string]kgo.Opt{
		"range":       kgo.Balancers(kgo.RangeBalancer()),
		"roundrobin":  kgo.Balancers(kgo.RoundRobinBalancer()),
		"cooperative": kgo.Balancers(kgo.CooperativeStickyBalancer()),
	} {
		t.Run(name, func(t *testing.T) { shareAndLeave(t, opt) })
	}
	t.Run("consumer protocol, uniform", func(t *testing.T) {
		shareAndLeave(t, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	})
	t.Run("consumer protocol, range", func(t *testing.T) {
		shareAndLeave(t, kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	})
}

func shareAndLeave(t *testing.T, opts ...kgo.Opt) {
	t.Parallel()
	ts := newTestServer(t, withTimers)
	ts.topic("a", 6)
	c := newCrew(ts)
	opts = append(opts, kgo.ConsumeTopics("a"))
	one := c.member("one", opts...)
	c.share(map[string]int{"one": 6})
	c.fill("a", "x", 20)
	two := c.member("two", opts...)
	c.share(map[string]int{"one": 3, "two": 3})
	three := c.member("three", opts...)
	c.share(map[string]int{"one": 2, "two": 2, "three": 2})
	c.fill("a", "y", 20)
	one()
	c.share(map[string]int{"two": 3, "three": 3})
	two()
	c.share(map[string]int{"three": 6})
	c.fill("a", "z", 20)
	three()
}

// TestAGroupMovesBetweenTheProtocols: classic members, then one of the consumer
// protocol joins, then the classic ones leave, and the way back.
func TestAGroupMovesBetweenTheProtocols(t *testing.T) {
	ts := newTestServer(t, withTimers)
	ts.topic("a", 6)
	c := newCrew(ts)
	classic := []kgo.Opt{kgo.ConsumeTopics("a"), kgo.Balancers(kgo.CooperativeStickyBalancer())}
	consumer := []kgo.Opt{kgo.ConsumeTopics("a"), kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())}
	kind := func(want string) {
		t.Helper()
		if info, _ := ts.b.DescribeGroup("g"); info.Type != want {
			t.Fatalf("expected a %s group, found %+v", want, info)
		}
	}
	one := c.member("one", classic...)
	two := c.member("two", classic...)
	c.share(map[string]int{"one": 3, "two": 3})
	kind("classic")
	three := c.member("three", consumer...)
	c.share(map[string]int{"one": 2, "two": 2, "three": 2})
	kind("consumer")
	c.fill("a", "x", 20)
	one()
	c.share(map[string]int{"two": 3, "three": 3})
	three()
	c.share(map[string]int{"two": 6})
	kind("classic")
	four := c.member("four", consumer...)
	c.share(map[string]int{"two": 3, "four": 3})
	two()
	c.share(map[string]int{"four": 6})
	kind("consumer")
	c.fill("a", "y", 20)
	four()
}

// TestConsumersByRegularExpressionGetNewTopics: the server resolves the expression.
func TestConsumersByRegularExpressionGetNewTopics(t *testing.T) {
	ts := newTestServer(t, withTimers)
	ts.topic("a1", 2)
	ts.topic("b1", 2)
	c := newCrew(ts)
	opts := []kgo.Opt{kgo.ConsumeTopics("a.*"), kgo.ConsumeRegex(), kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())}
	one := c.member("one", opts...)
	c.share(map[string]int{"one": 2})
	two := c.member("two", opts...)
	c.share(map[string]int{"one": 1, "two": 1})
	ts.topic("a2", 4)
	c.share(map[string]int{"one": 3, "two": 3})
	c.fill("a2", "x", 10)
	one()
	two()
}

// TestAStaticMemberKeepsItsPartitionsOverARestart: nobody else rebalances.
func TestAStaticMemberKeepsItsPartitionsOverARestart(t *testing.T) {
	for name, opts := range map[string][]kgo.Opt{
		"classic":  {kgo.Balancers(kgo.RangeBalancer())},
		"consumer": {kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer())},
	} {
		t.Run(name, func(t *testing.T) {
			ts := newTestServer(t, withTimers)
			ts.topic("a", 4)
			c := newCrew(ts)
			opts := append(opts, kgo.ConsumeTopics("a"))
			one := c.member("one", append(slices.Clone(opts), kgo.InstanceID("i1"))...)
			two := c.member("two", append(slices.Clone(opts), kgo.InstanceID("i2"))...)
			c.share(map[string]int{"one": 2, "two": 2})
			before, _ := ts.b.DescribeGroup("g")
			one()
			c.mu.Lock()
			c.owned["one"] = nil
			c.mu.Unlock()
			one = c.member("one", append(slices.Clone(opts), kgo.InstanceID("i1"))...)
			c.share(map[string]int{"one": 2, "two": 2})
			after, _ := ts.b.DescribeGroup("g")
			if before.Generation != after.Generation {
				t.Errorf("expected generation %d still, found %d", before.Generation, after.Generation)
			}
			one()
			two()
		})
	}
}

// TestKafkaGoReadersShareAGroup: readers of kafka-go speak the old versions.
func TestKafkaGoReadersShareAGroup(t *testing.T) {
	ts := newTestServer(t, withTimers)
	ts.topic("a", 4)
	c := newCrew(ts)
	reader := func() (stop func()) {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{ts.addr}, GroupID: "g", Topic: "a", StartOffset: kafka.FirstOffset, HeartbeatInterval: 50 * time.Millisecond,
			SessionTimeout: 5 * time.Second, RebalanceTimeout: 5 * time.Second, MaxWait: 100 * time.Millisecond, JoinGroupBackoff: 100 * time.Millisecond})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				m, err := r.ReadMessage(ctx)
				if err != nil {
					return
				}
				c.mu.Lock()
				c.read[string(m.Value)]++
				c.changed.Broadcast()
				c.mu.Unlock()
			}
		})
		return func() { cancel(); wg.Wait(); _ = r.Close() }
	}
	one := reader()
	c.fill("a", "x", 12)
	two := reader()
	c.fill("a", "y", 12)
	one()
	c.fill("a", "z", 12)
	two()
	if info, ok := ts.b.DescribeGroup("g"); !ok || len(info.Members) != 0 {
		t.Errorf("expected an empty group, found %+v", info)
	}
}

// join is a JoinGroup of a member that knows two protocols.
func join(member string, version int16) *kmsg.JoinGroupRequest {
	j := kmsg.NewPtrJoinGroupRequest()
	j.Version, j.Group, j.MemberID, j.ProtocolType = version, "g", member, "consumer"
	j.SessionTimeoutMillis, j.RebalanceTimeoutMillis = 10_000, 10_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
	j.Protocols = append(j.Protocols, p)
	return j
}

// TestEveryVersionOfTheClassicRequestsIsAnswered goes through the life of a group
// at each version, with a raw connection.
func TestEveryVersionOfTheClassicRequestsIsAnswered(t *testing.T) {
	ts := newTestServer(t)
	ts.topic("a", 2)
	c := ts.dial()
	for v := int16(0); v <= 9; v++ {
		j := join("", v)
		resp := c.do(j).(*kmsg.JoinGroupResponse)
		if v >= 4 {
			if resp.ErrorCode != codeMemberIDRequired || resp.MemberID == "" {
				t.Fatalf("JoinGroup v%d: expected a member id and MEMBER_ID_REQUIRED, found %+v", v, resp)
			}
			j.MemberID = resp.MemberID
			resp = c.do(j).(*kmsg.JoinGroupResponse)
		}
		if resp.ErrorCode != 0 || resp.LeaderID != resp.MemberID || len(resp.Members) != 1 || orEmpty(resp.Protocol) != "range" {
			t.Fatalf("JoinGroup v%d: %+v", v, resp)
		}
		member, generation := resp.MemberID, resp.Generation
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Version, sync.Group, sync.MemberID, sync.Generation = min(v, 5), "g", member, generation
		sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("mine")}}
		if resp := c.do(sync).(*kmsg.SyncGroupResponse); resp.ErrorCode != 0 || string(resp.MemberAssignment) != "mine" {
			t.Fatalf("SyncGroup v%d: %+v", sync.Version, resp)
		}
		hb := kmsg.NewPtrHeartbeatRequest()
		hb.Version, hb.Group, hb.MemberID, hb.Generation = min(v, 4), "g", member, generation
		if resp := c.do(hb).(*kmsg.HeartbeatResponse); resp.ErrorCode != 0 {
			t.Fatalf("Heartbeat v%d: %+v", hb.Version, resp)
		}
		ts.commitAndFetch(c, cmp.Or(min(v+2, 10), 2), member, generation)
		ts.describe(c, min(v, 6))
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Version, leave.Group, leave.MemberID = min(v, 5), "g", member
		leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member}, {MemberID: "nobody"}}
		left := c.do(leave).(*kmsg.LeaveGroupResponse)
		if left.ErrorCode != 0 || leave.Version >= 3 && (left.Members[0].ErrorCode != 0 || left.Members[1].ErrorCode != codeUnknownMemberID) {
			t.Fatalf("LeaveGroup v%d: %+v", leave.Version, left)
		}
	}
	for v := int16(0); v <= 2; v++ {
		del := kmsg.NewPtrDeleteGroupsRequest()
		del.Version, del.Groups = v, []string{"g", "none"}
		resp := c.do(del).(*kmsg.DeleteGroupsResponse)
		want := []int16{0, codeGroupIDNotFound}
		if v > 0 {
			want[0] = codeGroupIDNotFound
		}
		if len(resp.Groups) != 2 || resp.Groups[0].ErrorCode != want[0] || resp.Groups[1].ErrorCode != want[1] {
			t.Fatalf("DeleteGroups v%d: expected codes %v, found %+v", v, want, resp.Groups)
		}
	}
}

func (ts *testServer) commitAndFetch(c *rawConn, v int16, member string, generation int32) {
	ts.t.Helper()
	topic, _ := ts.b.Topic("a")
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group, commit.MemberID, commit.Generation = v, "g", member, generation
	big := strings.Repeat("m", 5000)
	ct := kmsg.NewOffsetCommitRequestTopic()
	ct.Topic, ct.TopicID = "a", topic.ID
	for p, meta := range []*string{kmsg.StringPtr("meta"), &big, nil} {
		cp := kmsg.NewOffsetCommitRequestTopicPartition()
		cp.Partition, cp.Offset, cp.Metadata = int32(p), int64(v), meta
		ct.Partitions = append(ct.Partitions, cp)
	}
	commit.Topics = append(commit.Topics, ct)
	resp := c.do(commit).(*kmsg.OffsetCommitResponse)
	codes := []int16{resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[0].Partitions[1].ErrorCode, resp.Topics[0].Partitions[2].ErrorCode}
	if want := []int16{0, codeOffsetMetadataTooLarge, codeUnknownTopicOrPartition}; !slices.Equal(codes, want) {
		ts.t.Fatalf("OffsetCommit v%d: expected codes %v, found %v", v, want, codes)
	}
	for fv := int16(1); fv <= 10; fv++ {
		for _, all := range []bool{false, true} {
			if all && fv < 2 {
				continue
			}
			if got := fetchOffset(c, fv, topic.ID, all); got != int64(v) {
				ts.t.Fatalf("OffsetFetch v%d (all: %v): expected %d, found %d", fv, all, v, got)
			}
		}
	}
}

// fetchOffset reads the offset of a-0.
func fetchOffset(c *rawConn, v int16, id [16]byte, all bool) int64 {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.RequireStable = v, "g", true
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = "g"
	if !all {
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "a", Partitions: []int32{0, 1}}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "a", TopicID: id, Partitions: []int32{0, 1}}}
	}
	req.Groups = append(req.Groups, g)
	resp := c.do(req).(*kmsg.OffsetFetchResponse)
	if v < 8 {
		if len(resp.Topics) != 1 || resp.ErrorCode != 0 {
			return -2
		}
		return resp.Topics[0].Partitions[0].Offset
	}
	if len(resp.Groups) != 1 || len(resp.Groups[0].Topics) != 1 || resp.Groups[0].ErrorCode != 0 {
		return -2
	}
	return resp.Groups[0].Topics[0].Partitions[0].Offset
}

func (ts *testServer) describe(c *rawConn, v int16) {
	ts.t.Helper()
	d := kmsg.NewPtrDescribeGroupsRequest()
	d.Version, d.Groups = v, []string{"g", "none"}
	resp := c.do(d).(*kmsg.DescribeGroupsResponse)
	if g := resp.Groups[0]; g.State != "Stable" || g.Protocol != "range" || len(g.Members) != 1 || g.Members[0].ClientHost != "/127.0.0.1" {
		ts.t.Fatalf("DescribeGroups v%d: %+v", v, g)
	}
	if g := resp.Groups[1]; g.State != "Dead" || (g.ErrorCode == codeGroupIDNotFound) != (v >= 6) {
		ts.t.Fatalf("DescribeGroups v%d of no group: %+v", v, g)
	}
	l := kmsg.NewPtrListGroupsRequest()
	l.Version = min(v, 5)
	if l.Version >= 4 {
		l.StatesFilter = []string{"stable"}
	}
	if l.Version >= 5 {
		l.TypesFilter = []string{"Classic"}
	}
	if resp := c.do(l).(*kmsg.ListGroupsResponse); len(resp.Groups) != 1 || resp.Groups[0].Group != "g" {
		ts.t.Fatalf("ListGroups v%d: %+v", l.Version, resp)
	}
	if l.StatesFilter = []string{"Empty"}; l.Version >= 4 && len(c.do(l).(*kmsg.ListGroupsResponse).Groups) != 0 {
		ts.t.Fatal("ListGroups: a stable group is listed as empty")
	}
	for fv := int16(0); fv <= 6; fv++ {
		f := kmsg.NewPtrFindCoordinatorRequest()
		f.Version, f.CoordinatorKey, f.CoordinatorKeys = fv, "g", []string{"g"}
		resp := c.do(f).(*kmsg.FindCoordinatorResponse)
		if host := resp.Host; fv < 4 && (resp.ErrorCode != 0 || host != "127.0.0.1") || fv >= 4 && resp.Coordinators[0].Host != "127.0.0.1" {
			ts.t.Fatalf("FindCoordinator v%d: %+v", fv, resp)
		}
	}
}
