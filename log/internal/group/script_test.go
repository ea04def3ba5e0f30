package group

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
)

// fakeTopics are topics by name. An id is the name, and a digit after it that
// counts how often it was made.
type fakeTopics struct {
	version uint64
	topics  map[string]int32
	made    map[string]int
}

func (f *fakeTopics) Version() uint64 { return f.version }

func (f *fakeTopics) id(name string) (id TopicID) {
	copy(id[:], fmt.Sprintf("%s#%d", name, f.made[name]))
	return id
}

func (f *fakeTopics) Topic(name string) (TopicID, int32, bool) {
	n, ok := f.topics[name]
	return f.id(name), n, ok
}

func (f *fakeTopics) TopicName(id TopicID) (string, bool) {
	name, _, _ := strings.Cut(string(id[:]), "#")
	_, ok := f.topics[name]
	return name, ok && f.id(name) == id
}

func (f *fakeTopics) Names() []string { return slices.Sorted(maps.Keys(f.topics)) }

func (f *fakeTopics) set(name string, partitions int32) {
	f.version++
	if _, ok := f.topics[name]; !ok {
		f.made[name]++
	}
	f.topics[name] = partitions
	if partitions == 0 {
		delete(f.topics, name)
	}
}

// parts reads a-0,a-1,b-0.
func parts(s string) map[string][]int32 {
	out := map[string][]int32{}
	for _, p := range strings.Split(s, ",") {
		if topic, n, ok := strings.Cut(p, "-"); ok {
			out[topic] = append(out[topic], int32(number(n, 0)))
		}
	}
	return out
}

func showParts(p map[string][]int32) string {
	var out []string
	for _, t := range slices.Sorted(maps.Keys(p)) {
		for _, n := range p[t] {
			out = append(out, fmt.Sprintf("%s-%d", t, n))
		}
	}
	return strings.Join(out, ",")
}

// subscriptionOf is what a classic consumer sends, with what it owns.
func subscriptionOf(topics, owned string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = 1
	if topics != "" {
		m.Topics = strings.Split(topics, ",")
	}
	for _, t := range slices.Sorted(maps.Keys(parts(owned))) {
		o := kmsg.NewConsumerMemberMetadataOwnedPartition()
		o.Topic, o.Partitions = t, parts(owned)[t]
		m.OwnedPartitions = append(m.OwnedPartitions, o)
	}
	return m.AppendTo(nil)
}

// padded adds user data to a subscription.
func padded(b []byte, n int64) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	if err := m.ReadFrom(b); err != nil || n == 0 {
		return b
	}
	m.UserData = make([]byte, n)
	return m.AppendTo(nil)
}

func showSubscription(b []byte) string {
	m, err := subscription(b)
	if err != nil {
		return string(b)
	}
	return strings.Join(m.Topics, ",")
}

func assignmentOf(s string) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	p := parts(s)
	for _, t := range slices.Sorted(maps.Keys(p)) {
		at := kmsg.NewConsumerMemberAssignmentTopic()
		at.Topic, at.Partitions = t, p[t]
		a.Topics = append(a.Topics, at)
	}
	return a.AppendTo(nil)
}

func showAssignment(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	tps, err := DecodeAssignment(b)
	if err != nil {
		return err.Error()
	}
	p := map[string][]int32{}
	for _, tp := range tps {
		p[tp.Topic] = append(p[tp.Topic], int32(tp.Partition))
	}
	return showParts(p)
}

// script is a core with what its caller keeps: the clock and the log.
type script struct {
	core     *Core
	cfg      Config
	topics   *fakeTopics
	settings Settings
	now      int64
	log      []logged
	ids      int
	lost     bool
	problem  string // an invariant that does not hold
}

type logged struct {
	Record
	pid    record.ProducerID // of a transactional record, else NoProducerID
	marker string            // commit or abort, of a marker
}

func newScript() *script {
	s := &script{now: 1000, topics: &fakeTopics{topics: map[string]int32{}, made: map[string]int{}}}
	s.settings = Settings{SessionMS: 10_000, HeartbeatMS: 3_000}
	s.cfg = Config{OffsetsRetentionMS: 10_000, MinSessionMS: 10, NewMemberJoinMS: 300_000, Topics: s.topics,
		Consumer: func(string) Settings { return s.settings }}
	s.core = New(s.cfg)
	return s
}

func (s *script) fold() *Core {
	c := New(s.cfg)
	for at, r := range s.log {
		if r.marker != "" {
			c.Marker(r.pid, r.marker == "commit")
		} else if err := c.Replay(r.Key, r.Value, record.Offset(at), r.pid); err != nil {
			s.problem = err.Error()
		}
	}
	c.Loaded(s.now)
	return c
}

// options reads name=value arguments.
func options(a []string) map[string]string {
	out := map[string]string{}
	for _, s := range a {
		k, v, _ := strings.Cut(s, "=")
		out[k] = v
	}
	return out
}

func number(s string, or int64) int64 {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	return or
}

// offsets reads a-0:12 arguments.
func offsets(a []string) Offsets {
	out := Offsets{}
	for _, s := range a {
		if tp, o, ok := strings.Cut(s, ":"); ok {
			topic, n, _ := strings.Cut(tp, "-")
			out[record.TopicPartition{Topic: topic, Partition: record.Partition(number(n, 0))}] = Committed{Offset: record.Offset(number(o, 0))}
		}
	}
	return out
}

func given(o map[string]string, name string) *string {
	if v, ok := o[name]; ok {
		return &v
	}
	return nil
}

func (s *script) joinRequest(o map[string]string) JoinRequest {
	s.ids++
	_, known := o["v4"]
	_, skip := o["v9"]
	req := JoinRequest{Group: cmp.Or(o["group"], "g"), MemberID: o["member"], NewID: fmt.Sprint("m", s.ids), InstanceID: o["instance"], ClientID: "c",
		SessionMS: number(o["session"], 1000), RebalanceMS: number(o["rebalance"], 2000), ProtocolType: cmp.Or(o["type"], "consumer"), NeedKnownID: known || skip, SkipAssignment: skip}
	for _, p := range strings.Split(o["protocols"], ",") {
		if p != "" {
			req.Protocols = append(req.Protocols, Protocol{p, padded(subscriptionOf(o["topics"], o["owned"]), number(o["pad"], 0))})
		}
	}
	return req
}

func (s *script) heartbeatRequest(o map[string]string) HeartbeatRequest {
	s.ids++
	req := HeartbeatRequest{Group: "g", MemberID: o["member"], NewID: fmt.Sprint("m", s.ids), Epoch: int32(number(o["epoch"], 0)), InstanceID: given(o, "instance"),
		Rack: given(o, "rack"), Regex: given(o, "regex"), Assignor: given(o, "assignor"), RebalanceMS: number(o["rebalance"], -1), ClientID: "c"}
	if t := given(o, "topics"); t != nil {
		req.Topics = strings.FieldsFunc(*t, func(r rune) bool { return r == ',' })
		req.Topics = append([]string{}, req.Topics...)
	}
	if own := given(o, "owned"); own != nil {
		req.Owned = Assignment{}
		for t, ps := range parts(*own) {
			req.Owned[s.topics.id(t)] = ps
		}
	}
	if req.Epoch == 0 { // what a joining member must say
		if req.RebalanceMS < 0 {
			req.RebalanceMS = 5000
		}
		if req.Owned == nil {
			req.Owned = Assignment{}
		}
	}
	if _, v1 := o["v1"]; v1 {
		req.NeedMemberID = true
	}
	return req
}

func (s *script) run(a []string) string {
	out := s.event(a)
	s.check()
	if s.problem != "" {
		out += "\nINVARIANT: " + s.problem
	}
	return out
}

func (s *script) event(a []string) string {
	o := options(a[1:])
	group := "g"
	commit := CommitRequest{Group: group, GenerationID: int32(number(o["gen"], -1)), MemberID: o["member"], InstanceID: o["instance"], Offsets: offsets(a[1:]),
		RetentionMS: number(o["retention"], 0), Version: int16(number(o["version"], 9))}
	pid := record.ProducerID(number(o["pid"], -1))
	switch a[0] {
	case "now":
		s.now = number(a[1], 0)
		return ""
	case "set":
		s.set(o)
		return ""
	case "topic":
		s.topics.set(a[1], int32(number(a[2], 0)))
		return ""
	case "fail":
		s.lost = true
		return ""
	case "join":
		return s.step(s.core.Join(s.joinRequest(o), "join#"+a[1], s.now), record.NoProducerID)
	case "sync":
		req := SyncRequest{Group: group, Generation: commit.GenerationID, MemberID: o["member"], InstanceID: o["instance"], ProtocolType: o["type"], Protocol: o["protocol"], Assignments: map[string][]byte{}}
		for k, v := range o {
			if strings.HasPrefix(k, "m") && k != "member" {
				req.Assignments[k] = assignmentOf(v)
			}
		}
		return s.step(s.core.Sync(req, "sync#"+a[1], s.now), record.NoProducerID)
	case "heartbeat":
		return told(s.core.Heartbeat(group, o["member"], o["instance"], commit.GenerationID, s.now))
	case "leave":
		return s.leave(a[1:])
	case "hb":
		return s.step(s.core.ConsumerHeartbeat(s.heartbeatRequest(o), "hb#"+a[1], s.now), record.NoProducerID)
	case "commit":
		return s.step(s.core.Commit(commit, s.now), record.NoProducerID)
	case "txncommit":
		return s.step(s.core.TxnCommit(pid, commit, s.now), pid)
	case "marker":
		s.log = append(s.log, logged{pid: pid, marker: a[2]})
		return fmt.Sprint("settled ", s.core.Marker(pid, a[2] == "commit"))
	case "deletegroup":
		return s.step(s.core.Delete(group), record.NoProducerID)
	case "deleteoffsets":
		return s.deleteOffsets(a[1:])
	case "deletetopic":
		s.topics.set(a[1], 0)
		return s.step(s.core.DeleteOffsets(func(_ string, tp record.TopicPartition, _ Committed) bool { return tp.Topic == a[1] }), record.NoProducerID)
	case "restart":
		s.core = s.fold()
		return s.show(group)
	}
	return s.look(a, o, group)
}

// look runs the events that only read, and tick.
func (s *script) look(a []string, o map[string]string, group string) string {
	switch a[0] {
	case "fetch":
		offs, unstable := s.core.Fetch(group, nil)
		out := ""
		for _, tp := range sorted(offs) {
			out += fmt.Sprintf("%s-%d:%d ", tp.Topic, tp.Partition, offs[tp].Offset)
		}
		if len(unstable) > 0 {
			out += "unstable"
			for _, tp := range slices.SortedFunc(maps.Keys(unstable), compare) {
				out += fmt.Sprintf(" %s-%d", tp.Topic, tp.Partition)
			}
		}
		return strings.TrimSpace(out)
	case "mayfetch":
		return told(s.core.MayFetch(group, given(o, "member"), int32(number(o["epoch"], -1))))
	case "held":
		return fmt.Sprintf("%d of all %d", s.core.find(group).held().bytes, s.core.cfg.Memory.Used())
	case "tick":
		return s.tick()
	case "show":
		return s.show(group)
	case "list":
		var states, types []string
		if o["states"] != "" {
			states = strings.Split(o["states"], ",")
		}
		if o["types"] != "" {
			types = strings.Split(o["types"], ",")
		}
		out := ""
		for _, i := range s.core.List(states, types) {
			out += fmt.Sprintf("%s %s %v %q\n", i.Name, i.Type, i.State, i.ProtocolType)
		}
		return out
	}
	return "unknown command " + a[0]
}

// set changes the configuration, as a restart with another one does.
func (s *script) set(o map[string]string) {
	for k, v := range o {
		n := number(v, 0)
		switch k {
		case "delay":
			s.cfg.InitialDelayMS = n
		case "size":
			s.cfg.MaxSize = int(n)
		case "bytes":
			s.cfg.MaxBytes = n
		case "allbytes":
			s.cfg.MaxAllBytes = n
		case "consumersize":
			s.cfg.ConsumerMaxSize = int(n)
		case "maxsession":
			s.cfg.MaxSessionMS = n
		case "interval":
			s.settings.AssignmentIntervalMS = n
		case "check":
			s.cfg.RetentionCheckMS = n
		}
	}
	cfg := s.cfg
	cfg.Memory = s.core.cfg.Memory
	cfg.fillDefaults()
	s.core.cfg = cfg
}

func told(err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return "ok"
}

func (s *script) leave(a []string) string {
	var leavers []Leaver
	for _, l := range a {
		k, v, _ := strings.Cut(l, "=")
		switch k {
		case "member":
			leavers = append(leavers, Leaver{MemberID: v})
		case "instance":
			leavers = append(leavers, Leaver{InstanceID: v})
		case "both":
			id, instance, _ := strings.Cut(v, ",")
			leavers = append(leavers, Leaver{MemberID: id, InstanceID: instance})
		}
	}
	st, errs := s.core.Leave("g", leavers, s.now)
	out := s.step(st, record.NoProducerID)
	for i, err := range errs {
		if err != nil {
			out += fmt.Sprintf("\n%v error: %v", leavers[i], err)
		}
	}
	return out
}

func (s *script) deleteOffsets(a []string) string {
	tps := sorted(offsets(a))
	st, errs := s.core.OffsetDelete("g", tps)
	out := s.step(st, record.NoProducerID)
	for _, tp := range tps {
		if errs[tp] != nil {
			out += fmt.Sprintf("\n%s-%d error: %v", tp.Topic, tp.Partition, errs[tp])
		}
	}
	return out
}

func (s *script) tick() string {
	var out strings.Builder
	for {
		st, more := s.core.Tick(s.now)
		if !more {
			break
		}
		if line := s.step(st, record.NoProducerID); line != "wait" {
			fmt.Fprintln(&out, line)
		}
	}
	if at, ok := s.core.Deadline(); ok {
		fmt.Fprintf(&out, "next at %d\n", at)
	}
	return out.String()
}

// named is an assignment with topics by name.
func (s *script) named(a Assignment) map[string][]int32 {
	out := map[string][]int32{}
	for id, ps := range a {
		name, ok := s.topics.TopicName(id)
		if !ok {
			name = "?" + string(id[:1])
		}
		out[name] = ps
	}
	return out
}

func (s *script) show(group string) string {
	info, ok := s.core.Describe(group)
	if !ok {
		return "none"
	}
	if info.Type == TypeClassic {
		out := fmt.Sprintf("%v generation %d leader %q", info.State, info.Generation, info.Leader)
		for _, m := range info.Members {
			out += fmt.Sprintf(" %s(%s)", m.ID, showAssignment(m.Assignment))
		}
		return out
	}
	out := fmt.Sprintf("%v epoch %d target epoch %d %s", info.State, info.Generation, info.AssignmentEpoch, info.Assignor)
	g := s.core.groups[group].consumer
	for _, m := range info.Members {
		c := g.members[m.ID]
		out += fmt.Sprintf("\n %s epoch %d has %s", m.ID, m.Epoch, showParts(s.named(c.assigned.assignment())))
		if len(c.pending) > 0 {
			out += " gives up " + showParts(s.named(c.pending.assignment()))
		}
		out += " target " + showParts(s.named(m.Target))
		if m.Instance != "" {
			out += " instance " + m.Instance
		}
		if m.Classic {
			out += " classic"
		}
	}
	return out
}

var recordNames = map[byte]string{0: "offset", 1: "offset", 2: "group", 3: "epoch", 4: "metadata", 5: "member", 6: "target epoch", 7: "target", 8: "current", 16: "regex"}

// step does what log/broker does with a step, and tells.
func (s *script) step(st Step, pid record.ProducerID) string {
	if st.Err != nil {
		return "error: " + st.Err.Error()
	}
	var out strings.Builder
	base, err := record.Offset(len(s.log)), error(nil)
	if len(st.Records) > 0 && s.lost {
		s.lost, err = false, errors.New("disk full")
		fmt.Fprintln(&out, "append fails")
	} else {
		var names []string
		for _, r := range st.Records {
			s.log = append(s.log, logged{Record: r, pid: pid})
			what := recordNames[r.Key[1]]
			switch r.Key[1] {
			case memberKeyVersion, targetKeyVersion, currentKeyVersion, regexKeyVersion:
				_, id, _ := readKey(int16(r.Key[1]), r.Key)
				what += " " + id
			}
			if r.Value == nil {
				what = "-" + what
			}
			names = append(names, what)
		}
		if len(names) > 0 {
			fmt.Fprintln(&out, "append", strings.Join(names, ", "))
		}
	}
	for _, r := range append(st.Replies, s.core.Done(st, base, err)...) {
		fmt.Fprintln(&out, s.reply(r))
	}
	if out.Len() == 0 {
		return "wait"
	}
	return strings.TrimRight(out.String(), "\n")
}

func (s *script) reply(r Reply) string {
	out := fmt.Sprint(r.Token)
	switch {
	case r.Err != nil && r.Join != nil:
		return out + " " + r.Join.MemberID + " error: " + r.Err.Error()
	case r.Err != nil:
		return out + " error: " + r.Err.Error()
	case r.Join != nil:
		out += fmt.Sprintf(" %s generation %d %s leader %s", r.Join.MemberID, r.Join.Generation, r.Join.Protocol, r.Join.Leader)
		for _, m := range r.Join.Members {
			out += fmt.Sprintf(" %s(%s)", m.ID, showSubscription(m.Metadata))
		}
		if r.Join.SkipAssignment {
			out += " skip assignment"
		}
	case r.Sync != nil:
		out += " " + r.Sync.Protocol + " assignment " + showAssignment(r.Sync.Assignment)
	case r.Heartbeat != nil:
		out += fmt.Sprintf(" %s epoch %d", r.Heartbeat.MemberID, r.Heartbeat.Epoch)
		if r.Heartbeat.Assignment != nil {
			out += " assignment " + showParts(s.named(r.Heartbeat.Assignment))
		}
	}
	return out
}

// check looks at the invariants that hold after each event.
func (s *script) check() {
	folded := s.fold()
	for _, c := range []*Core{s.core, folded} {
		if diff := c.accounts(); diff != "" {
			s.problem = diff
		}
	}
	if at, ok := s.core.Deadline(); ok && at == math.MaxInt64 {
		s.problem = "an alarm that never comes"
	}
	for _, name := range s.core.names() {
		g, f := s.core.groups[name], folded.groups[name]
		if d := g.deadline(); d != never && (g.index < 0 || g.alarm > max(d, s.now+retryMS)) {
			s.problem = fmt.Sprintf("deadline %d, alarm %d", d, g.alarm)
		}
		if g.consumer == nil {
			if f != nil && f.consumer != nil {
				s.problem = "classic, but a consumer group in the log"
			}
			continue
		}
		if f == nil || f.consumer == nil {
			s.problem = "a consumer group that is not in the log"
			continue
		}
		if diff := g.consumer.diff(f.consumer); diff != "" {
			s.problem = "not what the log says: " + diff
		}
		if diff := g.consumer.owned(); diff != "" {
			s.problem = diff
		}
	}
}

// diff compares what the log determines.
func (g *consumer) diff(o *consumer) string {
	switch {
	case g.epoch != o.epoch || g.targetEpoch != o.targetEpoch || g.hash != o.hash || g.targetMS != o.targetMS:
		return fmt.Sprintf("epoch %d %d, target %d %d, hash %d %d, at %d %d", g.epoch, o.epoch, g.targetEpoch, o.targetEpoch, g.hash, o.hash, g.targetMS, o.targetMS)
	case !maps.Equal(g.statics, o.statics):
		return fmt.Sprint("static members ", g.statics, o.statics)
	case !maps.Equal(g.owners, o.owners):
		return fmt.Sprint("owners ", g.owners, o.owners)
	case !maps.EqualFunc(g.target, o.target, Assignment.equal):
		return fmt.Sprint("target ", g.target, o.target)
	case !maps.EqualFunc(g.regexes, o.regexes, func(a, b resolved) bool { return slices.Equal(a.topics, b.topics) }):
		return fmt.Sprint("expressions ", g.regexes, o.regexes)
	case !maps.EqualFunc(g.members, o.members, func(a, b *consumerMember) bool { return a.sameMetadata(b) && a.sameCurrent(b) }):
		out := "members"
		for _, id := range g.memberIDs() {
			out += fmt.Sprintf(" %+v", *g.members[id])
			if m := o.members[id]; m != nil {
				out += fmt.Sprintf(" log %+v", *m)
			}
		}
		return out
	}
	return ""
}

// owned checks that each partition has one owner, and who.
func (g *consumer) owned() string {
	seen := map[topicPartition]string{}
	for _, id := range g.memberIDs() {
		m := g.members[id]
		for _, h := range []holding{m.assigned, m.pending} {
			for t, ps := range h {
				for p := range ps {
					tp := topicPartition{t, p}
					if other, twice := seen[tp]; twice {
						return fmt.Sprintf("%s-%d belongs to %s and %s", t[:1], p, other, id)
					}
					seen[tp] = id
				}
			}
		}
	}
	if !maps.Equal(seen, g.owners) {
		return fmt.Sprint("owners ", g.owners, " but members have ", seen)
	}
	return ""
}
