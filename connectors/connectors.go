// Package connectors is the contract between Millstream and other systems:
// Source and Sink. Each system has a package of its own below it; the engine
// runs them (transactions, positions, retries, dead letters, metrics).
package connectors

import (
	"context"
	"log/slog"

	"github.com/millstream-io/millstream/log/record"
)

// Source reads records from another system.
//
// The engine calls one source from one goroutine: Open, Read again and again,
// Close. It appends what Read returned to the source's topic and commits that
// together with Position in one transaction, so that a restart neither loses
// nor repeats what the source can replay.
type Source interface {
	// Open starts at position, what Position returned when the last transaction
	// was committed; nil at the very first start. A position that does not fit
	// what is found (another file, say) is an error that says what to do.
	Open(ctx context.Context, cfg SourceContext, position []byte) error
	// Read waits until there is at least one record, or ctx is done (then it
	// returns ctx.Err()), and puts what is there into out, some hundred KiB at
	// most. io.EOF says that nothing will ever follow; out may hold last records.
	// A deadline of ctx only ends the wait; once ctx is canceled Read is called
	// until it returns an error, so that a source can hand over what it holds.
	Read(ctx context.Context, out *Batch) error
	// Position is where a restart goes on after everything that Read has
	// returned; nil if the source cannot replay.
	Position() []byte
	Close() error
}

// SourceContext is what the engine gives to a source or sink at Open.
type SourceContext struct {
	Name       string // the connector's name in the application
	Partitions int32  // of its topic
	Logger     *slog.Logger
}

// Batch collects records of a source. The engine reuses it: Add copies.
type Batch struct {
	records []Out
	headers []record.Header
	arena   []byte
}

// Out is one record that a source produced.
type Out struct {
	Key, Value []byte
	Headers    []record.Header
	Timestamp  int64 // event time, milliseconds; record.NoTimestamp: now
	// Partition of the source's topic; -1: by the key's hash, in turn without a key.
	Partition record.Partition
	// DeadLetter, if not empty, sends the record to the dead-letter topic with
	// this reason in its headers instead of the source's topic.
	DeadLetter string
}

// Sink writes records to another system. The engine calls one sink from one
// goroutine: Open, Write again and again, Close.
type Sink interface {
	Open(ctx context.Context, cfg SourceContext) error
	// Write returns when the other system has acknowledged every record; only
	// then are their offsets committed. After an error the same records come
	// again (at least once): the write must be idempotent, or say that it is not.
	// Records are borrowed until Write returns. A *RecordError names the one
	// record at fault: the engine sends it to the dead letters, goes on after it
	// and counts those before it as written.
	Write(ctx context.Context, records []Record) error
	Close() error
}

// Record is a record on its way to a sink.
type Record struct {
	record.View
	Topic     string
	Partition record.Partition
}
