package engine_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// stored is a store with its changelog, repartitioned a topic of a store's verb.
func stored(name string) engine.Stored {
	return engine.Stored{Store: name, Topic: "app-" + name + "-changelog"}
}

func repartitioned(name string) engine.Stored {
	return engine.Stored{Topic: "app-" + name + "-repartition"}
}

func TestAChangedProgramIsToldThePlan(t *testing.T) {
	type stores = []engine.Stored
	type build = func(*streams.Stream[string, string])
	count := func(name string, opts ...streams.Option) build {
		return func(s *streams.Stream[string, string]) {
			s.GroupByKey().Count(append(opts, streams.Store(name))...)
		}
	}
	rekeyed := func(name string, opts ...streams.Option) build {
		return func(s *streams.Stream[string, string]) {
			s.GroupBy(func(_, v string) string { return v }).Count(append(opts, streams.Store(name))...)
		}
	}
	table := func(name string) build {
		return func(s *streams.Stream[string, string]) { s.ToTable(streams.Store(name)) }
	}
	program := func(t *testing.T, builds []build) *topology.Topology {
		t.Helper()
		b := streams.NewBuilder("app")
		s := b.From[string, string]("lines")
		for _, f := range builds {
			f(s)
		}
		topo, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return topo
	}
	for _, c := range []struct {
		name        string
		before, now []build
		want        engine.ChangePlan
		says        []string
	}{
		{"one more", []build{count("a")}, []build{count("a"), table("b")},
			engine.ChangePlan{Kept: stores{stored("a")}, New: stores{stored("b")}},
			[]string{`unchanged: store "a" (topic app-a-changelog); new: store "b" (topic app-b-changelog); the two ways out: `}},
		{"one less, with its topics", []build{count("a"), rekeyed("b")}, []build{count("a")},
			engine.ChangePlan{Kept: stores{stored("a")}, Orphaned: stores{stored("b"), repartitioned("b")}},
			[]string{`gone, their topics orphaned: store "b" (topic app-b-changelog), topic app-b-repartition; the two`}},
		{"alike, with its topics", []build{rekeyed("a"), table("t")}, []build{rekeyed("b"), table("t")},
			engine.ChangePlan{Kept: stores{stored("t")}, Alike: []engine.Renamed{{Was: stored("a"), Is: stored("b")}, {Was: repartitioned("a"), Is: repartitioned("b")}}},
			[]string{`perhaps renamed: store "a" (topic app-a-changelog), now store "b" (topic app-b-changelog), topic app-a-repartition, now topic app-b-repartition (give the new name its old one with streams.FormerName`}},
		{"renamed, and one more", []build{rekeyed("a")}, []build{rekeyed("b", streams.FormerName("a")), table("t")},
			engine.ChangePlan{Kept: stores{repartitioned("a")},
				Renamed: []engine.Renamed{{Was: stored("a"), Is: engine.Stored{Store: "b", Topic: "app-a-changelog"}}}, New: stores{stored("t")}},
			[]string{`unchanged: topic app-a-repartition; renamed by FormerName: store "a" (topic app-a-changelog), now store "b" (topic app-a-changelog); new: store "t" (topic app-t-changelog); the two`}},
		{"another order", []build{count("a"), count("b")}, []build{count("b"), count("a")},
			engine.ChangePlan{Kept: stores{stored("a"), stored("b")}}, []string{`state "a" was "#0, Count`}},
		{"another serde", []build{count("a")}, []build{table("a")},
			engine.ChangePlan{Altered: stores{stored("a")}},
			[]string{`of the same name but different: store "a" (topic app-a-changelog); the two`}},
		{"another name and another serde is no renaming", []build{count("a")}, []build{table("b")},
			engine.ChangePlan{Orphaned: stores{stored("a")}, New: stores{stored("b")}}, nil},
		{"two that it could be", []build{count("a"), count("b")}, []build{count("c"), count("d")},
			engine.ChangePlan{Orphaned: stores{stored("a"), stored("b")}, New: stores{stored("c"), stored("d")}}, nil},
		{"two that became one", []build{count("a"), count("b")}, []build{count("c")},
			engine.ChangePlan{Orphaned: stores{stored("a"), stored("b")}, New: stores{stored("c")}}, nil},
		{"names with dots and dashes", []build{count("a.b-c"), table("t")}, []build{count("a.b-d"), table("t")},
			engine.ChangePlan{Kept: stores{stored("t")}, Alike: []engine.Renamed{{Was: stored("a.b-c"), Is: stored("a.b-d")}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			run(t, w, program(t, c.before), config(lines(10, 1), 2, 1))
			w.log = w.log.Reopen()
			_, err := engine.NewOn(program(t, c.now), config(nil, 2, 1), w.backing())
			var changed *engine.ChangedError
			if !errors.As(err, &changed) {
				t.Fatalf("New: %v, want a ChangedError", err)
			}
			if got := changed.ChangePlan; !reflect.DeepEqual(got, c.want) {
				t.Errorf("the plan is\n%+v, want\n%+v", got, c.want)
			}
			for _, text := range append(c.says, "use a new application name", "or a new directory") {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the message lacks %q:\n%v", text, err)
				}
			}
			for _, k := range c.want.New { // nothing was made for what is refused
				if infos, err := w.log.Describe(t.Context(), []string{k.Topic}); err != nil || infos[0].Partitions > 0 {
					t.Errorf("topic %s was created for a program that is refused: %+v %v", k.Topic, infos, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the message is more than a line: %v", err)
			}
			// The plan's word on a renaming: the earlier names still start.
			w.log = w.log.Reopen()
			run(t, w, program(t, c.before), config(lines(10, 1), 2, 1))
		})
	}
}

// A plan of nothing is not told.
func TestAChangedProgramWithoutStoresHasNoPlan(t *testing.T) {
	err := &engine.ChangedError{App: "app", Changes: []string{"a was 1, is 2"}}
	if text := err.Error(); !strings.Contains(text, ": a was 1, is 2; the two ways out: ") {
		t.Error(text)
	}
}
