package kafka

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// idle is a member whose client has nobody to talk to.
func idle(t testing.TB, cfg logclient.MemberConfig) *member {
	cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	m := &member{
		log: &Log{cfg: Config{Logger: slog.New(slog.DiscardHandler)}, members: map[*member]bool{}}, group: "app", cfg: cfg, layout: layoutOf(cfg.Units),
		cl: cl, ready: make(chan struct{}), gone: t.Context(), news: make(chan struct{}),
		have: map[record.TopicPartition]bool{}, releasing: map[record.TopicPartition]bool{},
	}
	close(m.ready)
	return m
}

var twoUnits = []logclient.Unit{
	{ID: "0_0", Partitions: []record.TopicPartition{{Topic: "in", Partition: 0}, {Topic: "other", Partition: 0}}},
	{ID: "0_1", Partitions: []record.TopicPartition{{Topic: "in", Partition: 1}, {Topic: "other", Partition: 1}}},
}

// joined is what a member of a group says of itself.
func joined(id string, generation int32, about aboutMember, owned ...record.TopicPartition) kmsg.JoinGroupResponseMember {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics, meta.Generation, meta.UserData = 3, []string{"in", "other"}, generation, packUserData(about)
	names, parts := byTopic(owned)
	for _, name := range names {
		p := kmsg.NewConsumerMemberMetadataOwnedPartition()
		p.Topic, p.Partitions = name, parts[name]
		meta.OwnedPartitions = append(meta.OwnedPartitions, p)
	}
	m := kmsg.NewJoinGroupResponseMember()
	m.MemberID, m.ProtocolMetadata = id, meta.AppendTo(nil)
	return m
}

// deal is what each member gets of the dealing that m leads.
func deal(t *testing.T, m *member, members ...kmsg.JoinGroupResponseMember) map[string][]record.TopicPartition {
	t.Helper()
	d, _, err := balancer{m}.MemberBalancer(members)
	if err != nil {
		t.Fatal(err)
	}
	return handedOut(t, m, d, map[string]int32{"in": 2, "other": 2})
}

// handedOut is what each member gets, of topics as the group's client knows them.
func handedOut(t *testing.T, m *member, d kgo.GroupMemberBalancer, topics map[string]int32) map[string][]record.TopicPartition {
	t.Helper()
	given := map[string][]record.TopicPartition{}
	for _, a := range d.Balance(topics).IntoSyncAssignment() {
		if _, err := (balancer{m}).ParseSyncAssignment(a.MemberAssignment); err != nil {
			t.Fatal(err)
		}
		given[a.MemberID] = m.dealt
	}
	return given
}

func TestAnOutdatedClaimKeepsNothingFromItsOwnerAndWaitsForNobodyElse(t *testing.T) {
	m := idle(t, logclient.MemberConfig{Units: twoUnits})
	all := append(twoUnits[0].Partitions, twoUnits[1].Partitions...)
	for _, c := range []struct {
		name    string
		members []kmsg.JoinGroupResponseMember
		a, b    int // partitions that they get now
	}{
		{"nobody owns anything", []kmsg.JoinGroupResponseMember{joined("a", -1, aboutMember{}), joined("b", -1, aboutMember{})}, 2, 2},
		{"a has everything: b waits for it", []kmsg.JoinGroupResponseMember{joined("a", 7, aboutMember{}, all...), joined("b", -1, aboutMember{})}, 2, 0},
		{"b owned everything once: a keeps what it has", []kmsg.JoinGroupResponseMember{joined("a", 7, aboutMember{}, all...), joined("b", 5, aboutMember{}, all...)}, 2, 0},
		{"a part of a unit is as good as all", []kmsg.JoinGroupResponseMember{joined("a", 7, aboutMember{}, all[0], all[2]), joined("b", 7, aboutMember{})}, 2, 0},
	} {
		given := deal(t, m, c.members...)
		if len(given["a"]) != c.a || len(given["b"]) != c.b {
			t.Errorf("%s: a gets %v, b %v, expected %d and %d", c.name, given["a"], given["b"], c.a, c.b)
		}
	}
}

// A member without units, whose client has not heard of a topic that the log knows.
func TestATopicOfWhichTheClientHasNotHeardIsDealt(t *testing.T) {
	m := idle(t, logclient.MemberConfig{Topics: []string{"in", "other"}})
	m.log.topics = newTopicCache(m.log)
	m.log.topics.known["other"] = &topic{name: "other", parts: make([]leader, 3)}
	for name, heard := range map[string]map[string]int32{"of one topic": {"in": 2}, "that the other is empty": {"in": 2, "other": 0}, "of nothing": nil} {
		d, _, err := balancer{m}.MemberBalancer([]kmsg.JoinGroupResponseMember{joined("a", -1, aboutMember{})})
		if err != nil {
			t.Fatal(err)
		}
		got := handedOut(t, m, d, heard)["a"]
		if want := int(heard["in"]) + 3; len(got) != want {
			t.Errorf("a client that has heard %s: %v, expected %d partitions", name, got, want)
		}
	}
}

func TestANewerVersionIsRefusedWithWhatToDo(t *testing.T) {
	m := idle(t, logclient.MemberConfig{Units: twoUnits})
	newer := joined("a", 1, aboutMember{})
	meta := kmsg.NewConsumerMemberMetadata()
	if err := meta.ReadFrom(newer.ProtocolMetadata); err != nil {
		t.Fatal(err)
	}
	meta.UserData[0] = userDataVersion + 1
	newer.ProtocolMetadata = meta.AppendTo(nil)
	if _, _, err := (balancer{m}).MemberBalancer([]kmsg.JoinGroupResponseMember{newer}); err == nil {
		t.Fatal("a member of a newer version was dealt to")
	}
	_, err := m.Next(t.Context())
	if err == nil || !strings.Contains(err.Error(), "has version 2, this program knows up to 1: another instance runs a newer version of millstream, update this one") {
		t.Fatalf("Next: %v", err)
	}
	if logclient.Classify(err) != logclient.ClassFatal {
		t.Fatalf("class %v of %v", logclient.Classify(err), err)
	}
}

func TestLayoutsAreThatOfTheUnitsInWhateverOrder(t *testing.T) {
	if layoutOf(twoUnits) != layoutOf([]logclient.Unit{twoUnits[1], twoUnits[0]}) {
		t.Error("the order of units counts")
	}
	other := []logclient.Unit{twoUnits[0], {ID: "0_1", Partitions: twoUnits[1].Partitions[:1]}}
	if layoutOf(twoUnits) == layoutOf(other) {
		t.Error("other partitions are the same layout")
	}
}

// A loss that ends with the same member id voids the generations up to it.
func TestNothingRidesOverALoss(t *testing.T) {
	m := idle(t, logclient.MemberConfig{})
	tp := twoUnits[0].Partitions[0]
	g := func(id int32) logclient.Generation { return logclient.Generation{Group: "app", ID: id, Member: "m"} }
	hold := func(id int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.holder, m.standing, m.have[tp] = "m", g(id), true
	}
	in := logclient.Positions{tp: {}}
	hold(3)
	if _, holds := m.holds(in, g(2)); !holds {
		t.Fatal("a member that lost nothing does not hold its partition")
	}
	m.lost(t.Context(), nil, nil)
	if _, holds := m.holds(in, g(3)); holds {
		t.Fatal("a member holds what it has lost")
	}
	a, err := m.Next(t.Context())
	if err != nil || !a.Lost || len(a.Partitions) != 0 {
		t.Fatalf("after a loss: %+v, %v", a, err)
	}
	if err := m.Done(a); err != nil {
		t.Fatal(err)
	}
	hold(5)
	if _, holds := m.holds(in, g(3)); holds {
		t.Fatal("a generation of before the loss rides over it")
	}
	if _, holds := m.holds(in, g(4)); !holds {
		t.Fatal("a generation of after the loss does not ride")
	}
	m.log.members[m] = true
	tries := 0
	err = m.log.ride(t.Context(), in, g(3), func(logclient.Generation) error { tries++; return kerr.IllegalGeneration })
	if tries != 1 || !errors.Is(err, kerr.IllegalGeneration) {
		t.Fatalf("%d tries, %v: expected the refusal at once", tries, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	err = m.log.ride(ended, in, g(4), func(logclient.Generation) error {
		if tries++; tries == 3 {
			cancel()
		}
		return kerr.RebalanceInProgress
	})
	if tries != 3 || !errors.Is(err, kerr.RebalanceInProgress) {
		t.Fatalf("%d tries, %v: expected it to end with its context", tries, err)
	}
}

func FuzzUserData(f *testing.F) {
	f.Add(packUserData(aboutMember{Name: "a", Lag: map[string]int64{"0_0": 7}}))
	f.Add(packUserData(aboutGroup{Instances: []logclient.Instance{{Name: "a", Units: []string{"0_0"}}}}))
	f.Add(packUserData(aboutGroup{Self: -1}))
	f.Add([]byte{userDataVersion})
	f.Add([]byte{9, 1, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		var member aboutMember
		if err := unpackUserData("data", data, &member); err == nil && len(data) > 0 {
			var again aboutMember
			if err := unpackUserData("data", packUserData(member), &again); err != nil {
				t.Fatal(err)
			}
		}
		m := idle(t, logclient.MemberConfig{})
		a := kmsg.NewConsumerMemberAssignment()
		a.UserData = data
		if _, err := (balancer{m}).ParseSyncAssignment(a.AppendTo(nil)); err == nil {
			m.assigned(t.Context(), nil, nil) // whatever it says, it is taken in
		}
		balancer{m}.ParseSyncAssignment(data)
	})
}
