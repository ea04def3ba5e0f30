package alert

import (
	"cmp"
	"slices"
	"time"

	"github.com/millstream-io/millstream/streams"
)

// groupState is what is known of one group. Times are in milliseconds.
type groupState struct {
	Queue   []queued
	Members []Event // that are firing, by key
	Firing  bool    // a notice has been sent, and not its end
	Applied int64   // the queue has been applied up to here
	Start   int64   // window start of the group's alert
	Since   int64
	End     int64 // the greatest window end of a member
	Number  int   // notices of the alert with this Start
}

// queued is a key's event that has not been applied yet.
type queued struct {
	At    int64
	Event Event
}

// grouped makes the events of groups of those of keys. Events wait in the group's
// queue until the task's stream time has passed the wait, so that the order in
// which upstream tasks deliver them does not matter.
func (w *watcher[K, V]) grouped(events *streams.Stream[string, Event]) *streams.Stream[string, Event] {
	g := &grouper{rule: w.rule, state: streams.NewState[string, groupState](w.name + "-groups")}
	return events.Process(g.event, streams.Named(w.name+"-groups"), streams.Uses(g.state), streams.OnTimer("due", g.timer),
		streams.WaitForAll(), streams.Detail("wait "+ms(w.waitMS).String()))
}

type grouper struct {
	rule
	state *streams.State[string, groupState]
}

func (g *grouper) event(c *streams.Context[string, Event], group string, e Event) {
	st, known := g.state.Get(c, group)
	if !known {
		st.Applied, st.Start = -never, never
	}
	at := c.Timestamp().UnixMilli()
	st.Queue = append(st.Queue, queued{at, e})
	g.state.Put(c, group, st)
	c.SetTimer("due", moment(g.deadline(&st)))
}

// deadline is when the queue is to be applied, or a group that is over forgotten.
func (g *grouper) deadline(st *groupState) int64 {
	if len(st.Queue) == 0 {
		return plus(st.End, plus(g.measure.windows.GraceMS(), g.waitMS))
	}
	at := int64(never)
	for _, q := range st.Queue {
		at = min(at, max(q.At, st.Applied))
	}
	return plus(at, g.waitMS)
}

func (g *grouper) timer(c *streams.Context[string, Event], group string) {
	st, known := g.state.Get(c, group)
	if !known {
		return
	}
	now := c.Timestamp().UnixMilli()
	if len(st.Queue) > 0 {
		g.apply(c, group, &st, now)
	} else if !st.Firing {
		g.state.Delete(c, group)
		return
	}
	g.state.Put(c, group, st)
	if len(st.Queue) > 0 || !st.Firing {
		c.SetTimer("due", moment(g.deadline(&st)))
	}
}

// apply brings the members up to now and sends what is to be told.
func (g *grouper) apply(c *streams.Context[string, Event], group string, st *groupState, now int64) {
	slices.SortStableFunc(st.Queue, func(a, b queued) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Event.Key, b.Event.Key), cmp.Compare(a.Event.Number, b.Event.Number))
	})
	fired, ended := false, time.Time{}
	for len(st.Queue) > 0 && st.Queue[0].At <= now {
		e := st.Queue[0].Event
		st.Queue = slices.Delete(st.Queue, 0, 1)
		i, found := slices.BinarySearchFunc(st.Members, e.Key, func(m Event, key string) int { return cmp.Compare(m.Key, key) })
		if found {
			st.Members = slices.Delete(st.Members, i, i+1)
		}
		if e.Status == Firing {
			st.Members = slices.Insert(st.Members, i, e)
			fired = true
		} else if e.EndsAt != nil && e.EndsAt.After(ended) {
			ended = *e.EndsAt
		}
	}
	st.Applied = now
	switch {
	case fired && len(st.Members) > 0:
		g.begin(st)
		c.Forward(group, g.notice(c, group, st, Firing))
		if st.Firing = g.resolved; !g.resolved {
			st.Members = nil // nobody will say when they are over
		}
	case st.Firing && len(st.Members) == 0:
		st.Firing = false
		e := g.notice(c, group, st, Resolved)
		e.EndsAt = &ended
		c.Forward(group, e)
	}
}

// begin takes the alert's span from its first members.
func (g *grouper) begin(st *groupState) {
	if !st.Firing {
		start, since := int64(never), int64(never)
		for _, m := range st.Members {
			start, since = min(start, m.WindowStart.UnixMilli()), min(since, m.StartsAt.UnixMilli())
		}
		if start != st.Start {
			st.Number = 0
		}
		st.Start, st.Since = start, since
	}
	for _, m := range st.Members {
		st.End = max(st.End, m.WindowEnd.UnixMilli())
	}
}

func (g *grouper) notice(c *streams.Context[string, Event], group string, st *groupState, s Status) Event {
	st.Number++
	e := Event{
		Kind: g.name, Status: s, Key: group, Number: st.Number,
		WindowStart: told(st.Start), WindowEnd: told(st.End), StartsAt: told(st.Since),
	}
	for i, m := range st.Members {
		e.Members = append(e.Members, m.Key)
		e.Count += m.Count
		if i == 0 || m.Value > e.Value {
			e.Value = m.Value
		}
	}
	for name, value := range g.labels {
		e.label(name, value)
	}
	e.identify(c.Application())
	return e
}
