package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// upgrade is what can be different in a version of the program that upgrades are
// tested with; the zero value is the first version.
type upgrade struct {
	source             []streams.Option
	before, after      bool // a stateless operator in front of the counts, behind them
	noPeek, noSink     bool
	otherChain         string // topic of a chain of its own
	chainFirst         bool
	second             bool // a second store
	window             time.Duration
	emit               streams.Option
	reduce             bool
	every              bool
	counted            string // topic that is counted
	repartition        []streams.Option
	settings           map[string]string
	sinkValues, former bool
}

func (u upgrade) build(t *testing.T) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	chain := func() {
		if u.otherChain != "" {
			b.From[string, string](u.otherChain).To(u.otherChain + "-copy")
		}
	}
	if u.chainFirst {
		chain()
	}
	in := b.From[string, string]("lines", u.source...)
	s := in
	if !u.noPeek {
		s = s.Peek(func(_, _ string) {}, streams.Named("peek"))
	}
	if u.before {
		s = s.Filter(func(_, v string) bool { return !strings.HasSuffix(v, "never") }).MapValues(func(_, v string) string { return v })
	}
	if u.counted != "" {
		s = b.From[string, string](u.counted)
	}
	name, opts := "counts", []streams.Option{u.emit}
	if u.former {
		name, opts = "logins", append(opts, streams.FormerName("counts"))
	}
	if u.emit == (streams.Option{}) {
		opts[0] = streams.EmitOnClose()
	}
	opts = append(opts, streams.Store(name))
	if u.window == 0 {
		u.window = windowMS * time.Millisecond
	}
	g := s.GroupBy(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host },
		append(u.repartition, streams.Named("by-host"))...).
		Windowed(streams.Tumbling(u.window))
	var counts *streams.Stream[string, int64]
	key := func(k string, w streams.Window) string { return fmt.Sprintf("%s@%d", k, w.Start) }
	if u.reduce {
		counts = g.Aggregate(func() int64 { return 0 }, func(_, _ string, n int64) int64 { return n + 1 }, opts...).ToStream(key)
	} else {
		counts = g.Count(opts...).ToStream(key)
	}
	if u.after {
		counts = counts.FilterNot(func(_ string, n int64) bool { return n < 0 })
	}
	if u.every {
		counts = counts.Process(func(c *streams.Context[string, int64], k string, n int64) { c.Forward(k, n) }, streams.Named("tick"),
			streams.Every(time.Minute, func(*streams.Context[string, int64]) {}))
	}
	if u.sinkValues {
		counts.To("out", streams.Values[int64](serde.JSON[int64]()))
	} else if !u.noSink {
		counts.To("out")
	}
	if u.second {
		in.GroupByKey().Count(streams.Store("second"))
	}
	if !u.chainFirst {
		chain()
	}
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func (u upgrade) config(in []line) engine.Config {
	cfg := config(in, 2, 2)
	cfg.Settings = u.settings
	return cfg
}

// What keeps no state may change; the state goes on as if nothing had happened,
// and the log says once what is different.
func TestAProgramThatChangesWhereItKeepsNothingGoesOn(t *testing.T) {
	in := lines(400, 7)
	want := map[string]int64{}
	for _, l := range in {
		host, _, _ := strings.Cut(l.text, " ")
		want[fmt.Sprintf("%s@%d", host, l.at-l.at%windowMS)]++
	}
	for name, c := range map[string]struct {
		was, is upgrade
		says    string
	}{
		"nothing":                       {says: ""},
		"an operator in front":          {is: upgrade{before: true}, says: `new="Filter-1, MapValues-1"`},
		"an operator behind":            {is: upgrade{after: true}, says: "new=FilterNot-1"},
		"an operator less":              {is: upgrade{noPeek: true}, says: "gone=peek"},
		"a sink more":                   {was: upgrade{noSink: true}, says: "new=To-1"},
		"a sink less":                   {is: upgrade{noSink: true}, says: "gone=To-1"},
		"a chain of its own, behind":    {is: upgrade{otherChain: "other"}, says: `new="From-2, To-2"`},
		"a chain of its own is gone":    {was: upgrade{otherChain: "other"}, says: `gone="From-2, To-2"`},
		"another name, with FormerName": {is: upgrade{former: true}, says: `renamed="counts is called logins (FormerName)"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			half := c.was.config(in)
			half.Sources[0].Source = &slice{lines: in, chunk: 50, limit: 200}
			half.Bounded = false
			runUntil(t, w, c.was.build(t), half, 200)
			for i, says := range []string{c.says, ""} {
				w.log = w.log.Reopen()
				var told bytes.Buffer
				cfg := c.is.config(in)
				cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
				run(t, w, c.is.build(t), cfg)
				if says == "" && strings.Contains(told.String(), "the program has changed") {
					t.Errorf("start %d: nothing has changed, and it says\n%s", i, &told)
				}
				if !strings.Contains(told.String(), says) {
					t.Errorf("start %d: it does not say %s:\n%s", i, says, &told)
				}
			}
			if !c.was.noSink && !c.is.noSink {
				same(t, output(t, w.log, "out"), want)
			}
		})
	}
}

// What the state, or what is on its way to it, is made of must stay the same.
func TestAProgramThatChangesWhatItsStateIsMadeOfIsRefused(t *testing.T) {
	other := streams.Partitioner(func(_, _ string, n int32) int32 { return 0 })
	for name, c := range map[string]struct {
		was, is upgrade
		says    string
	}{
		"a store more":                 {is: upgrade{second: true}, says: `store "second"`},
		"a store less":                 {was: upgrade{second: true}, says: `store "second"`},
		"other windows":                {is: upgrade{window: time.Minute}, says: `store "counts" was`},
		"another moment to emit":       {is: upgrade{emit: streams.EmitOnCommit()}, says: `state "counts" was`},
		"another verb":                 {is: upgrade{reduce: true}, says: `state "counts" was "#0, Count`},
		"made of another topic":        {is: upgrade{counted: "others"}, says: `sub-topology 1 was`},
		"a chain of its own, in front": {is: upgrade{otherChain: "other", chainFirst: true}, says: `sub-topology 0 was`},
		"work by stream time":          {is: upgrade{every: true}, says: `sub-topology 1 was`},
		"another partitioner":          {is: upgrade{repartition: []streams.Option{other}}, says: `repartition topic "by-host-repartition" was`},
		"other partitions":             {is: upgrade{repartition: []streams.Option{streams.Partitions(5)}}, says: `partitions of topic "app-by-host-repartition" was "2", is "5"`},
		"other event times":            {is: upgrade{source: []streams.Option{streams.EventTime(func(_, _ string) time.Time { return time.UnixMilli(t0) })}}, says: `source topic "lines" was`},
		"other bytes for its readers":  {is: upgrade{sinkValues: true}, says: `sink topic "out" was`},
		"another setting":              {was: upgrade{settings: map[string]string{"limit": "1"}}, is: upgrade{settings: map[string]string{"limit": "2"}}, says: `setting limit was "1", is "2"`},
		"a setting less":               {was: upgrade{settings: map[string]string{"limit": "1"}}, says: `setting limit ("1") is gone`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			run(t, w, c.was.build(t), c.was.config(lines(10, 1)))
			w.log = w.log.Reopen()
			before := topicsOf(t, w, c.is.build(t))
			_, err := engine.NewOn(c.is.build(t), c.is.config(nil), w.backing())
			var changed *engine.ChangedError
			if !errors.As(err, &changed) || !strings.Contains(strings.Join(changed.Changes, "\n"), c.says) {
				t.Errorf("%v\nexpected that it is refused for: %s", err, c.says)
			}
			if after := topicsOf(t, w, c.is.build(t)); !maps.Equal(before, after) {
				t.Errorf("the refused start left topics %v, there were %v", after, before)
			}
		})
	}
}

// A chain that is gone keeps its place: it goes on where it stood when it comes
// back, and another one cannot take its positions over.
func TestAChainThatComesBackGoesOnWhereItStood(t *testing.T) {
	w := newWorld()
	with, without := upgrade{otherChain: "other"}, upgrade{}
	start := func(u upgrade) error {
		w.log = w.log.Reopen()
		e, err := engine.NewOn(u.build(t), u.config(lines(10, 1)), w.backing())
		if err != nil {
			return err
		}
		return e.Run(t.Context())
	}
	for _, u := range []upgrade{with, without, with, without} {
		if err := start(u); err != nil {
			t.Fatal(err)
		}
	}
	var changed *engine.ChangedError
	if err := start(upgrade{otherChain: "another"}); !errors.As(err, &changed) || !strings.Contains(err.Error(), `sub-topology 2 was "reads \"other\"`) {
		t.Errorf("a chain with the number of one that is gone: %v", err)
	}
}

// topicsOf are the partitions of a program's topics, by name.
func topicsOf(t *testing.T, w *world, topo *topology.Topology) map[string]int32 {
	t.Helper()
	var names []string
	for _, n := range topo.Nodes {
		if n.Topic != "" {
			names = append(names, n.Topic, "app-"+n.Topic)
		}
	}
	for _, s := range topo.Stores {
		names = append(names, "app-"+s.Name+"-changelog")
	}
	infos, err := w.log.Describe(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int32{}
	for _, info := range infos {
		found[info.Name] = info.Partitions
	}
	return found
}

// runUntil runs a program until its source has committed n records.
func runUntil(t *testing.T, w *world, topo *topology.Topology, cfg engine.Config, n int64) {
	t.Helper()
	moved := make(chan struct{}, 1)
	cfg.Hooks.Committed = func(string, time.Duration, error) {
		select {
		case moved <- struct{}{}:
		default:
		}
	}
	e, err := engine.NewOn(topo, cfg, w.backing())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	for e.State().Sources[0].Records < n {
		select {
		case <-moved:
		case err := <-done:
			t.Fatalf("the run ended: %v", err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
