package wire

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/internal/peers"
)

// Random requests by members of consumer groups (KIP-848) that are current,
// fenced, static or confused are sent to Apache Kafka and to us, and answered
// with the same codes, epochs, assignments and offsets.

// groupDiffers says where we do another thing on purpose, and why.
func groupDiffers(kafka, ours string) bool {
	// A static member that lost the answer to its joining, or was fenced, may join
	// again by the member id that it has; with Kafka it waits for its own session's end.
	return kafka == "error 111" && strings.HasPrefix(ours, "epoch")
}

// groupWorld is one of the two brokers.
type groupWorld struct {
	name   string
	c      *rawConn
	topics map[[16]byte]string
	ids    map[string][16]byte
	actors map[string]*groupActor
}

// groupActor is a member, as one of the worlds made it.
type groupActor struct {
	id, instance string
	epoch        int32
	topics       []string
	owned        map[string][]int32
}

func (w *groupWorld) ready(t *testing.T, seed int) {
	w.actors, w.topics, w.ids = map[string]*groupActor{}, map[[16]byte]string{}, map[string][16]byte{}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 7, 10_000
	for i, name := range []string{"a", "b"} {
		r := kmsg.NewCreateTopicsRequestTopic()
		r.Topic, r.NumPartitions, r.ReplicationFactor = fmt.Sprint(name, seed), int32(3-i), 1
		create.Topics = append(create.Topics, r)
	}
	for i, r := range w.c.do(create).(*kmsg.CreateTopicsResponse).Topics {
		expectCode(t, w.name+": create topic", r.ErrorCode, codeNone)
		name := strings.TrimRight(create.Topics[i].Topic, "0123456789")
		w.topics[r.TopicID], w.ids[name] = name, r.TopicID
	}
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version = 12
	for name := range w.ids {
		top := kmsg.NewMetadataRequestTopic()
		top.Topic = kmsg.StringPtr(fmt.Sprint(name, seed))
		meta.Topics = append(meta.Topics, top)
	}
	settled(func() int16 {
		resp := w.c.do(meta).(*kmsg.MetadataResponse)
		return max(resp.Topics[0].ErrorCode, resp.Topics[1].ErrorCode)
	}, codeUnknownTopicOrPartition, codeLeaderNotAvailable)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKeys = 4, []string{fmt.Sprint("g", seed)}
	settled(func() int16 { return w.c.do(find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode })
	hb := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	hb.Version, hb.Group, hb.MemberID, hb.MemberEpoch = 1, find.CoordinatorKeys[0], "nobody", 5
	settled(func() int16 { return w.c.do(hb).(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode })
	w.seen(find.CoordinatorKeys[0], seed)
}

// seen waits until the group's coordinator knows the topics.
func (w *groupWorld) seen(group string, seed int) {
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		hb := beat("probe", 1)
		hb.Group, hb.SubscribedTopicNames = group, []string{fmt.Sprint("a", seed), fmt.Sprint("b", seed)}
		got := w.c.do(hb).(*kmsg.ConsumerGroupHeartbeatResponse)
		hb.MemberEpoch = -1
		w.c.do(hb)
		remove := kmsg.NewPtrDeleteGroupsRequest()
		remove.Version, remove.Groups = 2, []string{group}
		w.c.do(remove)
		if got.Assignment != nil && len(got.Assignment.Topics) == 2 {
			return
		}
	}
}

// epoch is an epoch as far as it must be the same: a new group's first is 2 with
// Kafka 4.3, as its target may come later, and 1 with ours.
func (w *groupWorld) epoch(e int32) int32 {
	if w.name == "kafka" && e > 0 {
		return e - 1
	}
	return e
}

// wrong is another epoch than the member's, the same in both worlds.
func (w *groupWorld) wrong(a *groupActor, by int32) int32 {
	if w.epoch(a.epoch)+by <= 0 {
		by = 3
	}
	return a.epoch + by
}

// parts shows an assignment by our names for topics.
func (w *groupWorld) parts(of map[string][]int32) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		out = append(out, fmt.Sprint(name, slices.Sorted(slices.Values(of[name]))))
	}
	return strings.Join(out, " ")
}

// groupStep is one request, the same for both worlds.
type groupStep struct {
	seed   int
	op     string
	actor  string
	as     string // another member's id or instance, for who pretends
	topics []string
	number int32
	static string
}

func (s groupStep) group() string { return fmt.Sprint("g", s.seed) }

// heartbeat sends one and takes what it brings.
func (w *groupWorld) heartbeat(a *groupActor, req *kmsg.ConsumerGroupHeartbeatRequest) string {
	var resp *kmsg.ConsumerGroupHeartbeatResponse
	code := settled(func() int16 {
		resp = w.c.do(req).(*kmsg.ConsumerGroupHeartbeatResponse)
		return resp.ErrorCode
	})
	if code != codeNone {
		return fmt.Sprint("error ", code)
	}
	out := fmt.Sprint("epoch ", w.epoch(resp.MemberEpoch))
	if resp.Assignment != nil {
		got := map[string][]int32{}
		for _, t := range resp.Assignment.Topics {
			got[w.topics[t.TopicID]] = t.Partitions
		}
		out += " gets " + w.parts(got)
		a.owned = got
	}
	a.epoch = resp.MemberEpoch
	return out
}

func (w *groupWorld) do(s groupStep) string {
	a := w.actors[s.actor]
	if a == nil {
		a = &groupActor{id: s.actor, instance: s.static, topics: s.topics}
		w.actors[s.actor] = a
	}
	hb := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	hb.Version, hb.Group, hb.MemberID, hb.MemberEpoch, hb.RebalanceTimeoutMillis = 1, s.group(), a.id, a.epoch, -1
	if a.instance != "" {
		hb.InstanceID = &a.instance
	}
	full := func() {
		hb.RebalanceTimeoutMillis = 60_000
		hb.SubscribedTopicNames = nil
		for _, name := range a.topics {
			hb.SubscribedTopicNames = append(hb.SubscribedTopicNames, fmt.Sprint(name, s.seed))
		}
	}
	owns := func() {
		hb.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, name := range slices.Sorted(maps.Keys(a.owned)) {
			hb.Topics = append(hb.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: w.ids[name], Partitions: a.owned[name]})
		}
	}
	switch s.op {
	case "join":
		a.owned, hb.MemberEpoch = nil, 0
		full()
		owns()
		return w.heartbeat(a, hb)
	case "join with an assignor":
		a.owned, hb.MemberEpoch = nil, 0
		hb.ServerAssignor = kmsg.StringPtr([]string{"uniform", "range", "mine"}[s.number&3%3])
		full()
		owns()
		return w.heartbeat(a, hb)
	case "join without owning":
		hb.MemberEpoch = 0
		full()
		return w.heartbeat(a, hb)
	case "heartbeat":
		return w.heartbeat(a, hb)
	case "heartbeat that tells all":
		full()
		owns()
		return w.heartbeat(a, hb)
	case "own":
		owns()
		return w.heartbeat(a, hb)
	case "subscribe":
		a.topics = s.topics
		full()
		return w.heartbeat(a, hb)
	case "another epoch":
		hb.MemberEpoch = w.wrong(a, s.number)
		full()
		owns()
		return w.heartbeat(a, hb)
	case "of another instance":
		hb.InstanceID = &s.as
		return w.heartbeat(a, hb)
	case "leave":
		hb.MemberEpoch = -1
		return w.heartbeat(a, hb)
	case "leave for a while":
		hb.MemberEpoch = -2
		return w.heartbeat(a, hb)
	}
	return w.offsets(s, a)
}

// offsets commits and fetches them.
func (w *groupWorld) offsets(s groupStep, a *groupActor) string {
	switch s.op {
	case "commit", "commit with another epoch":
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.MemberID, req.Generation = 9, s.group(), a.id, a.epoch
		if a.instance != "" && s.number%2 == 0 {
			req.InstanceID = &a.instance
		}
		if s.op != "commit" {
			req.Generation = w.wrong(a, s.number)
		}
		top, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
		top.Topic, p.Offset = fmt.Sprint("a", s.seed), int64(s.number+100)
		top.Partitions = append(top.Partitions, p)
		req.Topics = append(req.Topics, top)
		return fmt.Sprint(settled(func() int16 { return w.c.do(req).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode }))
	case "fetch offsets", "fetch offsets with another epoch":
		req, g := kmsg.NewPtrOffsetFetchRequest(), kmsg.NewOffsetFetchRequestGroup()
		req.Version, g.Group, g.MemberEpoch = 9, s.group(), a.epoch
		if g.MemberID = &a.id; s.op != "fetch offsets" {
			g.MemberEpoch = w.wrong(a, s.number)
		}
		top := kmsg.NewOffsetFetchRequestGroupTopic()
		top.Topic, top.Partitions = fmt.Sprint("a", s.seed), []int32{0, 1}
		g.Topics = append(g.Topics, top)
		req.Groups = append(req.Groups, g)
		var got kmsg.OffsetFetchResponseGroup
		settled(func() int16 { got = w.c.do(req).(*kmsg.OffsetFetchResponse).Groups[0]; return got.ErrorCode })
		out := fmt.Sprint("error ", got.ErrorCode)
		for _, top := range got.Topics {
			for _, p := range top.Partitions {
				out += fmt.Sprintf(" %d:%d/%d", p.Partition, p.Offset, p.ErrorCode)
			}
		}
		return out
	}
	return w.administer(s)
}

// administer describes and deletes.
func (w *groupWorld) administer(s groupStep) string {
	switch s.op {
	case "describe":
		return w.describe(s)
	case "describe as classic":
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups = 5+int16(s.number%2+2)%2, []string{s.group()}
		g := w.c.do(req).(*kmsg.DescribeGroupsResponse).Groups[0]
		return fmt.Sprint(g.ErrorCode, g.State, g.ProtocolType, g.Protocol, len(g.Members))
	case "delete the group":
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Version, req.Groups = 2, []string{s.group()}
		return fmt.Sprint(w.c.do(req).(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode)
	case "delete offsets":
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = s.group()
		top, p := kmsg.NewOffsetDeleteRequestTopic(), kmsg.NewOffsetDeleteRequestTopicPartition()
		top.Topic = fmt.Sprint([]string{"a", "b", "none"}[(s.number+3)%3], s.seed)
		top.Partitions = append(top.Partitions, p)
		req.Topics = append(req.Topics, top)
		resp := w.c.do(req).(*kmsg.OffsetDeleteResponse)
		out := fmt.Sprint(resp.ErrorCode)
		for _, top := range resp.Topics {
			for _, p := range top.Partitions {
				out += fmt.Sprint(" ", p.ErrorCode)
			}
		}
		return out
	}
	panic(s.op)
}

func (w *groupWorld) described(s groupStep) kmsg.ConsumerGroupDescribeResponseGroup {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Version, req.Groups = 1, []string{s.group()}
	g := w.c.do(req).(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
	slices.SortFunc(g.Members, func(a, b kmsg.ConsumerGroupDescribeResponseGroupMember) int {
		return strings.Compare(a.MemberID, b.MemberID)
	})
	return g
}

// shares are how many partitions the members shall have, together and at most.
func (w *groupWorld) shares(s groupStep) (total, most int) {
	for _, m := range w.described(s).Members {
		of := 0
		for _, t := range m.TargetAssignment.TopicPartitions {
			of += len(t.Partitions)
		}
		total, most = total+of, max(most, of)
	}
	return total, most
}

// uneven: where subscriptions differ, assignors may choose among targets; ours
// gives away as much and is at least as even.
func uneven(worlds [2]*groupWorld, s groupStep) bool {
	total0, most0 := worlds[0].shares(s)
	total1, most1 := worlds[1].shares(s)
	return worlds[0].targets(s) != worlds[1].targets(s) && total0 == total1 && most1 <= most0
}

func (w *groupWorld) targets(s groupStep) string {
	var out []string
	for _, m := range w.described(s).Members {
		out = append(out, w.named(m.TargetAssignment.TopicPartitions))
	}
	return strings.Join(out, "; ")
}

func (w *groupWorld) named(of []kmsg.AssignmentTopicPartition) string {
	parts := map[string][]int32{}
	for _, t := range of {
		parts[w.topics[t.TopicID]] = t.Partitions
	}
	return w.parts(parts)
}

func (w *groupWorld) describe(s groupStep) string {
	g := w.described(s)
	out := fmt.Sprintf("error %d %s epoch %d assigned %d %s", g.ErrorCode, g.State, w.epoch(g.Epoch), w.epoch(g.AssignmentEpoch), g.AssignorName)
	for _, m := range g.Members {
		slices.Sort(m.SubscribedTopics)
		out += fmt.Sprintf("; %s %q epoch %d %v has %s shall %s type %d", m.MemberID, orEmpty(m.InstanceID), w.epoch(m.MemberEpoch), m.SubscribedTopics,
			w.named(m.Assignment.TopicPartitions), w.named(m.TargetAssignment.TopicPartitions), m.MemberType)
	}
	return out
}

var groupOperations = []string{
	"join", "join", "heartbeat", "heartbeat", "own", "own", "own", "heartbeat that tells all", "subscribe", "another epoch", "of another instance", "leave", "leave for a while",
	"commit", "commit with another epoch", "fetch offsets", "fetch offsets with another epoch", "describe", "describe", "describe as classic", "delete the group", "delete offsets",
	"join with an assignor", "join without owning",
}

func TestIntegrationConsumerGroupsAreAnsweredAsKafkaDoes(t *testing.T) {
	kafka := peers.StartKafkaBroker(t, "group.consumer.min.assignment.interval.ms=0\ngroup.consumer.assignment.interval.ms=0\n")
	ours := newTestServer(t, withoutInterval)
	seeds, steps := 6, 0
	if os.Getenv("TORTURE") != "" {
		seeds = 200
	}
	for seed := range seeds {
		worlds := [2]*groupWorld{{name: "kafka", c: dialTo(t, kafka.Addr())}, {name: "ours", c: ours.dial()}}
		for _, w := range worlds {
			w.ready(t, seed)
		}
		steps += compareGroups(t, worlds, seed)
		for _, w := range worlds {
			_ = w.c.Close()
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d requests were answered alike", steps)
	if steps < 100 {
		t.Errorf("only %d requests were compared", steps)
	}
}

func compareGroups(t *testing.T, worlds [2]*groupWorld, seed int) (steps int) {
	rng := rand.New(rand.NewPCG(uint64(seed), 848))
	subscriptions := [][]string{{"a"}, {"b"}, {"a", "b"}, {"a", "none"}}
	var log []string
	for range 80 {
		n := rng.IntN(5)
		s := groupStep{
			seed: seed, op: groupOperations[rng.IntN(len(groupOperations))], actor: fmt.Sprint("member-", n), topics: subscriptions[rng.IntN(len(subscriptions))],
			number: int32(rng.IntN(4) - 2), as: fmt.Sprint("i", rng.IntN(3)),
		}
		if n >= 2 { // two members share an instance
			s.static = fmt.Sprint("i", n/2)
		}
		kafka, ours := worlds[0].do(s), worlds[1].do(s)
		log = append(log, fmt.Sprintf("%s %s (%v %d): kafka %s, ours %s", s.actor, s.op, s.topics, s.number, kafka, ours))
		steps++
		if groupDiffers(kafka, ours) || kafka != ours && uneven(worlds, s) {
			return steps // the worlds part here
		}
		if kafka != ours {
			for _, l := range log {
				t.Log(l)
			}
			t.Errorf("seed %d, %s %s:\n kafka %s\n       %s\n ours  %s\n       %s", seed, s.actor, s.op, kafka, worlds[0].describe(s), ours, worlds[1].describe(s))
			return steps
		}
	}
	return steps
}
