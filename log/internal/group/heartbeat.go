package group

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// HeartbeatRequest is a heartbeat of the consumer protocol (KIP-848). What has
// not changed since the last one may be left out.
type HeartbeatRequest struct {
	Group, MemberID string
	// NewID is the member id of one that joins without; the caller makes it unique.
	NewID string
	// Epoch is the member's; 0 joins, -1 leaves, -2 leaves for a while (static members).
	Epoch       int32
	InstanceID  *string
	Rack        *string
	RebalanceMS int64    // -1: left out
	Topics      []string // nil: left out
	Regex       *string
	Assignor    *string
	Owned       Assignment // nil: left out
	ClientID    string
	ClientHost  string
	// NeedMemberID: members make their own ids (ConsumerGroupHeartbeat 1).
	NeedMemberID bool
	// MayDescribe filters what a regular expression matches; nil: everything.
	MayDescribe func(topic string) bool
}

// HeartbeatResult answers ConsumerHeartbeat.
type HeartbeatResult struct {
	MemberID   string
	Epoch      int32
	IntervalMS int64
	// Assignment is what the member is to have; nil: as it was told before.
	Assignment Assignment
}

// Assignors that the server has.
const (
	UniformAssignor = "uniform"
	RangeAssignor   = "range"
)

// check refuses what no group could accept.
func (r *HeartbeatRequest) check(assignors []string) error {
	empty := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrInvalidRequest, what) }
	switch {
	case r.MemberID == "" && (r.NeedMemberID || r.Epoch > 0 || r.Epoch == leaveEpoch):
		return bad("MemberId can't be empty")
	case empty(&r.Group):
		return bad("GroupId can't be empty")
	case empty(r.InstanceID):
		return bad("InstanceId can't be empty")
	case empty(r.Rack):
		return bad("RackId can't be empty")
	case r.Epoch == 0 && r.RebalanceMS == -1:
		return bad("RebalanceTimeoutMs must be provided in first request")
	case r.Epoch == 0 && (r.Owned == nil || len(r.Owned) > 0):
		return bad("TopicPartitions must be empty when (re-)joining")
	case r.Epoch == 0 && r.Topics == nil && r.Regex == nil:
		return bad("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining")
	case r.Epoch < leaveStaticEpoch:
		return bad("MemberEpoch is invalid")
	case r.Assignor != nil && !slices.Contains(assignors, *r.Assignor):
		return fmt.Errorf("%w: ServerAssignor %s is not supported. Supported assignors: %s", ErrUnsupportedAssignor, *r.Assignor, strings.Join(assignors, ", "))
	}
	return nil
}

// ConsumerHeartbeat answers ConsumerGroupHeartbeat: it joins, changes, keeps
// alive or takes out a member, and moves it towards its target.
func (c *Core) ConsumerHeartbeat(req HeartbeatRequest, token Token, now int64) Step {
	if err := req.check(c.cfg.Assignors); err != nil {
		return Step{Err: err}
	}
	if req.Epoch < 0 {
		return c.consumerLeave(req, token, now)
	}
	d, s, err := c.draftFor(req.Group, req.Epoch == 0, now)
	if err != nil {
		return Step{Err: err}
	}
	if req.MemberID == "" {
		req.MemberID = req.NewID
	}
	if len(d.is.members) >= c.cfg.ConsumerMaxSize && d.is.members[req.MemberID] == nil {
		return Step{Err: ErrGroupFull}
	}
	m, err := d.subscriber(&req)
	if err != nil {
		return Step{Err: err}
	}
	next, changed, err := d.subscribe(m, req.updated(m), req.MayDescribe, now)
	if err == nil {
		err = d.fits(m, next, changed)
	}
	if err != nil {
		return Step{Err: err}
	}
	d.assign(now)
	after := d.reconcile(next, changed, req.Owned, now)
	settings := c.cfg.Consumer(req.Group)
	d.later(func(g *consumer) { g.timer(after.id).session = now + settings.SessionMS })
	full := req.RebalanceMS != -1 && (req.Topics != nil || req.Regex != nil) && req.Owned != nil
	result := &HeartbeatResult{MemberID: after.id, Epoch: after.epoch, IntervalMS: settings.HeartbeatMS}
	if req.Epoch == 0 || full || !after.assigned.samePartitions(m.assigned) {
		result.Assignment = after.assigned.assignment()
	}
	return d.step(s, token, func() Reply { return Reply{Heartbeat: result} })
}

// draftFor begins a draft of a consumer group. With create it makes the group,
// also of an empty classic one, and converts one that has members.
func (c *Core) draftFor(name string, create bool, now int64) (*draft, Step, error) {
	g := c.groups[name]
	d := &draft{c: c, name: name}
	var s Step
	switch {
	case g != nil && g.consumer != nil:
		d.is = g.consumer
	case !create:
		return nil, s, fmt.Errorf("%w: %s is not a consumer group", ErrUnknownGroup, name)
	case g == nil || g.classic.state == Empty:
		d.is = newConsumer()
		if g != nil && g.classic.logged {
			s.Records = append(s.Records, Record{Key: groupKey(name)})
		}
	default:
		if err := d.upgrade(g, &s, now); err != nil {
			return nil, s, err
		}
	}
	if d.will == nil {
		d.will = d.is
	}
	return d, s, nil
}

// updated is the member with what the request says.
func (r *HeartbeatRequest) updated(m *consumerMember) *consumerMember {
	n := *m
	n.clientID, n.clientHost, n.classic = r.ClientID, r.ClientHost, nil
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&n.instance, r.InstanceID)
	set(&n.rack, r.Rack)
	set(&n.regex, r.Regex)
	set(&n.assignor, r.Assignor)
	if r.RebalanceMS != -1 {
		n.rebalanceMS = r.RebalanceMS
	}
	if r.Topics != nil {
		n.topics = sortedSet(r.Topics)
	}
	return &n
}

func sortedSet(s []string) []string {
	out := slices.Clone(s)
	slices.Sort(out)
	return slices.Compact(out)
}

// subscriber finds the member that sent the request, or makes it.
func (d *draft) subscriber(req *HeartbeatRequest) (*consumerMember, error) {
	if req.InstanceID == nil {
		m := d.will.members[req.MemberID]
		if m == nil {
			if req.Epoch != 0 {
				return nil, fmt.Errorf("%w: %s", ErrUnknownMember, req.MemberID)
			}
			return newConsumerMember(req.MemberID), nil
		}
		return m, m.checkEpoch(req)
	}
	old := d.will.static(*req.InstanceID)
	switch {
	case req.Epoch != 0 && old == nil:
		return nil, fmt.Errorf("%w: instance id %s", ErrUnknownMember, *req.InstanceID)
	case req.Epoch != 0 && old.id != req.MemberID:
		return nil, fmt.Errorf("%w: %s belongs to %s", ErrFencedInstance, *req.InstanceID, old.id)
	case req.Epoch != 0:
		return old, old.checkEpoch(req)
	case old == nil:
		if m := d.will.members[req.MemberID]; m != nil {
			return m, nil
		}
		return newConsumerMember(req.MemberID), nil
	case old.classic == nil && old.epoch != leaveStaticEpoch && old.id != req.MemberID:
		return nil, fmt.Errorf("%w: %s is owned by %s", ErrUnreleasedInstance, *req.InstanceID, old.id)
	case old.id == req.MemberID && old.epoch != leaveStaticEpoch && old.classic == nil:
		return old, nil // it lost the answer, or was fenced, and joins again
	}
	return d.replace(old, req.MemberID), nil
}

// replace gives a static member's place, with its target and what it has, to
// another member id.
func (d *draft) replace(old *consumerMember, id string) *consumerMember {
	m := *old
	m.id, m.epoch, m.previous = id, 0, 0
	target := d.will.target[old.id]
	d.dropMember(old.id)
	d.setMember(&m)
	d.setTarget(id, target)
	d.setCurrent(&m)
	return &m
}

// checkEpoch accepts the member's epoch, also the previous one if the member has
// no more than it should: the answer with the new one may have been lost.
func (m *consumerMember) checkEpoch(req *HeartbeatRequest) error {
	switch {
	case req.Epoch == 0 || req.Epoch == m.epoch:
		return nil
	case req.Epoch < m.epoch && req.Epoch == m.previous && req.Owned != nil && m.ownsAtLeast(req.Owned):
		return nil
	}
	return fmt.Errorf("%w: member %s has epoch %d, the group expects %d", ErrFencedEpoch, m.id, req.Epoch, m.epoch)
}

func (m *consumerMember) ownsAtLeast(a Assignment) bool {
	for t, ps := range a {
		for _, p := range ps {
			if !m.assigned.has(t, p) {
				return false
			}
		}
	}
	return true
}

// subscribe takes the member's new metadata over and raises the group's epoch
// where that, or a change of the topics, makes the target out of date. It
// returns the member and whether its own subscription changed.
func (d *draft) subscribe(m, next *consumerMember, mayDescribe func(string) bool, now int64) (*consumerMember, bool, error) {
	if next.regex != m.regex && next.regex != "" && d.will.subscribedTo(next.regex) == 0 {
		if _, err := compileRegex(next.regex); err != nil {
			return nil, false, err
		}
	}
	changed := !slices.Equal(m.topics, next.topics) || m.regex != next.regex
	if !next.sameMetadata(m) {
		d.setMember(next)
	}
	if m.regex != "" && d.will.subscribedTo(m.regex) == 0 {
		d.dropRegex(m.regex)
	}
	found := d.resolve(mayDescribe, now)
	if changed || found {
		d.bump()
		return next, changed, nil
	}
	topics := d.c.cfg.Topics
	if g := d.will; !g.checked || g.version != topics.Version() {
		if g.metadataHash(topics) != g.hash {
			d.bump()
		} else {
			d.noticed()
		}
	}
	return next, changed, nil
}

func compileRegex(expr string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("%w: SubscribedTopicRegex `%s` is not a valid regular expression: %s", ErrInvalidRegex, expr, err)
	}
	re.Longest()
	return re, nil
}

// matchesWhole: a longest match that begins first is the whole name if any match is.
func matchesWhole(re *regexp.Regexp, name string) bool {
	at := re.FindStringIndex(name)
	return at != nil && at[0] == 0 && at[1] == len(name)
}

// resolve matches the members' regular expressions against the topics, when one
// is new, topics have changed, or the last time is long ago. It says whether
// another set of topics was found.
func (d *draft) resolve(mayDescribe func(string) bool, now int64) bool {
	g, topics := d.will, d.c.cfg.Topics
	exprs := map[string]bool{}
	fresh := false
	for _, m := range g.members {
		if m.regex != "" {
			exprs[m.regex] = true
			_, known := g.regexes[m.regex]
			fresh = fresh || !known
		}
	}
	if len(exprs) == 0 || !fresh && g.regexChecked && g.regexVersion == topics.Version() && now < g.regexMS+d.c.cfg.RegexRefreshMS {
		return false
	}
	changed := false
	names := topics.Names()
	for _, expr := range slices.Sorted(maps.Keys(exprs)) {
		re, err := compileRegex(expr)
		if err != nil {
			continue // it came from the log, of an implementation with another syntax
		}
		r := resolved{version: int64(topics.Version()), at: now, topics: []string{}}
		for _, name := range names {
			if matchesWhole(re, name) && (mayDescribe == nil || mayDescribe(name)) {
				r.topics = append(r.topics, name)
			}
		}
		old, known := g.regexes[expr]
		if !known || !slices.Equal(old.topics, r.topics) {
			d.setRegex(expr, r)
			changed = changed || len(r.topics) > 0 || known
		}
	}
	version := topics.Version()
	d.later(func(g *consumer) { g.regexChecked, g.regexVersion, g.regexMS = true, version, now })
	return changed
}

// consumerLeave takes a member out, or only marks a static one that will be back.
func (c *Core) consumerLeave(req HeartbeatRequest, token Token, now int64) Step {
	g := c.groups[req.Group]
	known := g != nil && g.consumer != nil
	if req.Epoch == leaveStaticEpoch && req.InstanceID == nil {
		// Kafka wants the instance id here as well; franz-go 1.22 does not send it.
		if !known || g.consumer.members[req.MemberID] == nil || g.consumer.members[req.MemberID].instance == "" {
			return Step{Err: fmt.Errorf("%w: InstanceId can't be null", ErrInvalidRequest)}
		}
	}
	if !known {
		return Step{Err: fmt.Errorf("%w: %s is not a consumer group", ErrUnknownGroup, req.Group)}
	}
	m := g.consumer.members[req.MemberID]
	if req.InstanceID != nil {
		m = g.consumer.static(*req.InstanceID)
		if m != nil && m.id != req.MemberID {
			return Step{Err: fmt.Errorf("%w: %s belongs to %s", ErrFencedInstance, *req.InstanceID, m.id)}
		}
	}
	if m == nil {
		return Step{Err: fmt.Errorf("%w: %s", ErrUnknownMember, req.MemberID)}
	}
	reply := func() Reply {
		return Reply{Heartbeat: &HeartbeatResult{MemberID: m.id, Epoch: req.Epoch}}
	}
	if req.Epoch == leaveStaticEpoch {
		d := &draft{c: c, name: req.Group, is: g.consumer, will: g.consumer}
		n := *m
		n.epoch, n.pending = leaveStaticEpoch, nil
		n.assigned = hold(m.assigned.assignment(), 0)
		d.setCurrent(&n)
		return d.step(Step{}, token, reply)
	}
	return c.fence(g, map[string]bool{m.id: true}, token, reply, now)
}

// fence takes members out and raises the epoch for the others. Where only
// classic members remain, the group becomes a classic one.
func (c *Core) fence(g *group, gone map[string]bool, token Token, reply func() Reply, now int64) Step {
	k := g.consumer
	if left := len(k.members) - len(gone); !c.cfg.NoDowngrade && left > 0 && left <= c.cfg.MaxSize && k.onlyClassicBut(gone) {
		if s, ok := c.downgrade(g, k, gone, token, reply, now); ok {
			return s
		}
	}
	d := &draft{c: c, name: g.name, is: k, will: k}
	for _, id := range k.memberIDs() {
		if gone[id] {
			d.dropMember(id)
		}
	}
	for _, regex := range slices.Sorted(maps.Keys(k.regexes)) {
		if d.will.subscribedTo(regex) == 0 {
			d.dropRegex(regex)
		}
	}
	d.bump()
	return d.step(Step{}, token, reply)
}

// tickConsumer takes out the members whose time is over.
func (c *Core) tickConsumer(g *group, s *Step, now int64) {
	gone := map[string]bool{}
	for id, t := range g.consumer.timers {
		m := g.consumer.members[id]
		if t.rebalance <= now && m != nil && m.epoch != t.rebalanceEpoch {
			t.rebalance = never // it went on
		}
		if m != nil && t.first() <= now {
			gone[id] = true
		}
	}
	if len(gone) > 0 {
		*s = c.fence(g, gone, nil, nil, now)
	}
}
