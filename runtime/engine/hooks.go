package engine

import "time"

// Hooks are called per batch, commit or checkpoint, never per record, from the
// goroutine that did the work; a nil one is off. They must not block.
type Hooks struct {
	// Processed: records of one task's input, after they went through the topology.
	Processed func(task string, topic string, records, bytes int64)
	// Written: records handed to the log by a committed transaction, per topic.
	Written func(topic string, records, bytes int64)
	// Late and DeadLettered: records at a committed transaction, not counting aborted ones.
	Late         func(op string, records int64)
	DeadLettered func(stage string, records int64)
	// Dropped: records that an operator has no use for, because their key or value is null.
	Dropped func(op string, records int64)
	// Committed: one transaction of a worker, from the start of its flush to the reply.
	Committed func(worker string, took time.Duration, err error)
	// Lag: committed position's distance to the end of an input partition, at each commit.
	Lag func(task, topic string, partition int32, records int64)
	// EndToEnd: from a record's event time to the commit that carried its results; one sample a batch.
	EndToEnd func(topic string, took time.Duration)
	// Checkpointed: one finished checkpoint of a task.
	Checkpointed func(task string, took time.Duration, entries, bytes int64, at time.Time)
	// Store: what a task's unit holds, at each commit.
	Store func(task, store string, entries, bytes, cacheHits, cacheMisses int64)
	// Restored: changelog records replayed at start.
	Restored func(task, store string, records int64)
	// RestoreProgress: how far the restore of a store has come, when it begins and
	// then after each MiB: done of total records of its changelog (by offsets), the
	// bytes of keys and values replayed so far, and the time since it began.
	RestoreProgress func(task, store string, done, total, bytes int64, took time.Duration)
	// Standby: about every second, of each store of a task whose state this instance
	// keeps a copy of: how many records of the changelog the copy is behind, and
	// records and bytes replayed since the last call. lag is -1 when it is not kept any more.
	Standby func(task, store string, lag, records, bytes int64)
	// Source: records of a committed transaction; Sink: records that its system
	// has acknowledged, and the time of that attempt. err if the attempt failed.
	Source func(name string, records, bytes int64, err error)
	Sink   func(name string, records, bytes int64, took time.Duration, err error)
	// Retried: a connector is about to be tried again after a failure.
	Retried func(connector string)
	// Disk: what log and state take, at the start and every ten seconds.
	Disk func(DiskUsage)
	// SourceState and SinkState: a connector's state, after each commit, failure
	// and change of it.
	SourceState func(SourceSnapshot)
	SinkState   func(SinkSnapshot)
}
