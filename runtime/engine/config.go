package engine

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

// Config says where and how a topology runs. The zero value of every field is
// its documented default.
type Config struct {
	// Log is where the topics are: "embedded:DIR" (default "embedded:data"), or
	// "kafka://HOST:PORT,..." for an Apache Kafka cluster or `millstream serve`. On
	// a cluster any number of processes, the instances, share an application.
	Log string
	// Listen lets Kafka clients reach an embedded log while the program runs.
	Listen Listen
	// Cluster says how the brokers of a kafka:// log are reached.
	Cluster Cluster
	// Flush is the embedded log's durability, "commit" (default) or "os": see
	// docs/guarantees.md.
	Flush string
	// StateDir is where Badger keeps checkpoints. Default DIR/state of an embedded
	// log, data/state for a cluster.
	StateDir string
	// InMemoryState keeps checkpoints in memory: every start rebuilds from changelogs.
	InMemoryState bool
	// Standbys is how many other instances keep a copy of each task's state, so that
	// they can take it over at once. Default 0. On a cluster only.
	Standbys int
	// Advertise is HOST:PORT where the other instances reach this one's Handlers, to
	// ask for what its stores hold. Default: nowhere, they cannot. On a cluster only.
	Advertise string
	// Workers is the number of goroutines that run tasks. Default: GOMAXPROCS.
	Workers int
	// Partitions is the number of partitions of topics that do not exist yet.
	// Default: 4. A topic that exists keeps its own, with a warning if it is not
	// what is asked here or by Source.Partitions.
	Partitions int32
	// Retention is how long the topics that the engine creates for sources,
	// results and dead letters keep records, by the records' timestamps. Default
	// 0: for good, because event times may be old already when they arrive.
	// Records go by whole segments, so up to an eighth more is kept. Topics of
	// sources and results that exist keep their own setting; those of dead letters follow.
	Retention time.Duration
	// Guarantee is "exactly_once" (default) or "at_least_once": without transactions
	// on a cluster, and the same as exactly_once on an embedded log. It may be another
	// in the next run. See docs/guarantees.md.
	Guarantee string
	// CommitInterval is the time between commits. Default 100 ms.
	CommitInterval time.Duration
	// CheckpointInterval is the time between checkpoints of a task. Default 5 s.
	CheckpointInterval time.Duration
	// CacheBytes bounds the decoded entries of all tasks together. Default 64 MiB.
	CacheBytes int64
	// UncheckpointedBytes bounds the committed entries that wait for a checkpoint,
	// over all tasks. Default 64 MiB.
	UncheckpointedBytes int64
	// IdleAfter is how long an input partition may be without records before its
	// time goes on with the wall clock. 0: never, windows wait for it.
	IdleAfter time.Duration
	// MaxTaskIdle is how long a task waits for an input without data before it
	// goes on with the others. Default 0. A bounded run always waits.
	MaxTaskIdle time.Duration
	// Bounded ends the run when every source has ended and every input is
	// processed to the end that it had then.
	Bounded bool
	// PurgeSources deletes records of the sources' topics once they are processed
	// and committed: for one-shot runs over large files.
	PurgeSources bool
	// Settings of the program that its state depends on (name to value): part of
	// the fingerprint, so that a change over old state is refused.
	Settings map[string]string

	Sources []Source
	Sinks   []Sink

	// OnBadRecord and OnLate name what happens to records that do not decode and
	// to late ones that an operator keeps: "dead-letter" (default), "skip", "stop"
	// ("stop" for bad records only).
	OnBadRecord string

	// OnPanic says what becomes of a record at which a function of the program
	// panics: "stop" ends the run (default); "dead-letter" and "skip" go back to
	// the last commit and put that one record aside, kept or only counted; "retry"
	// goes back and processes it again, ten times, then ends the run. A panic at a
	// commit, a closing window or a timer has no record to blame and ends the run.
	OnPanic string

	Logger *slog.Logger
	Hooks  Hooks

	partitionsGiven bool // Partitions is not the default
}

// Source runs a connector into a topic. Somebody must know the topic: the
// topology, a sink, or the log, in which it is already; New takes another name
// for a mistake.
type Source struct {
	Name       string
	Topic      string
	Partitions int32 // of the topic if it is missing; 0: Config.Partitions
	Source     connectors.Source
	Retry      Retry // of its errors; default: for good
}

// Sink runs a topic out of the log through a connector: a topic of the
// topology or of a source, the dead letters, or one that is in the log already;
// New takes another name for a mistake.
type Sink struct {
	Name  string
	Topic string
	Sink  connectors.Sink
	Retry Retry // of its errors; default: for good, its records wait in the log
}

// topicConfigs are those of topics that the engine creates for the user.
func (c *Config) topicConfigs() map[string]string {
	if c.Retention <= 0 {
		return map[string]string{"retention.ms": "-1"}
	}
	// Only whole segments are deleted, and one is filled for 7 days by default.
	segment := min(max(c.Retention/8, time.Minute), 7*24*time.Hour)
	return map[string]string{
		"retention.ms": strconv.FormatInt(c.Retention.Milliseconds(), 10),
		"segment.ms":   strconv.FormatInt(segment.Milliseconds(), 10),
	}
}
