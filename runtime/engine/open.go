package engine

import (
	"fmt"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/runtime/badgerstore"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/embedded"
	"github.com/millstream-io/millstream/runtime/memstore"
)

// offsetsRetention of an embedded log: for ever. A program that was off for a
// month goes on where it stood; its position records must not be alone then.
const offsetsRetention = 100 * 365 * 24 * time.Hour

// openLog opens the log that Config.Log names; on a cluster, as the instance.
func openLog(cfg Config, instance string) (logclient.Log, error) {
	dir, embeds := cfg.embeddedDir()
	if !embeds {
		return openCluster(cfg, instance)
	}
	bc := broker.Config{
		Dir: dir, DefaultPartitions: cfg.Partitions, OffsetsRetention: offsetsRetention, Logger: cfg.Logger,
	}
	if cfg.Flush == "os" {
		bc.Flush = broker.FlushOS
	}
	l, err := embedded.Open(bc)
	if err != nil {
		return nil, fmt.Errorf("open the log in %s: %w", dir, err)
	}
	return l, nil
}

// open opens what a configuration names.
func open(cfg Config) (b Backing, err error) {
	if _, ok := cfg.clusterSeeds(); ok {
		if b.Instance, err = instanceName(&cfg); err != nil {
			return Backing{}, err
		}
	}
	if b.Log, err = openLog(cfg, b.Instance); err != nil {
		return Backing{}, err
	}
	if cfg.InMemoryState {
		b.DB = memstore.New(0)
		return b, nil
	}
	db, err := badgerstore.Open(badgerstore.Config{Dir: cfg.StateDir, Logger: cfg.Logger})
	if err != nil {
		b.Log.Close()
		return Backing{}, fmt.Errorf("open the state in %s: %w", cfg.StateDir, err)
	}
	b.DB = db
	return b, nil
}
