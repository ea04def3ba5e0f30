package wire

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
)

// Random requests by members of classic groups, dynamic and static, of which some
// wait for others, are sent to Apache Kafka and to us, and answered with the same
// codes, generations, protocols and members, at the same step.

// classicWorld is one of the two brokers.
type classicWorld struct {
	name    string
	dial    func() *rawConn
	c       *rawConn
	members map[string]*classicActor
	names   map[string]string // of members, by the ids that the broker gave
}

// classicActor is a member, as one of the worlds made it.
type classicActor struct {
	name, id, instance string
	c                  *rawConn
	generation         int32
	waiting            chan kmsg.Response // of a join or sync under way; nil: none
	req                kmsg.Request
}

type classicStep struct {
	group, op, actor, static string
	version                  int16
	number                   int32
	protocols                []string
}

func (w *classicWorld) actor(s classicStep) *classicActor {
	a := w.members[s.actor]
	if a == nil {
		a = &classicActor{name: s.actor, instance: s.static, generation: -1, c: w.dial()}
		w.members[s.actor] = a
	}
	return a
}

func orNone(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// send sends what may wait; the answer shows at this step or at a later one.
func (a *classicActor) send(req kmsg.Request) {
	a.waiting, a.req = make(chan kmsg.Response, 1), req
	a.c.write(req)
	go func(c *rawConn, to chan kmsg.Response) {
		if _, resp, err := c.tryRead(req); err == nil {
			to <- resp
		}
	}(a.c, a.waiting)
}

// do sends the request; an answer that cannot wait is given back.
func (w *classicWorld) do(s classicStep) string {
	if s.op == "describe" {
		return w.describe(s.group)
	}
	a := w.actor(s)
	if a.waiting != nil {
		return "waits"
	}
	generation := a.generation
	if strings.HasSuffix(s.op, "another generation") {
		generation += s.number
	}
	id := a.id
	if strings.HasSuffix(s.op, "another id") {
		id = "nobody"
	}
	switch strings.Fields(s.op)[0] {
	case "join":
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = s.version, s.group, id, orNone(a.instance), "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 60_000, 120_000
		for _, p := range s.protocols {
			proto := kmsg.NewJoinGroupRequestProtocol()
			proto.Name, proto.Metadata = p, classicSubscription(s.number)
			req.Protocols = append(req.Protocols, proto)
		}
		a.send(req)
	case "sync":
		req := kmsg.NewPtrSyncGroupRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 5, s.group, id, orNone(a.instance), generation
		req.ProtocolType, req.Protocol = orNone("consumer"), orNone(s.protocols[0])
		if s.number < 0 {
			req.ProtocolType, req.Protocol = nil, nil
		}
		for _, m := range w.members {
			if m.id != "" {
				req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.id, MemberAssignment: []byte("for " + m.name)})
			}
		}
		a.send(req)
	case "heartbeat":
		req := kmsg.NewPtrHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 4, s.group, id, orNone(a.instance), generation
		return fmt.Sprint(a.c.do(req).(*kmsg.HeartbeatResponse).ErrorCode)
	case "leave":
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group = 5, s.group
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.InstanceID = id, orNone(a.instance)
		if s.number < 0 && a.instance != "" {
			m.MemberID = ""
		}
		req.Members = append(req.Members, m)
		resp := a.c.do(req).(*kmsg.LeaveGroupResponse)
		out := fmt.Sprint(resp.ErrorCode)
		for _, m := range resp.Members {
			out += fmt.Sprint(" ", m.ErrorCode)
		}
		return out
	case "commit":
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 8, s.group, id, orNone(a.instance), generation
		top, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
		top.Topic, p.Offset = "classic", 5
		top.Partitions = append(top.Partitions, p)
		req.Topics = append(req.Topics, top)
		return fmt.Sprint(a.c.do(req).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	}
	return ""
}

// classicSubscription is a consumer's, with user data that tells one version from another.
func classicSubscription(n int32) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics, m.UserData = []string{"classic"}, []byte{byte(n)}
	return m.AppendTo(nil)
}

func (w *classicWorld) describe(group string) string {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 5, []string{group}
	g := w.c.do(req).(*kmsg.DescribeGroupsResponse).Groups[0]
	var members []string
	for _, m := range g.Members {
		members = append(members, fmt.Sprintf("%s %q %x %q", w.names[m.MemberID], orEmpty(m.InstanceID), m.ProtocolMetadata, m.MemberAssignment))
	}
	slices.Sort(members)
	return fmt.Sprintf("%d %s %s %s %v", g.ErrorCode, g.State, g.ProtocolType, g.Protocol, members)
}

// taken is what an answer that came brings, and whether one waits still.
func (w *classicWorld) taken(a *classicActor, wait time.Duration) (string, bool) {
	if a == nil || a.waiting == nil {
		return "", false
	}
	select {
	case resp := <-a.waiting:
		a.waiting = nil
		return w.took(a, resp), false
	case <-time.After(wait):
		return "", true
	}
}

func (w *classicWorld) took(a *classicActor, resp kmsg.Response) string {
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		out := fmt.Sprint("joined ", r.ErrorCode)
		if r.MemberID != "" && (r.ErrorCode == codeNone || r.ErrorCode == codeMemberIDRequired) {
			a.id, w.names[r.MemberID] = r.MemberID, a.name
		}
		if r.ErrorCode != codeNone {
			return out
		}
		a.generation = r.Generation
		var members []string
		for _, m := range r.Members {
			members = append(members, fmt.Sprintf("%s %q %x", w.names[m.MemberID], orEmpty(m.InstanceID), m.ProtocolMetadata))
		}
		slices.Sort(members)
		return fmt.Sprintf("%s generation %d %s %s skip %v lead by %s %d", out, r.Generation, orEmpty(r.ProtocolType), orEmpty(r.Protocol), r.SkipAssignment, w.names[r.LeaderID], len(members))
	case *kmsg.SyncGroupResponse:
		return fmt.Sprintf("synced %d %s %s %q", r.ErrorCode, orEmpty(r.ProtocolType), orEmpty(r.Protocol), r.MemberAssignment)
	}
	return ""
}

var classicOperations = []string{
	"join", "join", "join", "sync", "sync", "sync", "heartbeat", "heartbeat", "leave", "commit", "describe", "describe",
	"join by another id", "sync of another generation", "sync by another id", "heartbeat of another generation", "heartbeat by another id", "leave by another id", "commit of another generation", "commit by another id",
}

func TestIntegrationClassicGroupsAreAnsweredAsKafkaDoes(t *testing.T) {
	addr := peers.StartKafkaBroker(t, "group.initial.rebalance.delay.ms=0\n").Addr()
	ours := newTestServer(t, func(b *broker.Config, _ *Config) { b.TickInterval = 0 }) // its timers run
	seeds, steps, first := 2, 0, 0
	if s := os.Getenv("SEED"); s != "" {
		first, _ = strconv.Atoi(s)
		seeds = 1
	}
	if os.Getenv("TORTURE") != "" {
		seeds = 60
	}
	for seed := first; seed < first+seeds; seed++ {
		group := fmt.Sprint("classic-", seed)
		worlds := [2]*classicWorld{{name: "kafka", dial: func() *rawConn { return dialTo(t, addr) }}, {name: "ours", dial: ours.dial}}
		for _, w := range worlds {
			w.c, w.members, w.names = w.dial(), map[string]*classicActor{}, map[string]string{}
			create := kmsg.NewPtrCreateTopicsRequest()
			create.Version = 5
			top := kmsg.NewCreateTopicsRequestTopic()
			top.Topic, top.NumPartitions, top.ReplicationFactor = "classic", 1, 1
			create.Topics = append(create.Topics, top)
			w.c.do(create)
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.Version, find.CoordinatorKeys = 4, []string{group}
			expectCode(t, w.name+": find the coordinator", settled(func() int16 { return w.c.do(find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode }), codeNone)
			// A heartbeat would not tell: Kafka answers it with no error while the group is loaded.
			desc := kmsg.NewPtrDescribeGroupsRequest()
			desc.Version, desc.Groups = 5, []string{group}
			expectCode(t, w.name+": describe the group", settled(func() int16 { return w.c.do(desc).(*kmsg.DescribeGroupsResponse).Groups[0].ErrorCode }), codeNone)
			meta := kmsg.NewPtrMetadataRequest()
			meta.Version = 12
			known := kmsg.NewMetadataRequestTopic()
			known.Topic = kmsg.StringPtr("classic")
			meta.Topics = append(meta.Topics, known)
			expectCode(t, w.name+": metadata", settled(func() int16 { return w.c.do(meta).(*kmsg.MetadataResponse).Topics[0].ErrorCode }, codeUnknownTopicOrPartition, codeLeaderNotAvailable), codeNone)
		}
		steps += compareClassic(t, worlds, group, uint64(seed))
		for _, w := range worlds {
			_ = w.c.Close()
			for _, a := range w.members {
				_ = a.c.Close()
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d requests were answered alike", steps)
}

func compareClassic(t *testing.T, worlds [2]*classicWorld, group string, seed uint64) (steps int) {
	rng := rand.New(rand.NewPCG(seed, 345))
	var log []string
	differ := func(s classicStep, kafka, ours string) bool {
		log = append(log, fmt.Sprintf("%s %s v%d %v %d: kafka %s, ours %s", s.actor, s.op, s.version, s.protocols, s.number, kafka, ours))
		if kafka == ours {
			return false
		}
		for _, l := range log {
			t.Log(l)
		}
		t.Errorf("group %s, %s %s:\n kafka %s\n       %s\n ours  %s\n       %s", group, s.actor, s.op, kafka, worlds[0].describe(group), ours, worlds[1].describe(group))
		return true
	}
	for range 60 {
		n := rng.IntN(4)
		s := classicStep{
			group: group, op: classicOperations[rng.IntN(len(classicOperations))], actor: fmt.Sprint("member-", n), version: []int16{3, 5, 9}[rng.IntN(3)],
			number: int32(rng.IntN(3) - 1), protocols: [][]string{{"range"}, {"range", "sticky"}, {"range", "sticky"}, {"roundrobin"}}[min(rng.IntN(12)/3, 3-rng.IntN(2))],
		}
		if n >= 1 {
			s.static = fmt.Sprint("i", n/2) // two share one
			s.version = max(s.version, 5)
		}
		steps++
		if differ(s, worlds[0].do(s), worlds[1].do(s)) {
			return steps
		}
		for n := range 4 { // what this step answers, to whomever
			name := fmt.Sprint("member-", n)
			kafka, waits := worlds[0].taken(worlds[0].members[name], 150*time.Millisecond)
			long := 30 * time.Millisecond
			if !waits {
				long = 30 * time.Second
			}
			ours, also := worlds[1].taken(worlds[1].members[name], long)
			if waits && !also && ours != "" { // Kafka may just be slow
				kafka, waits = worlds[0].taken(worlds[0].members[name], 30*time.Second)
			}
			s.actor = name
			if s.op = "is answered"; waits != also {
				differ(s, fmt.Sprint("waits ", waits), fmt.Sprint("waits ", also, " ", ours))
				return steps
			}
			if before, leader, _ := strings.Cut(ours, " lead by "); kafka != ours && leader != "" && strings.HasPrefix(kafka, before) {
				return steps // of those that stay Kafka takes any for the leader; the worlds part here
			}
			if kafka+ours != "" && differ(s, kafka, ours) {
				return steps
			}
		}
	}
	return steps
}
