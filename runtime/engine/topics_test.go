package engine_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

func ensureTopic(t testing.TB, w *world, name string, partitions int32) {
	t.Helper()
	if _, err := w.log.Ensure(t.Context(), []logclient.TopicSpec{{Name: name, Partitions: partitions}}); err != nil {
		t.Fatal(err)
	}
}

// A connector on a topic that nobody else knows is mistyped: its records would
// wait for nobody.
func TestAConnectorOnAnUnknownTopicIsRefused(t *testing.T) {
	source := func(topic string) []engine.Source {
		return []engine.Source{{Name: "given", Topic: topic, Source: &outSource{}}}
	}
	sink := func(topic string) []engine.Sink {
		return []engine.Sink{{Name: "to-db", Topic: topic, Sink: &seen{}}}
	}
	w := newWorld()
	for _, c := range []struct {
		name string
		cfg  engine.Config
		want []string
	}{
		{"a sink", engine.Config{Sources: source("lines"), Sinks: sink("outt")}, []string{`sink to-db reads topic "outt", which nothing writes`, `did you mean "out"?`, "Known are app.dead-letters, lines, out"}},
		{"a source", engine.Config{Sources: source("lins")}, []string{`source given writes topic "lins", which nothing reads`, `did you mean "lines"?`}},
		{"nothing near", engine.Config{Sinks: sink("completely-different")}, []string{`"completely-different"`, "known are app.dead-letters, lines, out"}},
		{"both", engine.Config{Sources: source("lins"), Sinks: sink("outt")}, []string{`source given`, `sink to-db`}},
	} {
		_, err := engine.NewOn(countProgram(t), c.cfg, w.backing())
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, expected %s", c.name, err, want)
			}
		}
	}
	if infos, err := w.log.Describe(t.Context(), []string{"outt", "lins"}); err != nil || infos[0].Partitions+infos[1].Partitions != 0 {
		t.Errorf("the refused connectors made their topics: %+v, %v", infos, err)
	}
	ensureTopic(t, w, "bridged", 1)
	for name, cfg := range map[string]engine.Config{
		"a bridge":          {Sources: source("through"), Sinks: sink("through")},
		"the dead letters":  {Sinks: sink("app.dead-letters")},
		"topics of the log": {Sources: source("bridged"), Sinks: sink("bridged")},
		"a topic of input":  {Sources: source("lines"), Sinks: sink("lines")},
		"a topic of output": {Sources: source("out"), Sinks: sink("out")},
	} {
		if _, err := engine.NewOn(countProgram(t), cfg, newerWorld(t, "bridged").backing()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// newerWorld has topics of one partition.
func newerWorld(t testing.TB, topics ...string) *world {
	t.Helper()
	w := newWorld()
	for _, name := range topics {
		ensureTopic(t, w, name, 1)
	}
	return w
}

// A number of partitions that is asked for and not had is told, once, and only
// where it was asked for.
func TestPartitionsThatATopicDoesNotHaveAreToldOf(t *testing.T) {
	for _, c := range []struct {
		name         string
		of, partners int32
		want         []string
	}{
		{"as it is", 2, 0, nil},
		{"not asked", 0, 0, nil},
		{"a source's", 0, 3, []string{`topic=lines partitions=2 asked=3 by="Source.Partitions of lines"`}},
		{"the config's", 5, 0, []string{`topic=lines partitions=2 asked=5 by=Config.Partitions`, `topic=out partitions=2 asked=5 by=Config.Partitions`}},
	} {
		w := newerWorld(t)
		ensureTopic(t, w, "lines", 2)
		ensureTopic(t, w, "out", 2)
		var logged strings.Builder
		cfg := engine.Config{Partitions: c.of, Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelWarn}))}
		cfg.Sources = []engine.Source{{Name: "lines", Topic: "lines", Partitions: c.partners, Source: &slice{}}}
		if _, err := engine.NewOn(countProgram(t), cfg, w.backing()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(logged.String(), "another number of partitions"); n != len(c.want) {
			t.Errorf("%s: %d warnings, expected %d: %s", c.name, n, len(c.want), &logged)
		}
		for _, want := range c.want {
			if !strings.Contains(logged.String(), want) {
				t.Errorf("%s: expected a warning with %s, found %s", c.name, want, &logged)
			}
		}
	}
}
