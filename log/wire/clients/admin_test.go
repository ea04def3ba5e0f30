package clients

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// description is the answer of the operation describe.
type description struct {
	Partitions int
	Configs    map[string]string // those that the topic itself has
}

func TestIntegrationEachClientAdministers(t *testing.T) {
	each(t, func(library) bool { return true }, func(t *testing.T, l library, c client) {
		a := &adminTest{t: t, l: l, c: c, topic: name(t, "topic")}
		a.topics()
		a.records()
		a.groups()
		a.drop()
	})
}

type adminTest struct {
	t     *testing.T
	l     library
	c     client
	topic string
	left  int // records in partition 0
}

// do carries out an operation, unless the client lacks it: then it says false.
func (a *adminTest) do(op string, args adminArgs, result any) bool {
	a.t.Helper()
	if slices.Contains(a.l.adminLacks, op) {
		return false
	}
	if args.Topic == "" {
		args.Topic = a.topic
	}
	if err := a.c.admin(op, args, result); err != nil {
		a.t.Fatalf("%s: %v", op, err)
	}
	return true
}

func (a *adminTest) described(partitions int, configs map[string]string) {
	a.t.Helper()
	until(a.t, "the topic's description", func() (bool, string) {
		var d description
		a.do("describe", adminArgs{}, &d)
		return d.Partitions == partitions && maps.Equal(d.Configs, configs), "" // Kafka's controller tells its broker a little later
	})
}

func ref(s string) *string { return &s }

func (a *adminTest) topics() {
	a.t.Helper()
	a.do("create", adminArgs{Partitions: 3, Configs: map[string]*string{"retention.ms": ref("-1"), "cleanup.policy": ref("compact")}}, nil)
	a.described(3, map[string]string{"retention.ms": "-1", "cleanup.policy": "compact"})
	if err := a.c.admin("create", adminArgs{Topic: a.topic, Partitions: 3}, nil); err == nil {
		a.t.Error("a topic was created twice")
	}
	a.do("alter", adminArgs{Configs: map[string]*string{"cleanup.policy": nil, "segment.bytes": ref("2097152"), "retention.ms": ref("-1")}}, nil)
	a.described(3, map[string]string{"retention.ms": "-1", "segment.bytes": "2097152"})
	if err := a.c.admin("alter", adminArgs{Topic: a.topic, Configs: map[string]*string{"segment.bytes": ref("many")}}, nil); err == nil {
		a.t.Error("segment.bytes=many was taken")
	}
	a.do("grow", adminArgs{Partitions: 5}, nil)
	a.described(5, map[string]string{"retention.ms": "-1", "segment.bytes": "2097152"})
	if err := a.c.admin("grow", adminArgs{Topic: a.topic, Partitions: 4}, nil); err == nil {
		a.t.Error("a topic shrank")
	}
	var names []string
	a.do("topics", adminArgs{}, &names)
	if !slices.Contains(names, a.topic) {
		a.t.Errorf("topics %v lack %s", names, a.topic)
	}
}

func (a *adminTest) offset(at, want int64) {
	a.t.Helper()
	var got int64
	if a.do("offset", adminArgs{At: at}, &got); got != want {
		a.t.Errorf("the offset at %d is %d, want %d", at, got, want)
	}
}

func (a *adminTest) records() {
	a.t.Helper()
	records := someRecords(1, 50) // times are 7 ms apart
	if _, err := startFranzGo(a.t, target(a.t)).produce(produceArgs{Topic: a.topic, Codec: "none", Acks: "all", Idempotent: true, Records: records}); err != nil {
		a.t.Fatal(err)
	}
	a.offset(-2, 0)
	a.offset(-1, 50)
	a.offset(records[30].Time, 30)
	a.offset(records[30].Time+1, 31)
	a.left = 50
	if a.do("trim", adminArgs{Partition: 0, Offset: 20}, nil) {
		a.offset(-2, 20)
		a.left = 30
		got, err := a.c.read(readArgs{Topic: a.topic, Isolation: "read_uncommitted"})
		if err != nil {
			a.t.Fatal(err)
		}
		sameRecords(a.t, a.l, "after deletion", inOrder(got), placed(records)[20:])
	}
}

// groupState is the answer of the operation group.
type groupState struct {
	State   string
	Members int
}

func (a *adminTest) groups() {
	a.t.Helper()
	group := name(a.t, "group")
	if err := a.c.join(joinArgs{Member: group, Group: group, Protocol: "eager", Topics: []string{a.topic}}); err != nil {
		a.t.Fatal(err)
	}
	until(a.t, "a stable group that has read all", func() (bool, string) {
		var s groupState
		if err := a.c.admin("group", adminArgs{Group: group}, &s); err != nil {
			return false, err.Error() // Kafka's coordinator is not there before the first group is
		}
		states, err := a.c.members()
		if err != nil {
			a.t.Fatal(err)
		}
		return s == groupState{"Stable", 1} && states[group].Seen == a.left, fmt.Sprintf("%+v, %+v", s, states)
	})
	if err := a.c.admin("forget", adminArgs{Group: group}, nil); err == nil {
		a.t.Error("a group with a member was deleted")
	}
	if _, err := a.c.leave(group); err != nil {
		a.t.Fatal(err)
	}
	var s groupState
	if a.do("group", adminArgs{Group: group}, &s); s != (groupState{"Empty", 0}) {
		a.t.Errorf("the group is %+v after its member left", s)
	}
	committed := map[string]int64{}
	if a.do("committed", adminArgs{Group: group}, &committed); committed[a.topic+"-0"] != 50 {
		a.t.Errorf("committed %v, want partition 0 at 50", committed)
	}
	if a.do("reset", adminArgs{Group: group, Partition: 0, Offset: 33}, nil) {
		if a.do("committed", adminArgs{Group: group}, &committed); committed[a.topic+"-0"] != 33 {
			a.t.Errorf("committed %v after a reset to 33", committed)
		}
	}
	var names []string
	if a.do("groups", adminArgs{}, &names); !slices.Contains(names, group) {
		a.t.Errorf("groups %v lack %s", names, group)
	}
	a.do("forget", adminArgs{Group: group}, nil)
	if a.do("groups", adminArgs{}, &names); slices.Contains(names, group) {
		a.t.Errorf("groups %v have %s, which was deleted", names, group)
	}
}

func (a *adminTest) drop() {
	a.t.Helper()
	a.do("drop", adminArgs{}, nil)
	until(a.t, "the topic gone", func() (bool, string) {
		var names []string
		a.do("topics", adminArgs{}, &names)
		return !slices.Contains(names, a.topic), ""
	})
}
