package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/assign"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

// standbyLog is a log whose handle and topic ids a test can change under its users.
type standbyLog struct {
	logclient.Log
	mu     sync.Mutex
	handle *memlog.Log
	anew   byte // changes the topic ids
	fail   error
}

func (l *standbyLog) now() (*memlog.Log, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handle, l.fail
}

func (l *standbyLog) Describe(ctx context.Context, topics []string) ([]logclient.TopicInfo, error) {
	h, err := l.now()
	if err != nil {
		return nil, err
	}
	infos, err := h.Describe(ctx, topics)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range infos {
		infos[i].ID[15] += l.anew
	}
	return infos, err
}

func (l *standbyLog) Offsets(ctx context.Context, tps []record.TopicPartition, at logclient.At) ([]logclient.OffsetEpoch, error) {
	h, err := l.now()
	if err != nil {
		return nil, err
	}
	return h.Offsets(ctx, tps, at)
}

func (l *standbyLog) Reader(cfg logclient.ReaderConfig) (logclient.Reader, error) {
	h, err := l.now()
	if err != nil {
		return nil, err
	}
	return h.Reader(cfg)
}

// rebalances counts the calls for one.
type rebalances struct {
	logclient.Member
	n atomic.Int32
}

func (m *rebalances) Rebalance() { m.n.Add(1) }

// standbyScene is an instance whose standbys follow a log; nothing else of it runs.
type standbyScene struct {
	log    *standbyLog
	e      *Engine
	db     *memstore.DB
	member *rebalances
	mu     sync.Mutex
	lag    map[string]int64 // by task and store, as of the last report
	rounds int
	change chan struct{}
}

func newStandbyScene(t *testing.T, log *memlog.Log, db *memstore.DB, topo *topology.Topology) *standbyScene {
	t.Helper()
	s := &standbyScene{
		log: &standbyLog{Log: log, handle: log}, db: db, member: &rebalances{},
		lag: map[string]int64{}, change: make(chan struct{}),
	}
	cfg := Config{Workers: 1, Partitions: 2, CheckpointInterval: 5 * time.Millisecond, UncheckpointedBytes: 1}
	cfg.Hooks.Standby = func(task, store string, lag, _, _ int64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lag[task+" "+store] = lag
		s.rounds++
		close(s.change)
		s.change = make(chan struct{})
	}
	var err error
	if s.e, err = NewOn(topo, cfg, Backing{Log: s.log, DB: db, Instance: "b"}); err != nil {
		t.Fatal(err)
	}
	s.e.member, s.e.standbys.round = s.member, time.Millisecond
	work, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.e.standbys.run(work) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// until waits until ok holds, asked after each report of a follower.
func (s *standbyScene) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond) // what is let go calls no hook
	defer tick.Stop()
	for {
		s.mu.Lock()
		change := s.change
		s.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-change:
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within 20 s; standbys %+v", what, s.e.standbys.snapshots())
		}
	}
}

// caughtUp waits until all followed stores are at the end, twice: the first report
// may have been on its way already.
func (s *standbyScene) caughtUp(t *testing.T, stores int) {
	t.Helper()
	for range 2 {
		s.mu.Lock()
		clear(s.lag)
		s.mu.Unlock()
		s.until(t, "catch up", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, n := range s.lag {
				if n != 0 {
					return false
				}
			}
			return len(s.lag) == stores
		})
	}
}

func (s *standbyScene) statefulTasks() (ids []plan.TaskID) {
	for _, id := range s.e.plan.TaskIDs() {
		if s.e.hasChangelog(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func entriesOf(t *testing.T, e *Engine, db state.DB, id plan.TaskID) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, s := range e.plan.Subs[id.Sub].Stores {
		err := db.Range(id.Key(), s.Key, nil, nil, func(k, v []byte) bool {
			out[fmt.Sprintf("%s %q", s.Spec.Name, k)] = string(v)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func tableTopology(t *testing.T) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	b.Table[string, string]("rows", streams.Store("rows"))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

var rowsLog = record.TopicPartition{Topic: "app-rows-changelog"}

func row(i int, value string) record.View {
	v := record.View{Key: []byte(fmt.Sprintf("key-%04d", i)), Timestamp: int64(i)}
	if value != "" {
		v.Value = state.AppendValue(nil, int64(i), []byte(value))
	}
	return v
}

// foldOf is what the records of a changelog leave, tombstones included.
func foldOf(log *memlog.Log, tp record.TopicPartition, store string) map[string]string {
	out := map[string]string{}
	for _, r := range log.Records(tp) {
		key := fmt.Sprintf("%s %q", store, r.Key)
		if r.Value == nil {
			delete(out, key)
		} else {
			out[key] = string(r.Value)
		}
	}
	return out
}

func sameEntries(t *testing.T, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	n := 0
	for k, v := range want {
		if got[k] != v && n < 5 {
			t.Errorf("%s is %q, want %q", k, got[k], v)
			n++
		}
	}
	t.Errorf("%d entries, want %d", len(got), len(want))
}

// newLogFor makes the application's topics.
func newLogFor(t *testing.T, topo *topology.Topology) *memlog.Log {
	t.Helper()
	log := memlog.New(memlog.Config{BatchBytes: 512})
	_, err := NewOn(topo, Config{Partitions: 2}, Backing{Log: log, DB: memstore.New(0), Instance: "a"})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// Whatever the history (overwrites, tombstones, releases, new beginnings), the
// standby's database is the fold of the changelog.
func TestAStandbysDatabaseIsTheFoldOfTheChangelog(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			topo := tableTopology(t)
			log := newLogFor(t, topo)
			s := newStandbyScene(t, log, memstore.New(5), topo)
			ids := s.statefulTasks()
			for range 6 {
				for range rnd.IntN(400) {
					tp := rowsLog
					tp.Partition = record.Partition(rnd.IntN(2))
					value := strings.Repeat("v", rnd.IntN(300))
					log.Produce(tp, row(rnd.IntN(200), value))
				}
				s.e.standbys.assign(ids)
				if rnd.IntN(2) == 0 {
					s.caughtUp(t, len(ids))
				}
				if rnd.IntN(3) == 0 {
					s.e.standbys.release(ids[rnd.IntN(len(ids))])
				}
			}
			s.e.standbys.assign(ids)
			s.caughtUp(t, len(ids))
			for _, id := range ids {
				s.e.standbys.release(id)
				tp := rowsLog
				tp.Partition = record.Partition(id.Partition)
				sameEntries(t, entriesOf(t, s.e, s.db, id), foldOf(log, tp, "rows"))
			}
		})
	}
}

// A task that moves to its standby replays what the standby had not, and no more.
func TestAPromotedStandbyReplaysOnlyWhatItLacks(t *testing.T) {
	topo := tableTopology(t)
	log := newLogFor(t, topo)
	for i := range 3000 {
		log.Produce(rowsLog, row(i, "value"))
	}
	s := newStandbyScene(t, log, memstore.New(0), topo)
	id := s.statefulTasks()[0]
	s.e.standbys.assign([]plan.TaskID{id})
	s.caughtUp(t, 1)
	s.e.standbys.release(id)
	const lacked = 7
	bytes := int64(0)
	for i := range lacked {
		v := row(i, "newer")
		bytes += int64(len(v.Key) + len(v.Value))
		log.Produce(rowsLog, v)
	}
	if _, err := s.e.restoreTask(t.Context(), id, &taskStart{}); err != nil {
		t.Fatal(err)
	}
	if n := s.e.State().Totals; n.Restored != lacked || n.RestoredBytes != bytes || n.Rebuilt != 0 || n.StandbyRecords != 3000 {
		t.Errorf("%d records and %d bytes replayed at the start, %d tasks rebuilt, %d records by the standby: want %d, %d, 0 and 3000",
			n.Restored, n.RestoredBytes, n.Rebuilt, n.StandbyRecords, lacked, bytes)
	}
}

// A standby that was far behind calls for a rebalance when it has caught up, once.
func TestAStandbyThatHasCaughtUpSaysSoOnce(t *testing.T) {
	topo := tableTopology(t)
	log := newLogFor(t, topo)
	var many []record.View
	for i := range assign.AcceptableLag + 5000 {
		many = append(many, row(i, "v"))
	}
	log.Produce(rowsLog, many...)
	s := newStandbyScene(t, log, memstore.New(0), topo)
	ids := s.statefulTasks()
	if lags := s.e.standbys.lags(); len(lags) != 1 || lags[ids[1]] != 0 {
		t.Errorf("without state the lags are %v: want that of the task with an empty changelog only", lags)
	}
	s.e.report(t.Context()) // as at a join
	s.e.standbys.assign(ids)
	s.caughtUp(t, 2)
	if n := s.member.n.Load(); n != 1 {
		t.Errorf("%d calls for a rebalance, want 1: one task of two was far behind", n)
	}
	s.e.standbys.release(ids[0])
	log.Produce(rowsLog, row(1, "v"))
	if lags := s.e.standbys.lags(); lags[ids[0]] != 1 {
		t.Errorf("lags %v: the local checkpoint is one record behind", lags)
	}
}

// An instance that could not ask the log when it joined told nothing of its state, and
// was dealt nothing: once it knows that it has caught up it says so, once. Without it
// the instance stays idle for good.
func TestAStandbyOfWhichTheGroupWasToldNothingSaysSo(t *testing.T) {
	topo := tableTopology(t)
	log := newLogFor(t, topo)
	log.Produce(rowsLog, row(1, "v"))
	s := newStandbyScene(t, log, memstore.New(0), topo)
	ids := s.statefulTasks()
	s.log.mu.Lock()
	s.log.fail = errors.New("nobody answers")
	s.log.mu.Unlock()
	if lags := s.e.report(t.Context()); len(lags) != 0 {
		t.Fatalf("lags %v, although the log does not answer", lags)
	}
	s.log.mu.Lock()
	s.log.fail = nil
	s.log.mu.Unlock()
	s.e.standbys.assign(ids)
	s.caughtUp(t, 2)
	s.until(t, "a call for a rebalance", func() bool { return s.member.n.Load() > 0 })
	if lags := s.e.report(t.Context()); len(lags) != len(ids) {
		t.Errorf("lags %v, want those of %d units", lags, len(ids))
	}
	calls := s.member.n.Load()
	s.e.standbys.release(ids[0])
	s.e.standbys.assign(ids)
	s.caughtUp(t, 2)
	if n := s.member.n.Load(); n != calls || n > int32(len(ids)) {
		t.Errorf("%d calls for a rebalance, then %d: the group knew after the first", calls, n)
	}
}

// A task that ran here when the group was told is near for the group already: its
// standby, later, has no news.
func TestAStandbyOfATaskThatRanHereHasNoNews(t *testing.T) {
	topo := tableTopology(t)
	log := newLogFor(t, topo)
	log.Produce(rowsLog, row(1, "v"))
	s := newStandbyScene(t, log, memstore.New(0), topo)
	ids := s.statefulTasks()
	running := func(is bool) {
		s.e.mu.Lock()
		defer s.e.mu.Unlock()
		for _, id := range ids {
			s.e.running[id] = is
		}
	}
	running(true)
	s.e.report(t.Context())
	running(false)
	s.e.standbys.assign(ids)
	s.caughtUp(t, 2)
	if n := s.member.n.Load(); n != 0 {
		t.Errorf("%d calls for a rebalance, want none", n)
	}
}

// What a follower meets, it comes through: the database is right in the end.
func TestAStandbyBeginsAnewWhereItsChangelogIsNotTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		meet func(*standbyScene, *memlog.Log) *memlog.Log
		// follows: the checkpoint stays good, nothing is rebuilt
		follows bool
	}{
		"deleted and made anew": {meet: func(s *standbyScene, log *memlog.Log) *memlog.Log {
			s.log.mu.Lock()
			defer s.log.mu.Unlock()
			s.log.anew++
			return log
		}},
		"begins beyond": {meet: func(s *standbyScene, log *memlog.Log) *memlog.Log {
			at := log.Produce(rowsLog, row(1, "never seen"))
			_ = log.DeleteBefore(context.Background(), map[record.TopicPartition]record.Offset{rowsLog: at + 1})
			return log
		}},
		"cut below": {meet: func(s *standbyScene, log *memlog.Log) *memlog.Log {
			s.log.mu.Lock()
			defer s.log.mu.Unlock()
			s.log.handle = log.Crash(map[record.TopicPartition]record.Offset{rowsLog: 50})
			for i := range 300 { // past where the follower was, with other records
				s.log.handle.Produce(rowsLog, row(1000+i, "other"))
			}
			return s.log.handle
		}},
		"a new leader": {follows: true, meet: func(s *standbyScene, log *memlog.Log) *memlog.Log {
			s.log.mu.Lock()
			defer s.log.mu.Unlock()
			s.log.handle = log.Crash(nil)
			return s.log.handle
		}},
		"errors that pass": {follows: true, meet: func(s *standbyScene, log *memlog.Log) *memlog.Log {
			log.FailNextPoll(fmt.Errorf("%w: no broker", logclient.ErrUnavailable))
			return log
		}},
		"a fatal error that passes": {follows: true, meet: func(s *standbyScene, log *memlog.Log) *memlog.Log {
			log.FailNextPoll(errors.New("nobody has thought of this"))
			return log
		}},
	} {
		t.Run(name, func(t *testing.T) {
			topo := tableTopology(t)
			log := newLogFor(t, topo)
			for i := range 200 {
				log.Produce(rowsLog, row(i, "value"))
			}
			s := newStandbyScene(t, log, memstore.New(0), topo)
			id := s.statefulTasks()[0]
			s.e.standbys.assign([]plan.TaskID{id})
			s.caughtUp(t, 1)
			s.e.standbys.assign(nil) // with a last checkpoint of all 200
			s.until(t, "let go", func() bool { return !s.e.standbys.holds(id) })
			if name != "begins beyond" {
				s.e.standbys.assign([]plan.TaskID{id})
				s.caughtUp(t, 1)
			}
			log = c.meet(s, log)
			s.e.standbys.assign([]plan.TaskID{id})
			log.Produce(rowsLog, row(3, "last"))
			if !c.follows {
				s.until(t, "rebuild", func() bool { return s.e.State().Totals.Rebuilt > 0 })
			}
			want := foldOf(log, rowsLog, "rows")
			last := fmt.Sprintf("rows %q", row(3, "").Key)
			s.until(t, "the last record", func() bool { return entriesOf(t, s.e, s.db, id)[last] == want[last] })
			s.caughtUp(t, 1)
			s.e.standbys.release(id)
			sameEntries(t, entriesOf(t, s.e, s.db, id), want)
			if n := s.e.State().Totals.Rebuilt; c.follows != (n == 0) {
				t.Errorf("%d times rebuilt", n)
			}
		})
	}
}

// Windows expire on a standby too, though it has no stream time: by where the
// running task has cut the changelog.
func TestAStandbyOfWindowsIsBounded(t *testing.T) {
	b := streams.NewBuilder("app")
	b.From[string, string]("in").GroupByKey().Windowed(streams.Tumbling(time.Minute)).Count(streams.Store("counts"))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	log := newLogFor(t, topo)
	tp := record.TopicPartition{Topic: "app-counts-changelog"}
	s := newStandbyScene(t, log, memstore.New(0), topo)
	id := s.statefulTasks()[0]
	s.e.standbys.assign([]plan.TaskID{id})
	const perWindow, kept = 20, 3
	var begins []record.Offset
	greatest := 0
	for w := range 60 {
		var records []record.View
		for k := range perWindow {
			key := state.AppendWindowKey(nil, int64(w)*60_000, []byte(fmt.Sprint(k)))
			records = append(records, record.View{Key: key, Value: state.AppendValue(nil, 1, []byte("12345678"))})
		}
		begins = append(begins, log.Produce(tp, records...))
		if w >= kept {
			if err := log.DeleteBefore(t.Context(), map[record.TopicPartition]record.Offset{tp: begins[w-kept]}); err != nil {
				t.Fatal(err)
			}
		}
		if w%10 == 9 {
			s.until(t, "windows expire", func() bool {
				n := len(entriesOf(t, s.e, s.db, id))
				all := s.e.State().Standbys
				return n > 0 && n <= (kept+1)*perWindow && len(all) == 1 && all[0].Lag == 0
			})
			greatest = max(greatest, len(entriesOf(t, s.e, s.db, id)))
		}
		if w == 30 { // one that comes back knows its windows by its checkpoint
			s.e.standbys.release(id)
			s.e.standbys.assign([]plan.TaskID{id})
		}
	}
	s.caughtUp(t, 1)
	last := 60 - kept + 1 // one more expires, and nothing else happens
	if err := log.DeleteBefore(t.Context(), map[record.TopicPartition]record.Offset{tp: begins[last]}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "a window expires", func() bool { return len(entriesOf(t, s.e, s.db, id)) == (60-last)*perWindow })
	s.e.standbys.release(id)
	got := entriesOf(t, s.e, s.db, id)
	for w := last; w < 60; w++ {
		for k := range perWindow {
			key := fmt.Sprintf("counts %q", state.AppendWindowKey(nil, int64(w)*60_000, []byte(fmt.Sprint(k))))
			if got[key] == "" {
				t.Fatalf("window %d, key %d is gone, but it is in the changelog", w, k)
			}
		}
	}
	if greatest == 0 {
		t.Error("the standby never had anything")
	}
}
