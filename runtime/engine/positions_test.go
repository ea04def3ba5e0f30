package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/runtime/engine"
)

// Whoever resets an application's group by hand would have it count twice.
func TestAGroupThatWasChangedFromOutsideIsTold(t *testing.T) {
	t.Parallel() // it waits most of the time
	addr := serveHere(t)
	run := func() error {
		cfg := config(lines(300, 3), 2, 1)
		cfg.Log, cfg.InMemoryState = "kafka://"+addr, true
		e, err := engine.New(countProgram(t), cfg)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return errors.Join(e.Run(ctx), ctx.Err(), e.Close())
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	committed, err := adm.FetchOffsets(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	changed := kadm.Offsets{}
	var was kadm.Offset
	for _, o := range committed.Sorted() {
		if o.At > 1 {
			was = o.Offset
			changed.AddOffset(o.Topic, o.Partition, o.At-1, o.LeaderEpoch)
			break
		}
	}
	if _, err := adm.CommitOffsets(t.Context(), "app", changed); err != nil {
		t.Fatal(err)
	}
	var told *engine.PositionError
	if err := run(); !errors.As(err, &told) {
		t.Fatalf("a run with offsets that somebody has changed: %v", err)
	}
	if got, want := fmt.Sprint(told.Topic, told.Partition, told.Group, told.Committed), fmt.Sprint(was.Topic, was.Partition, was.At-1, was.At); got != want {
		t.Fatalf("told of %s, expected %s", got, want)
	}
	if _, err := adm.CommitOffsets(t.Context(), "app", kadm.OffsetsFromRecords(kgo.Record{Topic: was.Topic, Partition: was.Partition, Offset: was.At - 1})); err != nil {
		t.Fatal(err)
	}
	if err := run(); err != nil {
		t.Fatalf("set back as the error says: %v", err)
	}
}
