package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams"
)

// A rebuild of more state than may wait for a checkpoint writes checkpoints on
// its way, and one that dies on its way goes on from there.
func TestARebuildIsBoundedInMemoryAndGoesOnWhereItDied(t *testing.T) {
	const n = 16_000
	in, want := make([]line, n), map[string]int64{}
	pad := strings.Repeat("x", 200)
	for i := range in {
		in[i] = line{at: t0 + int64(i), text: fmt.Sprintf("%05d%s", i, pad)}
		want[in[i].text] = 1
	}
	b := streams.NewBuilder("app")
	b.From[string, string]("lines").GroupBy(func(_, v string) string { return v }).Count(streams.Store("keys"))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	cfg := func() engine.Config {
		c := config(in, 1, 1)
		c.CheckpointInterval, c.UncheckpointedBytes = time.Hour, 1 // the least that a task gets is more
		return c
	}
	w := newWorld()
	run(t, w, topo, cfg())
	total := int64(len(w.log.Records(record.TopicPartition{Topic: "app-keys-changelog"})))

	w.log, w.db = w.log.Reopen(), memstore.New(0)
	var died *memstore.DB // as the database was after the first checkpoint of the rebuild
	key, db := plan.TaskID{Sub: 1}.Key(), w.db
	db.AfterTransaction(func() {
		if _, ok, _ := db.CheckpointRecord(key); ok && died == nil {
			died = db.CrashClone(db.Pending())
		}
	})
	e := run(t, w, topo, cfg())
	if s := e.State().Totals; s.Restored != total {
		t.Errorf("%d records replayed into an empty database, want all %d", s.Restored, total)
	}
	same(t, keysOf(t, e), want)
	if died == nil {
		t.Fatal("the rebuild wrote no checkpoint")
	}

	w.log, w.db = w.log.Reopen(), died
	e = run(t, w, topo, cfg())
	if s := e.State().Totals; s.Restored <= 0 || s.Restored >= total || s.Rebuilt != 0 {
		t.Errorf("%d of %d records replayed, %d tasks rebuilt: want what followed the first checkpoint of the rebuild", s.Restored, total, s.Rebuilt)
	}
	same(t, keysOf(t, e), want)
}

func keysOf(t *testing.T, e *engine.Engine) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	if err := engine.All(e, "keys", func(k string, n int64) bool { got[k] = n; return true }); err != nil {
		t.Fatal(err)
	}
	return got
}
