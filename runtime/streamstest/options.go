package streamstest

import (
	"maps"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
)

// Options say what a test's world is like. The zero value of every field is its
// documented default.
type Options struct {
	// Partitions of the topics that the topology reads and writes. Default 3.
	Partitions int32
	// Topics are the partitions of single topics, by name.
	Topics map[string]int32
	// Workers is the number of transactions that run beside each other. Default
	// 2; 1 for a program of one task.
	Workers int
	// Start is where the clock stands at first. Default 2026-01-01T00:00:00Z.
	// Run's clock begins at 2000-01-01T00:00:00Z at the earliest.
	Start time.Time
	// IdleAfter is engine.Config.IdleAfter. Default 0: never.
	IdleAfter time.Duration

	// CommitEvery is after how many batches of input a worker of a Driver commits
	// (every Send is a batch). Default 0: when nothing is left to read, so that
	// one Run is one transaction of each worker.
	CommitEvery int

	// Sources and Sinks are the connectors of Run. A Driver has none: its inputs
	// and outputs are their place.
	Sources []engine.Source
	Sinks   []engine.Sink

	// Engine is everything else of the engine's configuration. Log, StateDir and
	// Flush have no meaning here. A Driver uses MaxTaskIdle, Bounded, CacheBytes,
	// CheckpointInterval, OnBadRecord and Logger.
	Engine engine.Config
}

// withDefaults fills in what the zero value stands for.
func (o Options) withDefaults() Options {
	if o.Partitions == 0 {
		o.Partitions = o.Engine.Partitions
	}
	if o.Partitions == 0 {
		o.Partitions = 3
	}
	if o.Workers == 0 {
		o.Workers = o.Engine.Workers
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.IdleAfter == 0 {
		o.IdleAfter = o.Engine.IdleAfter
	}
	if o.Engine.CheckpointInterval == 0 {
		o.Engine.CheckpointInterval = 5 * time.Second
	}
	if o.Engine.CommitInterval == 0 {
		o.Engine.CommitInterval = 100 * time.Millisecond
	}
	if o.Engine.CacheBytes == 0 {
		o.Engine.CacheBytes = 64 << 20
	}
	if o.Engine.OnBadRecord == "" {
		o.Engine.OnBadRecord = "dead-letter"
	}
	o.Topics = maps.Clone(o.Topics)
	return o
}

// partitions is the number of partitions of a topic that is made.
func (o *Options) partitions(topic string) int32 {
	if n, ok := o.Topics[topic]; ok {
		return n
	}
	return o.Partitions
}
