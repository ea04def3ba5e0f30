// Package memlog is a model of a log in memory: the whole seam of package
// logclient (topics, offsets, epochs, transactions with last stable offset and
// aborted ranges, fencing, group positions, deletion) without files, for tests
// of tasks and of the engine.
//
// It is strict where a real log is merely allowed to be: what Batch.Next lent
// is overwritten with 0xDB at the next call of Next and at Release, a batch
// used after its Release panics, and so does a reader or writer used by two
// goroutines at once. It is deterministic (same calls, same offsets, same
// batches), starts no goroutine and reads no clock but Config.Now, so it runs
// inside testing/synctest. Faults are injected with FailNextCommit, FailNextPoll
// and Config.BeforeCommit; Crash and Reopen stand for the end of a process.
//
// It is not durable, it has no size limits but the record's, and it does not
// time transactions out by itself (ExpireTransactions does).
//
// A Log may be used from any goroutine; readers and writers by one at a time.
package memlog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Config makes a log. The zero value of every field is its documented default.
type Config struct {
	// Partitions of a topic whose spec names no number. Default 4.
	Partitions int32
	// BatchBytes is about how much a writer gathers per partition before it
	// hands a batch to the log. Default 16 KiB; 1 makes every record a batch.
	BatchBytes int
	// MaxRecordBytes bounds key and value of one record. Default 1 MiB.
	MaxRecordBytes int
	// Now is the clock for creation times and ExpireTransactions. Default: a
	// clock that stands still at 2026-01-01T00:00:00Z.
	Now func() time.Time
	// BeforeCommit is called by Writer.Commit, without locks, when everything is
	// handed to the log and before the decision. An error makes Commit fail with
	// it and leaves the transaction open, as a process that dies there would.
	BeforeCommit func(id logclient.TxnID, in logclient.Positions) error
	// ClusterID names the log. Default "memlog".
	ClusterID string
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = 4
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = 16 << 10
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = 1 << 20
	}
	if c.Now == nil {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		c.Now = func() time.Time { return at }
	}
	if c.ClusterID == "" {
		c.ClusterID = "memlog"
	}
	return c
}

// Log is a handle to the data in memory. Reopen makes another one, as a new
// process would, and ends this one.
type Log struct {
	srv    *server
	clean  bool
	handle uint64 // the life that this handle belongs to
}

// server is the data behind the handles.
//
// Invariant: everything in it, and in all that it points to, is guarded by mu,
// but cfg.
type server struct {
	cfg Config

	mu        sync.Mutex
	handle    uint64 // the life that is current; calls of earlier ones get ErrClosed
	closed    bool
	topics    map[string]*topic
	producers map[logclient.TxnID]*producer
	nextPID   record.ProducerID
	groups    map[string]*group
	waiting   map[*wakeup]struct{} // who wants to know about changes
	faults    faults
}

type topic struct {
	info    logclient.TopicInfo
	configs map[string]string
	parts   []*partition
}

var _ logclient.Log = (*Log)(nil)

// New makes an empty log.
func New(cfg Config) *Log {
	s := &server{
		cfg:       cfg.withDefaults(),
		handle:    1,
		topics:    map[string]*topic{},
		producers: map[logclient.TxnID]*producer{},
		groups:    map[string]*group{},
		waiting:   map[*wakeup]struct{}{},
	}
	return &Log{srv: s, clean: true, handle: 1}
}

// Reopen ends this handle, as the end of its process would: its readers,
// writers and members get ErrClosed, open transactions stay open until their
// successors abort them. It returns a handle to the same data.
func (l *Log) Reopen() *Log {
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle++
	s.closed = false
	for _, g := range s.groups {
		g.member = nil
	}
	s.wakeAll()
	return &Log{srv: s, clean: true, handle: s.handle}
}

// Crash is Reopen after a power cut: each partition named loses everything from
// the given offset on, all leader epochs rise, open transactions are aborted,
// and CleanStart of the new handle is false.
func (l *Log) Crash(cut map[record.TopicPartition]record.Offset) *Log {
	n := l.Reopen()
	n.clean = false
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	for tp, at := range cut {
		if p := s.partition(tp); p != nil {
			p.truncate(at)
		}
	}
	for _, t := range s.topics {
		for _, p := range t.parts {
			p.raiseEpoch()
			for _, pid := range slices.Sorted(maps.Keys(p.open)) {
				p.mark(pid, false)
			}
		}
	}
	for _, pr := range s.producers {
		pr.ongoing, pr.pending = false, nil
		clear(pr.parts)
		pr.epoch++
	}
	return n
}

// live says whether the handle may still be used.
func (l *Log) live() error {
	if l.srv.closed || l.srv.handle != l.handle {
		return fmt.Errorf("memlog: the log: %w", logclient.ErrClosed)
	}
	return nil
}

// Ensure implements logclient.Log.
func (l *Log) Ensure(ctx context.Context, specs []logclient.TopicSpec) ([]logclient.TopicInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.live(); err != nil {
		return nil, err
	}
	for _, spec := range specs { // all or nothing: mismatches first
		if t := s.topics[spec.Name]; t != nil && spec.Partitions != 0 && spec.Partitions != t.info.Partitions {
			return nil, &logclient.TopicMismatchError{Topic: spec.Name, Have: t.info.Partitions, Expected: spec.Partitions}
		}
	}
	infos := make([]logclient.TopicInfo, len(specs))
	for i, spec := range specs {
		infos[i] = s.ensure(spec).info
	}
	return infos, nil
}

func (s *server) ensure(spec logclient.TopicSpec) *topic {
	if t := s.topics[spec.Name]; t != nil {
		return t
	}
	n := spec.Partitions
	if n == 0 {
		n = s.cfg.Partitions
	}
	t := &topic{configs: map[string]string{}}
	for k, v := range spec.Configs {
		t.configs[k] = v
	}
	t.info = logclient.TopicInfo{Name: spec.Name, Partitions: n, CreatedMS: s.cfg.Now().UnixMilli()}
	sum := sha256.Sum256([]byte(s.cfg.ClusterID + "/" + spec.Name))
	copy(t.info.ID[:], sum[:])
	for i := range n {
		t.parts = append(t.parts, newPartition(record.TopicPartition{Topic: spec.Name, Partition: record.Partition(i)}))
	}
	s.topics[spec.Name] = t
	return t
}

// Describe implements logclient.Log.
func (l *Log) Describe(ctx context.Context, topics []string) ([]logclient.TopicInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.live(); err != nil {
		return nil, err
	}
	infos := make([]logclient.TopicInfo, len(topics))
	for i, name := range topics {
		infos[i].Name = name
		if t := s.topics[name]; t != nil {
			infos[i] = t.info
		}
	}
	return infos, nil
}

// Offsets implements logclient.Log.
func (l *Log) Offsets(ctx context.Context, tps []record.TopicPartition, at logclient.At) ([]logclient.OffsetEpoch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.live(); err != nil {
		return nil, err
	}
	found := make([]logclient.OffsetEpoch, len(tps))
	for i, tp := range tps {
		p := s.partition(tp)
		if p == nil {
			return nil, unknown(tp)
		}
		found[i] = p.lookup(at)
	}
	return found, nil
}

// DeleteBefore implements logclient.Log.
func (l *Log) DeleteBefore(ctx context.Context, before map[record.TopicPartition]record.Offset) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.live(); err != nil {
		return err
	}
	for tp, o := range before {
		p := s.partition(tp)
		if p == nil {
			return unknown(tp)
		}
		if o > p.end {
			return &logclient.OffsetOutOfRangeError{TopicPartition: tp, Offset: o, Start: p.start, End: p.end}
		}
	}
	for tp, o := range before {
		s.partition(tp).deleteBefore(o)
	}
	s.wakeAll()
	return nil
}

// ClusterID implements logclient.Log.
func (l *Log) ClusterID() string { return l.srv.cfg.ClusterID }

// CleanStart implements logclient.Log.
func (l *Log) CleanStart() bool { return l.clean }

// Hold implements logclient.Log; Compact respects it.
func (l *Log) Hold(tp record.TopicPartition, offset record.Offset) {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	if p := l.srv.partition(tp); p != nil {
		p.hold = offset
	}
}

// Close implements logclient.Log: whoever waits gets ErrClosed.
func (l *Log) Close() error {
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.live() == nil {
		s.closed = true
		s.wakeAll()
	}
	return nil
}

// partition finds a partition, or nil.
func (s *server) partition(tp record.TopicPartition) *partition {
	t := s.topics[tp.Topic]
	if t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.parts) {
		return nil
	}
	return t.parts[tp.Partition]
}

func unknown(tp record.TopicPartition) error {
	return fmt.Errorf("memlog: %s-%d: %w", tp.Topic, tp.Partition, logclient.ErrUnknownTopic)
}

// wakeup tells one waiting goroutine that something has changed.
type wakeup chan struct{}

func newWakeup() *wakeup {
	w := make(wakeup, 1)
	return &w
}

func (s *server) wakeAll() {
	for w := range s.waiting {
		select {
		case *w <- struct{}{}:
		default:
		}
	}
}

// wait lets the caller sleep until something changes. It is called with mu held
// and returns with mu held.
func (s *server) wait(ctx context.Context, w *wakeup) error {
	s.waiting[w] = struct{}{}
	s.mu.Unlock()
	var err error
	select {
	case <-*w:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	delete(s.waiting, w)
	return err
}

// sorted lists partitions by topic and number.
func sorted[V any](m map[record.TopicPartition]V) []record.TopicPartition {
	tps := make([]record.TopicPartition, 0, len(m))
	for tp := range m {
		tps = append(tps, tp)
	}
	sort.Slice(tps, func(i, j int) bool {
		if tps[i].Topic != tps[j].Topic {
			return tps[i].Topic < tps[j].Topic
		}
		return tps[i].Partition < tps[j].Partition
	})
	return tps
}
