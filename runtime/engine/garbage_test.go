package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/runtime/memstore"
)

// collected counts the rounds of giving space back.
type collected struct {
	*memstore.DB
	rounds int
}

func (c *collected) CollectGarbage() error { c.rounds++; return nil }

func TestTheDatabaseGivesSpaceBackEveryTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &collected{DB: memstore.New(0)}
		cfg := config(nil, 1, 1)
		cfg.Bounded, cfg.Sources = false, nil
		e, err := engine.NewOn(countProgram(t), cfg, engine.Backing{Log: memlog.New(memlog.Config{}), DB: db})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		pass(time.Hour + time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if db.rounds != 6 {
			t.Errorf("%d rounds in an hour, expected 6", db.rounds)
		}
	})
}
