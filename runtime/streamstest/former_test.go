package streamstest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// visits is a program with every kind of state, under the names that name gives.
func visits(t *testing.T, store func(name string) (string, []streams.Option)) *topology.Topology {
	t.Helper()
	with := func(name string, opts ...streams.Option) []streams.Option {
		name, former := store(name)
		return append(append(opts, streams.Store(name)), former...)
	}
	b := streams.NewBuilder("visits")
	in := b.From[string, string]("in")
	pages := in.GroupBy(func(_, page string) string { return page })
	pages.Count(with("pages")...)
	pages.Windowed(streams.Tumbling(time.Minute)).Count(with("minutes", streams.EmitOnClose())...).ToStream(streams.Keyed).To("minutes-out")
	b.Table[string, string]("users", with("users")...)
	name, former := store("seen")
	seen := streams.NewState[string, int64](name, former...)
	in.SelectKey(func(k, _ string) string { return k }).
		Process(func(c *streams.Context[string, int64], k, _ string) {
			n, _ := seen.Get(c, k)
			seen.Put(c, k, n+1)
			c.SetTimer("gone", c.Timestamp().Add(time.Minute))
		}, streams.Uses(seen), streams.OnTimer("gone", func(c *streams.Context[string, int64], k string) {
			n, _ := seen.Get(c, k)
			c.Forward(k, n)
		})).To("gone")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func asBefore(name string) (string, []streams.Option) { return name, nil }

func renamed(name string) (string, []streams.Option) {
	return "new-" + name, []streams.Option{streams.FormerName(name)}
}

// A program whose stores have new names goes on with the state, the topics and
// the timers of the one before, also after crashes and without the local state.
func TestFormerNameKeepsTheState(t *testing.T) {
	topics := slices.Clone(streamstest.New(t, visits(t, asBefore), streamstest.Options{}).Topics())
	streamstest.Run(t, visits(t, asBefore), streamstest.Options{IdleAfter: time.Minute}, func(r *streamstest.Running) {
		in := streamstest.Input[string, string](r, "in")
		streamstest.Input[string, string](r, "users").Send("u", "Ann", r.Now())
		in.Send("u", "home", r.Now())
		in.Send("v", "home", r.Now())
		r.Wait()
		r.Kill()
		if err := r.RestartWith(visits(t, renamed), streamstest.Options{IdleAfter: time.Minute}); err != nil {
			t.Fatalf("the renamed program: %v", err)
		}
		if got := r.Topics(); !slices.Equal(got, topics) {
			t.Errorf("the topics are %q, expected those of before, %q", got, topics)
		}
		if _, _, err := engine.Get[string, int64](r, "pages", "home"); !errors.Is(err, engine.ErrUnknownStore) {
			t.Errorf("a query by the former name: %v", err)
		}
		in.Send("u", "home", r.Now())
		r.Wait()
		for _, crash := range []func(){r.Kill, r.PowerCut, func() {}} {
			if n, ok, err := engine.Get[string, int64](r, "new-pages", "home"); n != 3 || err != nil {
				t.Errorf("home: %d %v %v, expected 3 visits", n, ok, err)
			}
			if n, _, err := engine.Get[string, int64](r, "new-seen", "u"); n != 2 || err != nil {
				t.Errorf("u was seen %d times (%v), expected 2", n, err)
			}
			if name, _, err := engine.Get[string, string](r, "new-users", "u"); name != "Ann" || err != nil {
				t.Errorf("user u is %q (%v)", name, err)
			}
			crash()
			r.Restart()
			r.Wait()
		}
		r.Advance(4 * time.Minute)
		var minutes, gone []string
		for _, x := range streamstest.Output[streams.Windowed[string], int64](r, "minutes-out").ReadAll() {
			minutes = append(minutes, fmt.Sprint(x.Key.Key, " ", x.Value))
		}
		for _, x := range streamstest.Output[string, int64](r, "gone").ReadAll() {
			gone = append(gone, fmt.Sprint(x.Key, " ", x.Value))
		}
		slices.Sort(gone)
		if !slices.Equal(minutes, []string{"home 3"}) || !slices.Equal(gone, []string{"u 2", "v 1"}) {
			t.Errorf("minutes %q, timers %q: expected the one of three visits and a timer each of before", minutes, gone)
		}
		text := r.Plan() + visits(t, renamed).Describe()
		for _, want := range []string{"store   new-pages (key-value), kept as pages, its FormerName, changelog visits-pages-changelog", "new-pages: Count store new-pages (kept as pages, its FormerName)"} {
			if !strings.Contains(text, want) {
				t.Errorf("it does not say %q:\n%s", want, text)
			}
		}
		// Back to the old names, without the option: they are what is kept.
		if err := r.RestartWith(visits(t, asBefore), streamstest.Options{IdleAfter: time.Minute}); err != nil {
			t.Errorf("the program of before: %v", err)
		}
	})
}
