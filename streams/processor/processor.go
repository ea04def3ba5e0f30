// Package processor is the seam between typed operators and the task that runs
// them: records as bytes, a Unit (one sub-topology built for one task) and the
// Host that a unit calls back.
//
// Nothing here has a goroutine, a clock or I/O. A unit and its host are called
// from one goroutine, the worker's.
package processor

import "github.com/millstream-io/millstream/streams/state"

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is a record at the boundary of a task. The bytes are borrowed: they
// are valid until the call that carries them returns.
type Record struct {
	Key       []byte // nil: null
	Value     []byte // nil: null, a tombstone
	Headers   []Header
	Timestamp int64 // event time, milliseconds since the Unix epoch

	// StreamTime is the stream time that the record carries, in milliseconds: of
	// an input record the stream time of the task that first read it, of an
	// output the one of what caused it. It is never below Timestamp. A record is
	// late for a window if its StreamTime has reached the window's end plus grace.
	StreamTime int64

	// Where an input record stands; of an output, where its cause stood.
	Topic     string
	Partition int32
	Offset    int64
}

// AnyPartition asks the host to choose a partition by the key (murmur2, as
// Kafka's default partitioner does), or in turn if the key is null.
const AnyPartition int32 = -1

// NoTime is the stream time before the first record.
const NoTime int64 = -1 << 63

// MaxTime is later than every window.
const MaxTime int64 = 1<<63 - 1

// Unit is one sub-topology built for one task: closures over the task's own
// caches. After an error of Process, Advance or Flush the transaction is
// aborted, the unit is thrown away and another is built from committed state;
// only a *DecodeError leaves the unit as it was before the call. User functions
// run inside and may panic: the task recovers, and treats it as an error.
type Unit interface {
	// Restore sets the time state of the last commit before the first record:
	// the stream time and what Frontier returned then (nil: none). Windows that
	// had expired by then are dropped through Host.Expire.
	Restore(streamTimeMS int64, frontier []byte) error
	// EventTime is the event time of a record of source, in milliseconds: the
	// record's Timestamp, or what the source's extractor takes from it. The task
	// calls it for sources whose topology.Node says EventTime, sets Timestamp to
	// the result and computes stream time from that. It may be a *DecodeError.
	EventTime(source int, r *Record) (int64, error)
	// Process runs one record of source (an index into SubTopology.Sources)
	// through the operators. The caller has called Advance first if stream time
	// rose to NextTime or above.
	Process(source int, r *Record) error
	// NextTime is the earliest stream time at which Advance has work; MaxTime if
	// none. It may change with every call of Process and Advance.
	NextTime() int64
	// Advance moves stream time forward: windows close in the order of their
	// closing times, then expire.
	Advance(streamTimeMS int64) error
	// Flush ends the transaction's work: operators that emit on commit emit, then
	// every changed entry goes to Host.Changelog once.
	Flush() error
	// Committed says that the flushed transaction is committed: changed entries
	// are now clean and may be evicted.
	Committed()
	// Frontier appends the time state that Restore needs beside stream time.
	Frontier(dst []byte) []byte
	// LastWindowEnd is the greatest end plus grace, in milliseconds, over the
	// unit's window operators, of the window that holds timestampMS. It is
	// timestampMS if the unit has no window operator.
	LastWindowEnd(timestampMS int64) int64
	// Usage reports sizes and counters; it is called once a commit.
	Usage() Usage
	// Running is the name of the operator whose function ran last: after a panic
	// that the task recovered from, the one to blame. The unit is then worthless.
	Running() string
}

// Usage is what a unit holds and has counted since it was built.
type Usage struct {
	DirtyBytes  int64 // what an abort would drop; a commit is due when it reaches its bound
	CacheBytes  int64 // all decoded entries
	Entries     int64
	CacheHits   int64
	CacheMisses int64
}

// Host is what a unit may ask of its task.
type Host interface {
	// Send appends an output record to the topic of sink (an index into
	// SubTopology.Sinks). The host copies what it needs before it returns.
	Send(sink int, r *Record, partition int32) error
	// Partitions is the number of partitions of a sink's topic.
	Partitions(sink int) int32
	// Backend reads the committed entries of store (an index into SubTopology.Stores).
	Backend(store int) state.Backend
	// Changelog records the new absolute value of a store's entry; nil deletes.
	// The host copies key and value before it returns. The entry reaches the
	// Backend when the transaction is committed.
	Changelog(store int, key, value []byte) error
	// Expire drops, with the transaction, the windows of a window store that
	// start before startMS.
	Expire(store int, startMS int64) error
	// Late takes a record that came too late for a window at operator op (a
	// node's name): counted, and kept where the operator asks for it. r is the
	// input record as it was read; where a commit or a closing window caused the
	// operator's input, r.Topic is empty and key and value are that input's. It
	// is called once a record, also if the record missed only some of its
	// (hopping) windows.
	Late(op string, keep bool, r *Record) error
	// Dropped counts an input record that operator op (a node's name) has no use
	// for: its key is null, or its value where that means nothing.
	Dropped(op string)
	// CacheBytes is the bound for the unit's clean decoded entries.
	CacheBytes() int64
}

// DecodeError says that a record's key or value is not what its serde expects.
// It is returned before the record has had any effect.
type DecodeError struct {
	Topic     string
	Partition int32
	Offset    int64
	Field     string // "key" or "value"
	Err       error
}
