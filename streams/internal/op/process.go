package op

import (
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// Process describes an operator that calls a function of the program for each
// record, and others when time reaches its timers.
type Process[K, V any] struct {
	Node topology.NodeID
	Keys serde.Serde[K]
	// Keyed: it has state or timers, so a record without a key is nothing to it.
	Keyed  bool
	Record func(c *Ctx, k K, v V)
	// Timers are called with the key of the timer, by its number.
	Timers       []func(c *Ctx, k K)
	ByKey, Index string // the stores of the timers
	Wait         bool
	LastEnd      func(timestampMS int64) int64
	EveryMS      int64 // 0: never
	Every        func(c *Ctx)
	KeepLate     bool
}

// Processing is what the functions of a Process operator may ask of it.
type Processing struct {
	t        *Task
	node     topology.NodeID
	timers   *timers
	keys     any // serde.Serde[K]
	keepLate bool
	keyed    bool  // a function runs for a key
	states   []any // *State[K, V], by their place in the node's stores
}

// AddProcessState takes the next store of a Process operator that is about to be built.
func (t *Task) AddProcessState(id topology.NodeID, s any) {
	t.states[id] = append(t.states[id], s)
}

// State is a store of the operator.
func (p *Processing) State(slot int) any { return p.states[slot] }

// Application is the program's name.
func (p *Processing) Application() string { return p.t.topo.Name }

// Node is the operator's.
func (p *Processing) Node() topology.NodeID { return p.node }

// Name is the operator's.
func (p *Processing) Name() string { return p.t.name(p.node) }

// HasKey reports whether a function runs for a key.
func (p *Processing) HasKey() bool { return p.keyed }

// SetTimer sets the current key's timer.
func (p *Processing) SetTimer(c *Ctx, id int, at int64) {
	if err := p.timers.set(p.timers.current, id, at); err != nil {
		c.fail(err)
	}
}

// Keys is the serde.Serde of the operator's keys.
func (p *Processing) Keys() any { return p.keys }

// SetTimerOf sets the timer of any key of the task.
func (p *Processing) SetTimerOf(c *Ctx, key []byte, id int, at int64) {
	if err := p.timers.setOf(key, id, at); err != nil {
		c.fail(err)
	}
}

// CancelTimer cancels the current key's timer.
func (p *Processing) CancelTimer(c *Ctx, id int) {
	if err := p.timers.cancel(p.timers.current, id); err != nil {
		c.fail(err)
	}
}

// Timer is the time of the current key's timer.
func (p *Processing) Timer(c *Ctx, id int) (at int64, ok bool) {
	at, err := p.timers.get(p.timers.current, id)
	if err != nil {
		c.fail(err)
		return 0, false
	}
	return at, at != never
}

// Reached is the time that stream time goes on to before another record comes.
func (p *Processing) Reached(c *Ctx) int64 {
	if p.timers == nil || !p.keyed {
		return max(c.Timestamp, c.StreamTime)
	}
	return max(c.Timestamp, p.timers.reached())
}

// Late reports the record as one that came too late.
func (p *Processing) Late(c *Ctx) {
	r := c.in
	if r == nil {
		r = &processor.Record{Key: c.rawKey, Timestamp: c.Timestamp, StreamTime: c.StreamTime, Partition: -1, Offset: -1}
	}
	if err := p.t.host.Late(p.Name(), p.keepLate, r); err != nil {
		c.fail(err)
	}
}

// Ran says that the operator's function runs again after a child.
func (p *Processing) Ran(c *Ctx) { c.node = p.node }

// Fail ends the record with an error.
func (c *Ctx) Fail(err error) { c.fail(err) }

// Failed reports whether the record has ended with an error.
func (c *Ctx) Failed() bool { return c.err != nil }

// Forward sends a record under a new key downstream and leaves c as it was.
func Forward[K, V any](c *Ctx, next Next[K, V], k K, v V, null bool, timestamp int64) {
	if c.err != nil {
		return
	}
	at, streamTime := c.Timestamp, c.StreamTime
	rawKey, raw, was := c.rawKey, c.raw, c.null
	c.Timestamp, c.StreamTime = timestamp, max(streamTime, timestamp)
	c.Rekeyed()
	c.null = null
	next(c, k, v)
	c.Timestamp, c.StreamTime = at, streamTime
	c.rawKey, c.raw, c.null = rawKey, raw, was
}

// ForwardValue is Forward under the current key.
func ForwardValue[K, V any](c *Ctx, next Next[K, V], k K, v V, null bool, timestamp int64) {
	if c.err != nil {
		return
	}
	at, streamTime, was := c.Timestamp, c.StreamTime, c.null
	c.Timestamp, c.StreamTime = timestamp, max(streamTime, timestamp)
	c.null = null
	next(c, k, v)
	c.Timestamp, c.StreamTime, c.null = at, streamTime, was
}

type process[K, V any] struct {
	Process[K, V]
	p      *Processing
	decode serde.KeyDecoder[K]
	keyBuf []byte
}

// NewProcess builds the operator. make gets what its functions need and returns
// it completed with them.
func NewProcess[K, V any](t *Task, d Process[K, V], make func(p *Processing) Process[K, V]) Next[K, V] {
	g := &process[K, V]{p: &Processing{t: t, node: d.Node, keys: d.Keys, keepLate: d.KeepLate, states: t.states[d.Node]}, decode: serde.NewKeyDecoder(d.Keys)}
	g.Process = make(g.p)
	if len(g.Timers) > 0 {
		g.p.timers = newTimers(t, g.Node, g.ByKey, g.Index, g.Wait, g.LastEnd)
		g.p.timers.fire = g.fire
	}
	if g.EveryMS > 0 {
		newEvery(t, g.Node, g.EveryMS, func(c *Ctx) {
			g.p.keyed = false
			g.Every(c)
		})
	}
	return g.process
}

func (g *process[K, V]) process(c *Ctx, k K, v V) {
	var key []byte
	if g.Keyed {
		key = c.rawKey
		if !c.raw {
			var err error
			if key, err = encode(g.Keys, &g.keyBuf, k); err != nil {
				c.fail(g.p.t.encodeError(g.Node, "key", err))
				return
			}
		}
		if key == nil {
			g.p.t.dropped(g.Node)
			return
		}
	}
	timestamp, streamTime, headers := c.Timestamp, c.StreamTime, c.Headers
	rawKey, raw, null := c.rawKey, c.raw, c.null
	m := g.p.timers
	if m != nil {
		m.begin(c, key)
	}
	if c.err == nil {
		c.node = g.Node
		g.p.keyed = true
		g.Record(c, k, v)
	}
	if m != nil && !m.settled {
		m.finish(c)
	}
	c.Timestamp, c.StreamTime, c.Headers = timestamp, streamTime, headers
	c.rawKey, c.raw, c.null = rawKey, raw, null
}

func (g *process[K, V]) fire(c *Ctx, id int, key []byte) {
	k, err := g.decode.Decode(key)
	if err != nil {
		c.fail(err)
		return
	}
	g.p.keyed = true
	g.Timers[id](c, k)
}
