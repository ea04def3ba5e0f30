package clients

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

const groupPartitions = 6

// groupTest is a group of one library's members over a topic.
type groupTest struct {
	t            *testing.T
	l            library
	c            client
	topic, group string
	protocol     string
	static       bool
	sent         int
	seen         []record
	gone         int // records that members saw that have left
}

// newGroupTest makes a group's topic. A failed test tells what broker and
// members know.
func newGroupTest(t *testing.T, l library, c client, protocol string, static bool) *groupTest {
	t.Helper()
	g := &groupTest{t: t, l: l, c: c, topic: create(t, groupPartitions, nil), group: name(t, "group"), protocol: protocol, static: static}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		f, committed := startFranzGo(t, target(t)), map[string]int64{}
		for p := range int32(groupPartitions) {
			var end int64
			err := f.admin("offset", adminArgs{Topic: g.topic, Partition: p, At: -1}, &end)
			t.Logf("partition %d ends at %d (%v)", p, end, err)
		}
		err := f.admin("committed", adminArgs{Group: g.group}, &committed)
		t.Logf("committed: %v (%v)", committed, err)
		states, err := g.c.members()
		t.Logf("members: %+v (%v)", states, err)
		for m := range states {
			seen, err := g.c.leave(m)
			n := map[int32]int{}
			for _, r := range seen {
				n[r.Partition]++
			}
			t.Logf("%s saw, by partition, %v (%v)", m, n, err)
		}
	})
	return g
}

func (g *groupTest) join(member string) {
	g.t.Helper()
	a := joinArgs{Member: member, Group: g.group, Protocol: g.protocol, Topics: []string{g.topic}}
	if g.static {
		a.Instance = "instance-of-" + member
	}
	if err := g.c.join(a); err != nil {
		g.t.Fatal(err)
	}
}

// settled waits until the running members have the topic's partitions, n each,
// no partition twice.
func (g *groupTest) settled(counts map[string]int) map[string]memberState {
	g.t.Helper()
	var states map[string]memberState
	until(g.t, fmt.Sprintf("%s: members with %v partitions", g.protocol, counts), func() (bool, string) {
		var err error
		if states, err = g.c.members(); err != nil {
			g.t.Fatal(err)
		}
		owners := map[string]string{}
		for m, want := range counts {
			s := states[m]
			if s.Fault != "" {
				g.t.Fatalf("%s: member %s: %s", g.protocol, m, s.Fault)
			}
			if len(s.Assigned) != want {
				return false, fmt.Sprintf("%+v", states)
			}
			for _, p := range s.Assigned {
				owners[p] = m
			}
		}
		return len(owners) == groupPartitions, fmt.Sprintf("%+v", states)
	})
	return states
}

// send produces to each partition and waits until the members have seen it all.
func (g *groupTest) send(each int) {
	g.t.Helper()
	records := someRecords(groupPartitions, each)
	if _, err := startFranzGo(g.t, target(g.t)).produce(produceArgs{Topic: g.topic, Codec: "none", Acks: "all", Idempotent: true, Records: records}); err != nil {
		g.t.Fatal(err)
	}
	g.sent += len(records)
	until(g.t, g.protocol+": all records seen", func() (bool, string) {
		states, err := g.c.members()
		if err != nil {
			g.t.Fatal(err)
		}
		n := g.gone
		for m, s := range states {
			if s.Fault != "" {
				g.t.Fatalf("%s: member %s: %s", g.protocol, m, s.Fault)
			}
			n += s.Seen
		}
		return n >= g.sent, fmt.Sprintf("%d of %d: %+v", n, g.sent, states)
	})
}

func (g *groupTest) leave(member string) {
	g.t.Helper()
	seen, err := g.c.leave(member)
	if err != nil {
		g.t.Fatalf("%s: leave: %v", g.protocol, err)
	}
	g.seen = append(g.seen, seen...)
	g.gone += len(seen)
}

// once: each record was seen by exactly one member, and all is committed.
func (g *groupTest) once() {
	g.t.Helper()
	counts := map[string]int{}
	for _, r := range g.seen {
		counts[fmt.Sprintf("%s-%d@%d", g.topic, r.Partition, r.Offset)]++
	}
	for at, n := range counts {
		if n != 1 {
			g.t.Errorf("%s: %s was seen %d times", g.protocol, at, n)
		}
	}
	if len(counts) != g.sent {
		g.t.Errorf("%s: %d records seen, want %d", g.protocol, len(counts), g.sent)
	}
	want := map[string]int64{}
	for p := range groupPartitions {
		want[fmt.Sprintf("%s-%d", g.topic, p)] = int64(g.sent / groupPartitions)
	}
	got := map[string]int64{}
	until(g.t, g.protocol+": all committed", func() (bool, string) {
		clear(got)
		if err := g.c.admin("committed", adminArgs{Group: g.group, Topic: g.topic}, &got); err != nil {
			return false, err.Error()
		}
		return maps.Equal(got, want), fmt.Sprintf("%v, want %v", got, want)
	})
}

func TestIntegrationGroupsShareEachRecordOnce(t *testing.T) {
	each(t, func(library) bool { return true }, func(t *testing.T, l library, c client) {
		for _, protocol := range l.protocols {
			t.Run(protocol, func(t *testing.T) {
				g := newGroupTest(t, l, c, protocol, false)
				a, b := g.group+"-a", g.group+"-b"
				g.join(a)
				g.settled(map[string]int{a: 6})
				g.send(20)
				g.join(b)
				states := g.settled(map[string]int{a: 3, b: 3})
				if n := states[a].Revoked; (protocol == "eager" && n != 6) || (protocol != "eager" && n != 3) {
					t.Errorf("%s: the first member gave up %d partitions when the second came", protocol, n)
				}
				g.send(20)
				g.leave(a)
				g.settled(map[string]int{b: 6})
				g.send(20)
				g.leave(b)
				g.once()
			})
		}
	})
}

// A static member that comes back within its session gets what it had, and the
// others do not notice.
func TestIntegrationStaticMembersComeBackUnnoticed(t *testing.T) {
	each(t, func(l library) bool { return len(l.static) > 0 }, func(t *testing.T, l library, c client) {
		for _, protocol := range l.static {
			t.Run(protocol, func(t *testing.T) {
				g := newGroupTest(t, l, c, protocol, true)
				a, b := g.group+"-a", g.group+"-b"
				g.join(a)
				g.join(b)
				before := g.settled(map[string]int{a: 3, b: 3})
				g.send(10)
				g.leave(a)
				g.join(a)
				after := g.settled(map[string]int{a: 3, b: 3})
				if !slices.Equal(before[a].Assigned, after[a].Assigned) || after[b].Revoked != before[b].Revoked {
					t.Errorf("%s: before the restart %+v, after it %+v", protocol, before, after)
				}
				g.send(10)
				g.leave(a)
				g.leave(b)
				g.once()
			})
		}
	})
}
