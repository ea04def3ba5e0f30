package group

import (
	"container/heap"
	"maps"
	"math"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// TopicID is a topic's UUID; the zero value is none.
type TopicID [16]byte

// Topics is what the core must know of the topics that exist. It is asked
// during events and must not call back.
type Topics interface {
	// Version is another number after each change of what follows.
	Version() uint64
	Topic(name string) (id TopicID, partitions int32, ok bool)
	TopicName(id TopicID) (name string, ok bool)
	// Names lists all topics in order.
	Names() []string
}

// Settings are a consumer group's own, times in milliseconds.
type Settings struct {
	SessionMS, HeartbeatMS int64
	// AssignmentIntervalMS is the least time between two target assignments (KIP-1263).
	AssignmentIntervalMS int64
}

// Config of a Core; times in milliseconds.
type Config struct {
	OffsetsRetentionMS int64
	// RetentionCheckMS is the time between two looks for offsets that expire; 0: at each Tick.
	RetentionCheckMS int64
	// InitialDelayMS is how long the first rebalance of an empty group waits for
	// more members after each join.
	InitialDelayMS             int64
	MinSessionMS, MaxSessionMS int64 // of classic members; 0: no bound
	MaxSize                    int   // members of a classic group; 0: no bound
	// MaxBytes is what the members of one group may hold, MaxAllBytes those of all
	// groups together, see Memory; 0: no bound. What the log has is never refused.
	MaxBytes, MaxAllBytes int64
	Memory                *Memory // shared by the cores of a broker; nil: its own
	// NewMemberJoinMS is how long a new member may wait in join; 0: 5 min.
	NewMemberJoinMS int64

	ConsumerMaxSize int // members of a consumer group; 0: no bound
	// Consumer gives the settings of a consumer group; nil: Kafka's defaults.
	Consumer func(group string) Settings
	// RegexRefreshMS is the longest time for which a resolved regular expression holds; 0: 10 min.
	RegexRefreshMS int64
	Topics         Topics // nil: there are none
	// Assignors that may be used, the default first; none: uniform and range.
	Assignors []string
	// NoUpgrade and NoDowngrade keep a group with members from changing its kind;
	// NoMix keeps classic members out of consumer groups (group.consumer.migration.policy).
	NoUpgrade, NoDowngrade, NoMix bool
}

func (c *Config) fillDefaults() {
	if c.NewMemberJoinMS == 0 {
		c.NewMemberJoinMS = 5 * 60 * 1000
	}
	if c.RegexRefreshMS == 0 {
		c.RegexRefreshMS = 10 * 60 * 1000
	}
	if c.MaxSize == 0 {
		c.MaxSize = math.MaxInt
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = math.MaxInt64
	}
	if c.MaxAllBytes == 0 {
		c.MaxAllBytes = math.MaxInt64
	}
	if c.Memory == nil {
		c.Memory = new(Memory)
	}
	if c.ConsumerMaxSize == 0 {
		c.ConsumerMaxSize = math.MaxInt
	}
	if c.Consumer == nil {
		c.Consumer = func(string) Settings {
			return Settings{SessionMS: 45_000, HeartbeatMS: 5_000, AssignmentIntervalMS: 1_000}
		}
	}
	if len(c.Assignors) == 0 {
		c.Assignors = []string{UniformAssignor, RangeAssignor}
	}
	if c.Topics == nil {
		c.Topics = noTopics{}
	}
}

type noTopics struct{}

func (noTopics) Version() uint64                     { return 0 }
func (noTopics) Topic(string) (TopicID, int32, bool) { return TopicID{}, 0, false }
func (noTopics) TopicName(TopicID) (string, bool)    { return "", false }
func (noTopics) Names() []string                     { return nil }

// Core holds every group. Not safe for concurrent use.
type Core struct {
	cfg        Config
	groups     map[string]*group
	pending    map[record.ProducerID]map[string]Offsets
	alarms     alarms
	nextExpiry int64
}

// New makes an empty core.
func New(cfg Config) *Core {
	cfg.fillDefaults()
	return &Core{cfg: cfg, groups: map[string]*group{}, pending: map[record.ProducerID]map[string]Offsets{}}
}

// group is a name with offsets and a membership.
//
// Invariant: exactly one of classic and consumer is set.
type group struct {
	name     string
	offsets  Offsets
	classic  *classic
	consumer *consumer

	alarm int64 // when Tick looks at it, at or before its earliest deadline; never: math.MaxInt64
	index int   // in Core.alarms, -1: not there
}

// find finds a group or makes it, a classic one without members.
func (c *Core) find(name string) *group {
	g := c.groups[name]
	if g == nil {
		g = &group{name: name, offsets: Offsets{}, classic: newClassic(), alarm: math.MaxInt64, index: -1}
		g.held().attach(c.cfg.Memory)
		c.groups[name] = g
	}
	return g
}

// forget takes a group out.
func (c *Core) forget(g *group) {
	if g.index >= 0 {
		heap.Remove(&c.alarms, g.index)
	}
	g.held().detach()
	delete(c.groups, g.name)
}

func (g *group) empty() bool {
	if g.consumer != nil {
		return len(g.consumer.members) == 0
	}
	return g.classic.state == Empty
}

// subscribed says that members of the group read the topic, or may: what a
// classic group of consumers reads is not known if its metadata cannot be parsed.
func (g *group) subscribed(topic string) bool {
	if g.consumer != nil {
		return g.consumer.subscribed(topic)
	}
	k := g.classic
	if k.topics != nil {
		return k.topics[topic]
	}
	return k.protocolType == ConsumerProtocol
}

func (c *Core) names() []string { return slices.Sorted(maps.Keys(c.groups)) }

// Token names a request that waits for its reply; the caller chooses it.
type Token any

// Reply answers a waiting request.
type Reply struct {
	Token     Token
	Join      *JoinResult      // of Join; with ErrMemberIDRequired it has the member id
	Sync      *SyncResult      // of Sync
	Heartbeat *HeartbeatResult // of ConsumerHeartbeat
	Err       error
}

// Step is what an event leads to. With Err set nothing else is.
type Step struct {
	// Records to append in one batch, then call Done; none: call Done at once.
	Records []Record
	// Replies to give now, whatever becomes of the records.
	Replies []Reply
	Err     error
	done    []func(base record.Offset, err error) []Reply
}

func (s *Step) reply(r ...Reply) { s.Replies = append(s.Replies, r...) }

// after adds what is to be done when the fate of the records is known.
func (s *Step) after(f func(base record.Offset, err error) []Reply) { s.done = append(s.done, f) }

// Done tells the core what became of a step's records: their first offset, or
// the error of the append. It returns the replies to give once they are as
// durable as wanted.
func (c *Core) Done(s Step, base record.Offset, err error) []Reply {
	var out []Reply
	for _, f := range s.done {
		out = append(out, f(base, err)...)
	}
	return out
}

// Tick does one thing that is due: it expires sessions and ends rebalances of a
// group, or forgets old offsets. Call it again, after Done, until it returns false.
func (c *Core) Tick(now int64) (Step, bool) {
	if len(c.alarms) > 0 && c.alarms[0].alarm <= now {
		return c.tickGroup(heap.Pop(&c.alarms).(*group).name, now), true
	}
	if now >= c.nextExpiry {
		c.nextExpiry = now + max(c.cfg.RetentionCheckMS, 1)
		return c.expire(now), true
	}
	return Step{}, false
}

// retryMS is how long a group waits after an append failed on its timer.
const retryMS = 1000

// tickGroup does what is due in one group, and sets its next alarm.
func (c *Core) tickGroup(name string, now int64) Step {
	var s Step
	g := c.groups[name]
	if g == nil {
		return s
	}
	if g.consumer != nil {
		c.tickConsumer(g, &s, now)
	} else {
		c.tickClassic(g, &s, now)
	}
	s.after(func(_ record.Offset, err error) []Reply {
		g := c.groups[name]
		switch {
		case g == nil:
		case err != nil:
			c.wake(g, now+retryMS)
		default:
			c.wake(g, max(g.deadline(), now+1))
		}
		return nil
	})
	return s
}

func (g *group) deadline() int64 {
	if g.consumer != nil {
		return g.consumer.deadline()
	}
	return g.classic.deadline()
}

// Deadline is the earliest time at which Tick may have something to do for
// memberships; false if never.
func (c *Core) Deadline() (int64, bool) {
	if len(c.alarms) == 0 {
		return 0, false
	}
	return c.alarms[0].alarm, true
}

// wake makes Tick look at the group at a time at the latest.
func (c *Core) wake(g *group, at int64) {
	switch {
	case at == math.MaxInt64:
	case g.index < 0:
		g.alarm = at
		heap.Push(&c.alarms, g)
	case at < g.alarm:
		g.alarm = at
		heap.Fix(&c.alarms, g.index)
	}
}

// alarms are the groups with a deadline, the earliest first.
type alarms []*group

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].alarm < a[j].alarm }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

func (a *alarms) Push(x any) {
	g := x.(*group)
	g.index = len(*a)
	*a = append(*a, g)
}

func (a *alarms) Pop() any {
	old := *a
	g := old[len(old)-1]
	g.index = -1
	*a = old[:len(old)-1]
	return g
}
