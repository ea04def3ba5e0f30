package quota

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
)

func text(s string) *string { return &s }

// entity reads "user=a client-id= ip=*" pairs: type, name; "*" is the default.
func entity(pairs ...string) Entity {
	var e Entity
	for i := 0; i < len(pairs); i += 2 {
		p := Part{Type: pairs[i]}
		if pairs[i+1] != "*" {
			p.Name = text(pairs[i+1])
		}
		e = append(e, p)
	}
	return e
}

func set(e Entity, key string, v float64) Alteration {
	return Alteration{e, []Op{{Key: key, Value: v}}}
}

func settings(t *testing.T, changes ...Alteration) *Settings {
	t.Helper()
	s, errs := (*Settings)(nil).Alter(changes)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return s
}

// Kafka's order, most specific first; each is taken away after it was found.
func TestTheMostSpecificQuotaCounts(t *testing.T) {
	const key = "producer_byte_rate"
	order := []struct {
		entity Entity
		owner  Owner
	}{
		{entity(User, "u", ClientID, "c"), Owner{User: "u", Client: "c"}},
		{entity(User, "u", ClientID, "*"), Owner{User: "u", Client: "c"}},
		{entity(User, "u"), Owner{User: "u"}},
		{entity(User, "*", ClientID, "c"), Owner{User: "u", Client: "c"}},
		{entity(User, "*", ClientID, "*"), Owner{User: "u", Client: "c"}},
		{entity(User, "*"), Owner{User: "u"}},
		{entity(ClientID, "c"), Owner{Client: "c"}},
		{entity(ClientID, "*"), Owner{Client: "c"}},
	}
	var all []Alteration
	for i, o := range order {
		all = append(all, set(o.entity, key, float64(i+1)))
	}
	s := settings(t, all...)
	for i, o := range order {
		if got, want := s.Limit(ProducerBytes, "u", "c"), (Limit{o.owner, float64(i + 1)}); got != want {
			t.Errorf("level %d: %v, expected %v", i+1, got, want)
		}
		if got := s.Limit(ConsumerBytes, "u", "c"); got.Rate != 0 {
			t.Errorf("level %d: consumers have %v", i+1, got)
		}
		var errs []error
		s, errs = s.Alter([]Alteration{{o.entity, []Op{{Key: key, Remove: true}}}})
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
	}
	if s.Has(ProducerBytes) || len(s.Entries()) != 0 {
		t.Errorf("something is left: %v", s.Entries())
	}
}

func TestConnectionQuotas(t *testing.T) {
	s := settings(t, set(entity(IP, "*"), "connection_creation_rate", 5), set(entity(IP, "0:0:0:0:0:0:0:1"), "connection_creation_rate", 9))
	if a, b := s.ConnectionLimit("::1"), s.ConnectionLimit("10.0.0.1"); a.Rate != 9 || b.Rate != 5 || a.Owner == b.Owner {
		t.Errorf("%v, %v", a, b)
	}
}

func TestWhatIsRefused(t *testing.T) {
	const key = "producer_byte_rate"
	for _, c := range []struct {
		what string
		Alteration
	}{
		{"an empty entity", set(nil, key, 1)},
		{"a strange type", set(entity("group", "g"), key, 1)},
		{"a type twice", set(entity(User, "a", User, "b"), key, 1)},
		{"an empty name", set(entity(User, ""), key, 1)},
		{"an address with a user", set(entity(User, "a", IP, "1.1.1.1"), "connection_creation_rate", 1)},
		{"what is no address", set(entity(IP, "host"), "connection_creation_rate", 1)},
		{"a strange key", set(entity(User, "a"), "records_rate", 1)},
		{"an address' key for a user", set(entity(User, "a"), "connection_creation_rate", 1)},
		{"a user's key for an address", set(entity(IP, "1.1.1.1"), key, 1)},
		{"zero", set(entity(User, "a"), key, 0)},
		{"less", set(entity(User, "a"), key, -1)},
		{"no number", set(entity(User, "a"), key, math.NaN())},
		{"a fraction of a byte", set(entity(User, "a"), key, 1.5)},
		{"too many connections", set(entity(IP, "*"), "connection_creation_rate", 1e10)},
		{"a key twice", Alteration{entity(User, "a"), []Op{{Key: key, Value: 1}, {Key: key, Value: 2}}}},
		{"removing a strange key", Alteration{entity(User, "a"), []Op{{Key: "x", Remove: true}}}},
		{"one of two that is wrong", Alteration{entity(User, "a"), []Op{{Key: key, Value: 1}, {Key: "x", Value: 2}}}},
	} {
		s, errs := (*Settings)(nil).Alter([]Alteration{c.Alteration})
		if !errors.Is(errs[0], ErrInvalid) {
			t.Errorf("%s: %v", c.what, errs[0])
		}
		if len(s.Entries()) > 0 {
			t.Errorf("%s: changed to %v", c.what, s.Entries())
		}
	}
	_, errs := (*Settings)(nil).Alter([]Alteration{set(entity(User, "a"), key, 1), set(entity(User, "a"), key, 2)})
	if errs[0] != nil || !errors.Is(errs[1], ErrInvalid) {
		t.Errorf("an entity twice: %v", errs)
	}
	if s := settings(t, set(entity(User, "a"), "request_percentage", 12.5)); s.Limit(RequestTime, "a", "").Rate != 12.5 {
		t.Error("a fraction of a percent is lost")
	}
}

func TestEntriesMakeTheSameSettings(t *testing.T) {
	s := settings(t, set(entity(User, "u", ClientID, "*"), "producer_byte_rate", 7), set(entity(User, "*"), "request_percentage", 2.5),
		set(entity(IP, "*"), "connection_creation_rate", 3), set(entity(User, "u"), "controller_mutation_rate", 0.5))
	again, err := NewSettings(s.Entries())
	if err != nil || !reflect.DeepEqual(s, again) {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := NewSettings([]Entry{{entity(User, "u"), map[string]float64{"x": 1}}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a file with a strange key: %v", err)
	}
}

func TestSelecting(t *testing.T) {
	s := settings(t, set(entity(User, "u", ClientID, "c"), "producer_byte_rate", 1), set(entity(User, "u"), "producer_byte_rate", 1),
		set(entity(User, "*"), "producer_byte_rate", 1), set(entity(ClientID, "c"), "producer_byte_rate", 1), set(entity(IP, "*"), "connection_creation_rate", 1))
	named, dflt, any := Match{Part: Part{User, text("u")}}, Match{Part: Part{Type: User}}, Match{Part: Part{Type: User}, AnyName: true}
	for _, c := range []struct {
		what   string
		filter []Match
		strict bool
		want   int
	}{
		{"everything", nil, false, 5},
		{"nothing but nothing", nil, true, 0},
		{"a user, with any client id", []Match{named}, false, 2},
		{"a user alone", []Match{named}, true, 1},
		{"the default user", []Match{dflt}, false, 1},
		{"any user", []Match{any}, false, 3},
		{"any user alone", []Match{any}, true, 2},
		{"both", []Match{named, {Part: Part{ClientID, text("c")}}}, true, 1},
	} {
		got, err := s.Select(c.filter, c.strict)
		if err != nil || len(got) != c.want {
			t.Errorf("%s: %d entries, %v, expected %d", c.what, len(got), err, c.want)
		}
	}
	for what, filter := range map[string][]Match{"a type twice": {named, any}, "an address and a user": {named, {Part: Part{Type: IP}}}, "no type": {{}}} {
		if _, err := s.Select(filter, false); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Select([]Match{{Part: Part{Type: "group"}}}, false); !errors.Is(err, ErrUnknownType) {
		t.Errorf("a strange type: %v", err)
	}
}

func TestABucketHoldsTenSecondsAndOwesTheRest(t *testing.T) {
	now, m := time.Unix(1000, 0), NewMeters()
	l := Limit{Owner{Kind: ProducerBytes, User: "u"}, 100}
	for _, c := range []struct {
		after time.Duration
		use   float64
		want  time.Duration
	}{
		{0, 1000, 0},                    // the burst
		{0, 50, 500 * time.Millisecond}, // half a second's worth too much
		{0, 0, 500 * time.Millisecond},  // nothing passed
		{250 * time.Millisecond, 0, 250 * time.Millisecond},
		{250 * time.Millisecond, 0, 0},
		{time.Second, 100, 0},    // as much as came
		{-time.Hour, 0, 0},       // a clock that goes back gives nothing
		{2 * time.Hour, 1000, 0}, // and no more than the burst comes back
		{0, 1, 10 * time.Millisecond},
	} {
		now = now.Add(c.after)
		if got := m.Use(now, l, c.use); got != c.want {
			t.Errorf("%v later, %v used: throttled %v, expected %v", c.after, c.use, got, c.want)
		}
	}
	if m.Use(now, Limit{}, 1e18) != 0 {
		t.Error("without a quota somebody is throttled")
	}
	if got := m.Use(now, Limit{Owner{Kind: ProducerBytes, User: "v"}, 100}, 1001); got != 10*time.Millisecond {
		t.Errorf("somebody else: %v", got)
	}
}

func TestTryTakesNothingFromWhoOwes(t *testing.T) {
	now, m := time.Unix(1000, 0), NewMeters()
	l := Limit{Owner{Kind: ControllerMutation, User: "u"}, 1}
	if m.Try(now, l, 20) != 0 { // 11 are there; the debt of 9 is the next one's
		t.Error("who owed nothing was refused")
	}
	for range 3 {
		if got := m.Try(now, l, 20); got != 9*time.Second {
			t.Errorf("refused for %v, expected 9s", got)
		}
	}
	if m.Try(now.Add(9*time.Second), l, 1) != 0 {
		t.Error("the debt is paid, and still refused")
	}
}

func TestRequestTimeIsThrottledForASecondAtMost(t *testing.T) {
	if got := NewMeters().Use(time.Unix(1, 0), Limit{Owner{Kind: RequestTime}, 1}, 1e6); got != time.Second {
		t.Errorf("%v", got)
	}
}

// Over a long time a client that obeys gets its rate and no more.
func TestTheAverageIsTheQuota(t *testing.T) {
	begin, m := time.Unix(1000, 0), NewMeters()
	l := Limit{Owner{Kind: ConsumerBytes, User: "u"}, 1000}
	now, total := begin, 0.0
	for now.Sub(begin) < time.Hour {
		total += 7919
		now = now.Add(max(m.Use(now, l, 7919), time.Millisecond))
	}
	if rate := total / now.Sub(begin).Seconds(); rate < 999 || rate > 1010 {
		t.Errorf("%.1f bytes/s, expected 1000", rate)
	}
}

func TestFullBucketsAreForgotten(t *testing.T) {
	now, m := time.Unix(1000, 0), NewMeters()
	debtor := Limit{Owner{Kind: ProducerBytes, User: "debtor"}, 1}
	m.Use(now, debtor, 1e6)
	for i := range 10 * fullSweep {
		now = now.Add(10 * time.Millisecond)
		m.Use(now, Limit{Owner{Kind: ProducerBytes, Client: string(rune('a' + i))}, 100}, 1)
	}
	if n := len(m.buckets); n > 2*fullSweep {
		t.Errorf("%d buckets of clients of long ago", n)
	}
	if m.Debt(now, debtor) == 0 {
		t.Error("a debt is forgotten")
	}
}
