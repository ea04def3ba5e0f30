package segment

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// modelRecord is what was appended at an offset; the model is a slice of them.
type modelRecord struct {
	kv
	marker  bool
	pid     record.ProducerID
	txn     bool
	aborted bool
}

// world is one random history: the log, the model beside it, and what the
// data directory's root files would say.
type world struct {
	t   *testing.T
	rng *rand.Rand
	fs  *vfs.Mem
	cfg Config
	l   *Log

	recs      []modelRecord
	start     record.Offset
	durable   record.Offset // acknowledged by Sync
	cleanedTo record.Offset // superseded records and markers below it may be gone
	tombsTo   record.Offset // tombstones too

	recoveryPoint, logStart record.Offset // persisted
	seq                     map[record.ProducerID]int32
	open                    map[record.ProducerID]bool
	now                     int64
	trace                   []string
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), seq: map[record.ProducerID]int32{},
		open: map[record.ProducerID]bool{}, now: 1000}
	w.cfg = testConfig(w.fs, Settings{SegmentBytes: 700, IndexIntervalBytes: 150, DeleteRetention: 50 * 1e6})
	if err := errors.Join(w.fs.MkdirAll("/data"), w.fs.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	l, _, err := Open(w.cfg, OpenOptions{Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	w.l = l
	return w
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nhistory: %v", fmt.Sprintf(format, args...), w.trace)
}

// step does one random operation.
func (w *world) step() {
	w.now += int64(w.rng.IntN(20))
	ops := []struct {
		weight int
		name   string
		do     func()
	}{
		{30, "append", func() { w.append(record.NoProducerID, false) }},
		{8, "idempotent", func() { w.append(1, false) }},
		{14, "transactional", func() { w.append(record.ProducerID(2+w.rng.IntN(3)), true) }},
		{10, "end", w.endTxn},
		{8, "sync", w.sync},
		{4, "checkpoint", w.checkpoint},
		{3, "roll", func() { w.must(w.l.Roll(w.now)) }},
		{2, "delete", w.delete},
		{4, "compact", w.compact},
		{2, "reopen clean", func() { w.reopen(true) }},
		{2, "reopen", func() { w.reopen(false) }},
	}
	total := 0
	for _, op := range ops {
		total += op.weight
	}
	n := w.rng.IntN(total)
	for _, op := range ops {
		if n -= op.weight; n < 0 {
			w.trace = append(w.trace, op.name)
			op.do()
			return
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.fail("%v", err)
	}
}

func (w *world) append(pid record.ProducerID, txn bool) {
	o := batchOpts{pid: pid, epoch: record.NoProducerEpoch, seq: record.NoSequence, txn: txn, codec: record.Codec(w.rng.IntN(5))}
	n := 1 + w.rng.IntN(4)
	if pid != record.NoProducerID {
		o.epoch, o.seq = 0, w.seq[pid]
		w.seq[pid] += int32(n)
		w.open[pid] = w.open[pid] || txn
	}
	var recs []kv
	for range n {
		r := kv{key: fmt.Sprint("k", w.rng.IntN(12)), value: fmt.Sprint("v", w.rng.IntN(1000)), time: w.now}
		r.null = w.rng.IntN(6) == 0
		recs = append(recs, r)
		w.recs = append(w.recs, modelRecord{kv: r, pid: pid, txn: txn})
	}
	res, err := w.l.Append(buildBatch(w.t, o, recs...), AppendOptions{Now: w.now})
	w.must(err)
	if int(res.Next) != len(w.recs) {
		w.fail("append ended at %d, the model at %d", res.Next, len(w.recs))
	}
}

func (w *world) endTxn() {
	for pid := record.ProducerID(2); pid < 5; pid++ {
		if !w.open[pid] {
			continue
		}
		typ := record.ControlType(w.rng.IntN(2))
		_, err := w.l.AppendMarker(pid, 0, record.Marker{Type: typ}, w.now)
		w.must(err)
		for i := len(w.recs) - 1; i >= 0; i-- {
			if r := &w.recs[i]; r.pid == pid && r.marker {
				break
			} else if r.pid == pid && typ == record.AbortMarker {
				r.aborted = true
			}
		}
		w.recs = append(w.recs, modelRecord{marker: true, pid: pid})
		delete(w.open, pid)
		return
	}
}

func (w *world) sync() {
	w.must(w.l.Sync(w.l.End()))
	w.durable = w.l.End()
}

func (w *world) checkpoint() {
	rp, err := w.l.Checkpoint()
	w.must(err)
	w.recoveryPoint, w.durable = rp, max(w.durable, rp)
	w.l.Checkpointed(rp)
}

func (w *world) delete() {
	to := w.start + record.Offset(w.rng.IntN(int(w.l.Stable()-w.start)+1))
	w.must(w.l.DeleteBefore(to))
	w.start, w.logStart, w.durable = to, to, max(w.durable, to)
}

func (w *world) compact() {
	w.checkpoint()
	res, err := w.l.Compact(CompactOptions{Now: w.now, Hold: -1, Map: NewOffsetMap(24 * (8 + w.rng.IntN(30))), RollActive: w.rng.IntN(2) == 0})
	w.must(err)
	w.cleanedTo = max(w.cleanedTo, res.Next)
	w.tombsTo = w.cleanedTo
}

func (w *world) reopen(clean bool) {
	if clean {
		w.must(w.l.Close())
		w.durable, w.recoveryPoint = w.l.End(), w.l.End()
	} else {
		w.l.Abandon()
	}
	l, _, err := Open(w.cfg, OpenOptions{Clean: clean, RecoveryPoint: w.recoveryPoint, LogStart: w.logStart, Now: w.now})
	w.must(err)
	w.l = l
	w.check(l, "reopened", record.Offset(len(w.recs)))
	w.durable = l.Durable()
}

// check compares a log with the model. least is where the log must reach at least.
func (w *world) check(l *Log, what string, least record.Offset) {
	w.t.Helper()
	end := l.End()
	if end < least || int(end) > len(w.recs) {
		w.fail("%s: end %d, want %d to %d", what, end, least, len(w.recs))
	}
	have := map[record.Offset]string{}
	var buf []byte
	for at := max(l.Start(), w.start); at < end; {
		b, err := l.Read(buf, at, end, 200+w.rng.IntN(500))
		if err != nil || len(b) == 0 {
			w.fail("%s: read at %d: %d bytes, %v", what, at, len(b), err)
		}
		it := record.NewIterator(b, record.ReadOptions{})
		var v record.View
		for it.Next(&v) {
			if v.Offset < at {
				continue
			}
			r := w.recs[v.Offset]
			if r.marker != it.Batch().Control() || !r.marker && (string(v.Key) != r.key || v.Timestamp != r.time || (v.Value == nil) != r.null || !r.null && string(v.Value) != r.value) {
				w.fail("%s: offset %d holds %s=%s, the model %+v", what, v.Offset, v.Key, v.Value, r)
			}
			have[v.Offset] = string(v.Key)
			at = v.Offset
		}
		w.must(it.Err())
		at = max(at, it.Batch().LastOffset()) + 1
		it.Release()
		buf = b
	}
	w.checkAll(l, what, have, end)
	w.checkStable(l, what, end)
}

// checkAll: nothing that must be there is missing.
func (w *world) checkAll(l *Log, what string, have map[record.Offset]string, end record.Offset) {
	last := map[string]record.Offset{}
	for i := w.start; i < end; i++ {
		if r := w.recs[i]; !r.marker && !(r.aborted && i < w.cleanedTo) {
			last[r.key] = i
		}
	}
	for i := max(w.start, l.Start()); i < end; i++ {
		r := w.recs[i]
		if _, ok := have[i]; ok {
			continue
		}
		superseded := !r.marker && last[r.key] != i
		if i >= w.cleanedTo || !(r.marker || r.aborted || superseded || r.null && i < w.tombsTo) {
			w.fail("%s: offset %d (%+v) is missing; log [%d,%d), cleaned to %d", what, i, r, l.Start(), end, w.cleanedTo)
		}
	}
}

// checkStable: the last stable offset is the first offset of an open transaction in [0, end).
func (w *world) checkStable(l *Log, what string, end record.Offset) {
	open := map[record.ProducerID]record.Offset{}
	for i := range end {
		r := w.recs[i]
		if r.marker {
			delete(open, r.pid)
		} else if _, ok := open[r.pid]; r.txn && !ok {
			open[r.pid] = i
		}
	}
	want := end
	for _, first := range open {
		want = min(want, first)
	}
	want = max(want, l.Start()) // records of an open transaction may be deleted
	if l.Stable() != want {
		w.fail("%s: stable %d, want %d (end %d)", what, l.Stable(), want, end)
	}
	// Aborted: each record of an aborted transaction that is decided below end is covered.
	for i := max(l.Start(), w.start); i < want; i++ {
		r := w.recs[i]
		if r.marker || !r.txn || i < w.cleanedTo {
			continue
		}
		list, err := l.Aborted(nil, i, i+1)
		w.must(err)
		covered := false
		for _, a := range list {
			covered = covered || a.ProducerID == r.pid && a.First <= i
		}
		if covered != r.aborted {
			w.fail("%s: offset %d of producer %d: aborted %v, the index says %v: %v", what, i, r.pid, r.aborted, covered, list)
		}
	}
}

// crash opens the disk as a power cut now could leave it.
func (w *world) crash(percent int) {
	clone := w.fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent, Rand: w.rng, Tear: 64})
	cfg := w.cfg
	cfg.FS = clone
	l, r, err := Open(cfg, OpenOptions{RecoveryPoint: w.recoveryPoint, LogStart: w.logStart, Now: w.now})
	if err != nil {
		w.fail("crash clone at %d %%: %v", percent, err)
	}
	defer l.Abandon()
	what := fmt.Sprintf("crash clone at %d %% (%+v)", percent, r)
	w.check(l, what, w.durable)
	if _, err := Verify(clone, cfg.Dir, VerifyOptions{TopicID: cfg.TopicID}, func(f Finding) {
		w.fail("%s: verify: %s; %+v, recovery point %d", what, f, l.Segments(), w.recoveryPoint)
	}); err != nil {
		w.fail("%s: %v", what, err)
	}
	next := l.End()
	if _, err := l.Append(buildBatch(w.t, plain, kv{key: "k", value: "after"}), AppendOptions{Now: w.now}); err != nil || l.End() != next+1 {
		w.fail("%s: append after it: %v, end %d", what, err, l.End())
	}
}

var (
	seedsFlag = flag.Uint64("seeds", 40, "random histories to run")
	firstSeed = flag.Uint64("seed", 0, "the first one")
)

func TestRandomHistoriesMatchTheModelAndSurviveCrashes(t *testing.T) {
	const steps = 80
	// 102 finds a snapshot that waits for a marker which compaction dropped.
	seeds := []uint64{102}
	last := *firstSeed + *seedsFlag
	if testing.Short() {
		last = *firstSeed + (*seedsFlag+4)/5
	}
	for seed := *firstSeed; seed < last; seed++ {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		w := newWorld(t, seed)
		w.trace = append(w.trace, fmt.Sprint("seed ", seed))
		for range steps {
			w.step()
			for _, percent := range []int{0, 50, 100} {
				w.crash(percent)
			}
		}
		w.check(w.l, "at the end", record.Offset(len(w.recs)))
		w.l.Abandon()
	}
}
