// Package connectors is the contract between Millstream and other systems:
// Source and Sink. Each system has a package of its own below it; the engine
// runs them (transactions, positions, retries, dead letters, metrics, health).
// docs/writing-a-connector.md explains it with a whole connector.
//
// # What the engine does about errors
//
//	first Open           a mark or a known network error says Transient: tried again;
//	                     anything else ends the run: a mistake in the configuration
//	Open after that,     Permanent ends the run; anything else is tried again with
//	Read, Write          jittered backoff, by the Retry of engine.Source or engine.Sink:
//	                     for good unless it is bounded
//	RecordError,         the record goes to <app>.dead-letters with headers that say why
//	Rejected             and from where; the rest goes on
//
// What waits for a sink waits in the log, as far as its topic's retention allows.
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
	// After an error of Read or of the log the engine calls Close and Open again.
	Open(ctx context.Context, cfg SourceContext, position []byte) error
	// Read waits until there is at least one record, or ctx is done (then it
	// returns ctx.Err()), and puts what is there into out, some hundred KiB at
	// most. io.EOF says that nothing will ever follow; out may hold last records,
	// also beside another error.
	// A deadline of ctx only ends the wait; once ctx is canceled Read is called
	// until it returns an error, so that a source can hand over what it holds.
	Read(ctx context.Context, out *Batch) error
	// Position is where a restart goes on after everything that Read has
	// returned; nil if the source cannot replay.
	Position() []byte
	// Close gives back what Open took, also after an Open that failed. It may be
	// called again.
	Close() error
}

// Ephemeral is a Source whose positions mean something only to the process that
// made them, because the other side cannot replay but the source itself can, until
// the commit. They are kept apart from those of other sources of its name.
type Ephemeral interface{ Ephemeral() }

// SourceContext is what the engine gives to a source or sink at Open.
type SourceContext struct {
	App        string // the application's name
	Name       string // the connector's name in the application
	Topic      Topic  // what the source fills or the sink empties
	Partitions int32  // of its topic
	Logger     *slog.Logger
}

// SinkContext is the same for a sink.
type SinkContext = SourceContext

// Topic identifies a topic. With CreatedMS, a topic that was deleted and made
// again under the same name has later times than the one before.
type Topic struct {
	Name string
	ID   [16]byte
	// CreatedMS is when it was created, milliseconds since the Unix epoch; where
	// the log does not know, when this application first saw this ID, which it
	// remembers in its positions topic. It never changes for an ID, and it is
	// never 0 at Open.
	CreatedMS int64
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
	Timestamp  int64 // event time, milliseconds, in the years 1 to 9999; record.NoTimestamp: now
	// Partition of the source's topic; -1: by the key's hash, in turn without a key.
	Partition record.Partition
	// DeadLetter, if not empty, sends the record to the dead-letter topic with
	// this reason in its headers instead of the source's topic.
	DeadLetter string
}

// Sink writes records to another system. The engine calls one sink from one
// goroutine: Open, Write again and again, Close.
type Sink interface {
	// Open connects and checks what can be checked. Write is only called after an
	// Open that succeeded.
	Open(ctx context.Context, cfg SinkContext) error
	// Write returns when the other system has acknowledged every record; only
	// then are their offsets committed. After an error the same records come
	// again (at least once): the write must be idempotent, or say that it is not.
	// Records are borrowed until Write returns. A *RecordError names the one
	// record that will never be accepted, a *PartialError how many are done, a
	// *WriteError tells of each; errors.As finds them. A canceled ctx means that the run
	// ends now: what is not acknowledged by then comes again at the next start.
	Write(ctx context.Context, records []Record) error
	// Close gives back what Open took, also after an Open that failed. It may be
	// called again.
	Close() error
}

// Record is a record on its way to a sink.
type Record struct {
	record.View
	Topic     string
	Partition record.Partition
}

// Limits bound what a sink has in hand at a time, and so what a kill between
// its writes and the commit of their offsets can repeat.
type Limits struct {
	// MaxRecords of one Write; 0: what a poll brought, up to a MiB.
	MaxRecords int
	// CommitEach commits the offsets after each Write that is done, instead of
	// at every commit interval: with MaxRecords, no more than that many records
	// are ever written and not committed.
	CommitEach bool
}

// Limiter is a Sink with limits. The engine asks after each Open.
type Limiter interface{ Limits() Limits }

// Measures are what a connector knows of itself beyond what the engine counts.
type Measures struct {
	// LagRecords and LagBytes are what the other side has and the source has not
	// read, as far as it can tell; -1: it cannot.
	LagRecords, LagBytes int64
	// Dropped is how much arrived and was lost before Read could return it,
	// since the source was made.
	Dropped int64
}

// Measurer is a Source with measures. The engine asks at commits, on the
// goroutine that calls Read.
type Measurer interface{ Measures() Measures }
