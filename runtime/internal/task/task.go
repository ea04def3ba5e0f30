package task

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// Action is what happens to a record that cannot be used.
type Action uint8

const (
	DeadLetter Action = iota // to the dead-letter topic, counted
	Skip                     // counted
	Stop                     // an error (bad records only)
)

// Config makes a task.
type Config struct {
	ID       plan.TaskID
	Plan     *plan.Plan
	Topology *topology.Topology
	DB       state.DB
	Logger   *slog.Logger

	CacheBytes  int64
	IdleAfter   time.Duration // 0: an idle input holds time back for ever
	MaxTaskIdle time.Duration
	Bounded     bool // an input without data is waited for until it has ended
	BadRecord   Action
	Late        Action
	// Poisoned says of a record whether a function has panicked at it before, so
	// that it is not processed but kept as a dead letter with reason, or only
	// counted; nil: there is none.
	Poisoned func(topic string, partition int32, offset int64) (reason string, aside, keep bool)

	// Reread reads a partition's records from <= offset < to once more, until fn
	// returns false; the records are borrowed. A task that merges a repartition
	// topic with other inputs holds no more of it than CacheBytes, and needs this
	// for the rest; nil: it holds everything.
	Reread func(tp record.TopicPartition, from, to record.Offset, fn func(*record.View) bool) error
}

// Task is one sub-topology on one partition.
type Task struct {
	cfg     Config
	sub     *plan.Sub
	name    []byte // the id, as records carry it
	inputs  []*input
	overlay *overlay
	stores  []storeState
	// local: a store has no changelog, so that a checkpoint says of which commit it
	// is: the position records of the running transaction, of the last commit, and
	// of the last finished checkpoint.
	local                            bool
	flushed, committed, checkpointed []byte
	trims                            bool // Trimmed has dropped what the last checkpoint has

	unit   processor.Unit
	writer logclient.Writer
	err    error // of a Send, Changelog or Late, which a unit might swallow

	streamTime int64
	recorded   int64 // stream time of the last commit
	maxEvent   int64
	allIdle    bool     // no input ever had a record, and none is waited for
	outs       []Volume // by sink, of the running transaction

	sent               int64
	sentOnce, sentIdle bool
	decision           Decision
	decided            int64

	dirty bool // there is something to commit
	// advancing: windows and timers run, not a record's own processing.
	advancing bool
	waiting   bool  // an input without data holds the others up
	turn      int32 // of records without a key
	pending   pending
	counts    Counts
	out       output
	rec       processor.Record // the record that is processed
	headers   []processor.Header
	view      record.View
}

// storeState is what a task knows of one store's changelog.
type storeState struct {
	changelog record.TopicPartition // Topic empty: none
	end       logclient.OffsetEpoch // after the last committed record
	// firsts, of a window store: by live window, an offset at or before its first record.
	firsts map[int64]record.Offset
	// lasts, of a window store that is followed: by live window, where its last record is.
	lasts                 map[int64]record.Offset
	checkpointed, trimmed record.Offset // of the last finished checkpoint; where the changelog was cut for it
}

// Counts are what a transaction counted; they matter only once it is committed.
type Counts struct {
	Late         map[string]int64 // by operator
	Dropped      map[string]int64 // by operator: records without the key or value that it needs
	DeadLettered int64
	Skipped      int64
	Out          map[string]Volume // by topic
	Changelog    int64             // records
}

// Volume is a number of records and their bytes.
type Volume struct{ Records, Bytes int64 }

// New makes a task. Start must be called before anything else.
func New(cfg Config) *Task {
	sub := &cfg.Plan.Subs[cfg.ID.Sub]
	t := &Task{cfg: cfg, sub: sub, name: []byte(cfg.ID.String())}
	t.overlay = newOverlay(cfg.ID.Key(), sub.Stores, cfg.DB)
	t.stores = make([]storeState, len(sub.Stores))
	for i, s := range sub.Stores {
		if s.Changelog != "" {
			t.stores[i].changelog = record.TopicPartition{Topic: s.Changelog, Partition: record.Partition(cfg.ID.Partition)}
		}
		t.local = t.local || s.Changelog == ""
		t.stores[i].firsts = map[int64]record.Offset{}
	}
	t.outs = make([]Volume, len(sub.Outputs))
	t.counts.reset()
	return t
}

func (c *Counts) reset() {
	*c = Counts{Late: map[string]int64{}, Dropped: map[string]int64{}, Out: map[string]Volume{}}
}

// ID names the task.
func (t *Task) ID() plan.TaskID { return t.cfg.ID }

// Inputs are the partitions that the task reads.
func (t *Task) Inputs() []record.TopicPartition {
	var tps []record.TopicPartition
	for _, in := range newInputs(t.cfg.Topology, t.sub, t.cfg.ID) {
		tps = append(tps, in.tp)
	}
	return tps
}

// KeepChunks reports whether decoded values alias what a reader lends.
func (t *Task) KeepChunks() bool {
	return slices.ContainsFunc(t.sub.Sources, func(id topology.NodeID) bool { return t.cfg.Topology.Nodes[id].KeepChunks })
}

// Start builds the unit from committed state. last is the task's position
// record, nil if there is none; from has the offset where each input begins.
// It may be called again after Drop.
func (t *Task) Start(last *PositionRecord, from map[record.TopicPartition]record.Offset, w logclient.Writer, now time.Time) (err error) {
	if last == nil {
		last = fresh()
	} else if t.local {
		t.committed = last.Append(t.committed[:0])
	}
	t.writer, t.err, t.allIdle = w, nil, false
	t.streamTime, t.maxEvent, t.recorded = last.StreamTime, last.MaxEvent, last.StreamTime
	t.sent, t.sentOnce, t.sentIdle = last.Sent, last.SentOnce, last.SentIdle
	t.decision, t.decided = last.Decision, last.Decided
	t.waiting, t.dirty = false, false
	ends := map[record.TopicPartition]record.Offset{}
	for _, in := range t.inputs {
		ends[in.tp] = in.end
	}
	t.inputs = newInputs(t.cfg.Topology, t.sub, t.cfg.ID)
	for _, in := range t.inputs {
		in.next, in.lastAt, in.floor = from[in.tp], now, t.streamTime
		if end, ok := ends[in.tp]; ok {
			in.end = end
		}
		for _, p := range last.Inputs {
			if p.Topic == in.tp.Topic && p.Partition == in.tp.Partition {
				in.seen, in.time = p.Seen, p.Time
				restoreUpstream(in.upstream, p.Upstream)
			}
		}
		if in.repartition && len(t.inputs) > 1 {
			in.openLanes()
		}
	}
	t.publishPositions()
	defer t.recover(&err)
	t.rec = processor.Record{}
	if t.unit, err = t.cfg.Topology.Instantiate(t.sub.SubTopology, t); err != nil {
		return t.fail(err)
	}
	if err = t.unit.Restore(t.streamTime, last.Frontier); err != nil {
		return t.fail(fmt.Errorf("restore: %w", err))
	}
	t.applyExpired() // nothing of a transaction is in it
	return nil
}

func restoreUpstream(dst, src []UpstreamTime) {
	for i := range dst {
		for _, s := range src {
			if s.Task == dst[i].Task {
				dst[i] = s
			}
		}
	}
}

// Drop forgets the running transaction and the unit with it.
func (t *Task) Drop() {
	for _, in := range t.inputs {
		in.drop()
	}
	t.unit, t.err, t.dirty = nil, nil, false
	t.pending.reset()
	t.counts.reset()
	clear(t.outs)
}

// Add hands over a batch of one of the task's inputs; the task releases it.
func (t *Task) Add(b logclient.Batch) {
	tp := b.TopicPartition()
	for _, in := range t.inputs {
		if in.tp == tp {
			in.queue = append(in.queue, b)
			return
		}
	}
	b.Release()
}

// Queued is the number of batches that wait in an input.
func (t *Task) Queued(tp record.TopicPartition) int {
	for _, in := range t.inputs {
		if in.tp == tp {
			return len(in.queue)
		}
	}
	return 0
}

// Dirty reports whether there is something to commit.
func (t *Task) Dirty() bool { return t.dirty || t.pending.expired != nil }

// StreamTime is the task's stream time, processor.NoTime before the first record.
func (t *Task) StreamTime() int64 { return t.streamTime }

// MaxEvent is the greatest timestamp seen in any input.
func (t *Task) MaxEvent() int64 { return t.maxEvent }

// LastWindowEnd is what processor.Unit says.
func (t *Task) LastWindowEnd(ms int64) int64 { return t.unit.LastWindowEnd(ms) }

// Usage is what the unit holds and what the running transaction has collected.
func (t *Task) Usage() (processor.Usage, int64) { return t.unit.Usage(), t.pending.bytes() }

// SetEnd tells a bounded run's task where an input ends.
func (t *Task) SetEnd(tp record.TopicPartition, end record.Offset) {
	for _, in := range t.inputs {
		if in.tp == tp {
			in.end = end
		}
	}
}

// Drained reports whether every input was processed up to its end.
func (t *Task) Drained() bool {
	for _, in := range t.inputs {
		if !in.ended() {
			return false
		}
	}
	return true
}

func (t *Task) fail(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Task: t.cfg.ID, Topic: t.rec.Topic, Partition: t.rec.Partition, Offset: t.rec.Offset, Err: err}
}
