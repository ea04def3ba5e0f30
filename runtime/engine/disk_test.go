package engine_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
)

func TestDiskSaysWhatLogAndStateTake(t *testing.T) {
	b := streams.NewBuilder("disk")
	b.From[string, string]("in").To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var reports, free atomic.Int64
	e, err := engine.New(topo, engine.Config{
		Log: "embedded:" + t.TempDir(), Bounded: true, Partitions: 1,
		Sources: []engine.Source{{Name: "lines", Topic: "in",
			Source: file.New(file.Config{Path: "-", Stdin: strings.NewReader(strings.Repeat("tea\n", 1000))})}},
		Hooks: engine.Hooks{Disk: func(d engine.DiskUsage) { reports.Add(1); free.Store(d.FreeBytes) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := e.Disk()
	if d.LogBytes < 2*1000*3 { // the lines stand in two topics
		t.Errorf("expected at least the lines' bytes twice in the log, found %d", d.LogBytes)
	}
	if d.StateBytes < 0 || d.FreeBytes <= 0 || reports.Load() == 0 || free.Load() <= 0 {
		t.Errorf("expected sizes and a report, found %+v and %d reports, the last with %d bytes free", d, reports.Load(), free.Load())
	}
}
