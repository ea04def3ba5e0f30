package segment

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// keyedHistory fills a log with what a compacted topic sees: plain, idempotent
// and transactional records of few keys, tombstones, every codec.
type keyedHistory struct {
	t      testing.TB
	rng    *rand.Rand
	log    *Log
	seq    map[record.ProducerID]int32
	inTxn  map[record.ProducerID][]kvAt
	values map[string]string // the fold: committed, tombstones removed
	final  map[string]record.Offset
	last   map[record.ProducerID][]byte // the last batch of each producer, as it was sent
}

type kvAt struct {
	kv
	at record.Offset
}

func newKeyedHistory(t testing.TB, l *Log, seed uint64) *keyedHistory {
	return &keyedHistory{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), log: l, seq: map[record.ProducerID]int32{},
		inTxn: map[record.ProducerID][]kvAt{}, values: map[string]string{}, final: map[string]record.Offset{},
		last: map[record.ProducerID][]byte{},
	}
}

// fold applies committed records; a record counts by its offset, not by when it was committed.
func (h *keyedHistory) fold(recs []kvAt) {
	for _, r := range recs {
		if at, ok := h.final[r.key]; ok && at > r.at {
			continue
		}
		h.final[r.key] = r.at
		delete(h.values, r.key)
		if !r.null {
			h.values[r.key] = r.value
		}
	}
}

func (h *keyedHistory) step(now int64) {
	pid := record.ProducerID(h.rng.IntN(5)) // 0: none, 1: idempotent, 2..4: transactional
	if pid >= 2 && h.rng.IntN(3) == 0 {
		h.end(pid, record.ControlType(h.rng.IntN(2)), now)
		return
	}
	o := batchOpts{pid: pid, seq: h.seq[pid], txn: pid >= 2, codec: record.Codec(h.rng.IntN(5))}
	if pid == 0 {
		o.pid, o.epoch, o.seq = record.NoProducerID, record.NoProducerEpoch, record.NoSequence
	}
	recs := make([]kv, 1+h.rng.IntN(4))
	for i := range recs {
		recs[i] = kv{key: fmt.Sprint("k", h.rng.IntN(10)), value: fmt.Sprint("v", h.rng.IntN(1e6)), time: now, null: h.rng.IntN(5) == 0}
	}
	raw := buildBatch(h.t, o, recs...)
	res, err := h.log.Append(slices.Clone(raw), AppendOptions{Now: now})
	if err != nil {
		h.t.Fatal(err)
	}
	placed := make([]kvAt, len(recs))
	for i, r := range recs {
		placed[i] = kvAt{r, res.Base + record.Offset(i)}
	}
	if pid != 0 {
		h.seq[pid] += int32(len(recs))
		h.last[pid] = raw
	}
	if pid >= 2 {
		h.inTxn[pid] = append(h.inTxn[pid], placed...)
		return
	}
	h.fold(placed)
}

func (h *keyedHistory) end(pid record.ProducerID, typ record.ControlType, now int64) {
	if len(h.inTxn[pid]) == 0 {
		return
	}
	if _, err := h.log.AppendMarker(pid, 0, record.Marker{Type: typ}, now); err != nil {
		h.t.Fatal(err)
	}
	if typ == record.CommitMarker {
		h.fold(h.inTxn[pid])
	}
	delete(h.inTxn, pid)
}

// endAll decides every open transaction, so that nothing above the last stable offset is left.
func (h *keyedHistory) endAll(now int64) {
	for pid := record.ProducerID(2); pid < 5; pid++ {
		h.end(pid, record.ControlType(h.rng.IntN(2)), now)
	}
}

// committedFold reads the log as a read_committed consumer would and folds it by key.
func committedFold(l *Log) (map[string]string, error) {
	values := map[string]string{}
	for at := l.Start(); at < l.Stable(); {
		b, err := l.Read(nil, at, l.Stable(), 500)
		if err != nil || len(b) == 0 {
			return values, err
		}
		it := record.NewIterator(b, record.ReadOptions{})
		for it.NextBatch() {
		}
		aborted, err := l.Aborted(nil, at, it.Batch().NextOffset())
		if err != nil {
			return nil, err
		}
		it.Reset(b, record.ReadOptions{From: at})
		for it.NextBatch() {
			h := *it.Batch()
			var v record.View
			for it.NextInBatch(&v) {
				void := h.Control() || h.Transactional() && slices.ContainsFunc(aborted, func(a AbortedTxn) bool {
					return a.ProducerID == h.ProducerID && a.First <= h.BaseOffset && h.BaseOffset < a.Last
				})
				if void {
					continue
				}
				delete(values, string(v.Key))
				if v.Value != nil {
					values[string(v.Key)] = string(v.Value)
				}
			}
			at = h.NextOffset()
		}
		if it.Err() != nil {
			return nil, it.Err()
		}
		it.Release()
	}
	return values, nil
}

// check: the fold is the model's, every producer's sequence is known, all files agree.
func (h *keyedHistory) check(fs vfs.FS, l *Log) error {
	values, err := committedFold(l)
	if err != nil {
		return err
	}
	if !maps.Equal(values, h.values) {
		return fmt.Errorf("latest values\n got %v\nwant %v", values, h.values)
	}
	if l.Stable() != l.End() {
		return fmt.Errorf("stable %d, but every transaction before the end %d is decided", l.Stable(), l.End())
	}
	for pid, raw := range h.last {
		if res, err := l.Append(slices.Clone(raw), AppendOptions{Now: 1}); err != nil || !res.Duplicate {
			return fmt.Errorf("the last batch of producer %d, sent again: %+v, %v; want a duplicate", pid, res, err)
		}
	}
	var first error
	_, err = Verify(fs, l.cfg.Dir, VerifyOptions{TopicID: l.cfg.TopicID}, func(f Finding) {
		if first == nil {
			first = errors.New("verify: " + f.String())
		}
	})
	return errors.Join(first, err)
}

func compactionSetup(t testing.TB, fs vfs.FS, seed uint64, batches int) (*keyedHistory, Config) {
	cfg := testConfig(fs, Settings{SegmentBytes: 900, IndexIntervalBytes: 200, DeleteRetention: 1e6})
	if err := errors.Join(fs.MkdirAll("/data"), fs.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	l, _ := mustOpen(t, cfg, OpenOptions{})
	h := newKeyedHistory(t, l, seed)
	for i := range batches {
		h.step(int64(i))
	}
	h.endAll(int64(batches))
	checkpointed(t, l)
	return h, cfg
}

func checkpointed(t testing.TB, l *Log) record.Offset {
	t.Helper()
	rp, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	l.Checkpointed(rp)
	return rp
}

// Whatever instant of a compaction a power cut hits, the next start finds
// either the old segments or the new ones.
func TestACrashAnywhereInACompactionLosesNothing(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	clones, swaps := 0, 0
	for seed := range seeds {
		mem := vfs.NewMem()
		fs := vfs.Faulty(mem)
		h, cfg := compactionSetup(t, fs, seed, 60)
		crash := func(what string, rp record.Offset) {
			for _, percent := range []int{0, 50, 100} {
				clone := mem.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent, Rand: h.rng, Tear: 64})
				names, _ := clone.ReadDir(cfg.Dir)
				for _, name := range names {
					if strings.HasSuffix(name, suffixLog+suffixSwap) {
						swaps++
					}
				}
				cfg := cfg
				cfg.FS = clone
				l, r, err := Open(cfg, OpenOptions{RecoveryPoint: rp})
				if err == nil {
					err = h.check(clone, l)
					l.Abandon()
				}
				if err != nil || r.Cut > 0 {
					t.Fatalf("seed %d, %s, %d %% of what was not synced survived: %+v: %v\nfiles %v", seed, what, percent, r, err, names)
				}
				clones++
			}
		}
		next := record.Offset(0)
		for run := range 4 { // horizons set, then passed: tombstones and markers go
			rp := checkpointed(t, h.log)
			fs.SetHooks(nil, func(e vfs.Event) { crash(fmt.Sprintf("run %d, after %s %s", run, e.Op, e.Name), rp) })
			res, err := h.log.Compact(CompactOptions{Now: int64(1000 * (run + 1)), Hold: -1, FirstDirty: next, Map: NewOffsetMap(24 * 16), RollActive: run == 0})
			fs.SetHooks(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			next = res.Next
			if run == 1 { // more of the same keys
				for i := range 20 {
					h.step(int64(2000 + i))
				}
				h.endAll(2020)
			}
		}
		if err := h.check(fs, h.log); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d clones, %d of them between decision and end of a swap", clones, swaps)
	if swaps == 0 {
		t.Error("no crash met a swap: the test proves nothing")
	}
}

// A disk that fails at any one operation of a compaction: the log serves on or
// is offline, and after a restart all is there.
func TestAFailedOperationInACompactionLosesNothing(t *testing.T) {
	for _, kind := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpRemove, vfs.OpRename} {
		t.Run(kind.String(), func(t *testing.T) {
			for nth := 1; ; nth++ {
				mem := vfs.NewMem()
				fs := vfs.Faulty(mem)
				h, cfg := compactionSetup(t, fs, 3, 40)
				// The first run leaves small segments, the second merges them.
				if _, err := h.log.Compact(CompactOptions{Now: 100, Hold: -1, RollActive: true}); err != nil {
					t.Fatal(err)
				}
				rp := checkpointed(t, h.log)
				before := fs.Count(kind)
				fs.SetRules(vfs.Rule{Ops: kind, Nth: nth, Err: syscall.EIO})
				_, err := h.log.Compact(CompactOptions{Now: 1000, Hold: -1})
				fs.SetRules()
				if err == nil && fs.Count(kind)-before < nth {
					if nth == 1 {
						t.Fatal("no such operation in a compaction")
					}
					h.log.Abandon()
					return
				}
				if h.log.Err() == nil {
					if err := h.check(fs, h.log); err != nil && !strings.Contains(err.Error(), "left over") {
						t.Fatalf("%s number %d failed, and the log served on: %v", kind, nth, err)
					}
					// What a failed run left must not come back after the segments that it replaced are gone.
					if err := h.log.DeleteBefore(h.log.Segments()[len(h.log.Segments())-1].Base); err != nil {
						t.Fatal(err)
					}
				}
				start := h.log.Start()
				h.log.Abandon()
				l, _, err := Open(cfg, OpenOptions{RecoveryPoint: rp, LogStart: start})
				if err != nil {
					t.Fatalf("%s number %d failed; open: %v", kind, nth, err)
				}
				if start == 0 {
					err = h.check(fs, l)
				}
				if err != nil {
					t.Fatalf("%s number %d failed; reopened: %v", kind, nth, err)
				}
				l.Abandon()
			}
		})
	}
}

// Readers that are under way when segments are replaced end with every latest
// value. The hold stands for a delete retention that is longer than a read.
func TestReadersGoOnWhileSegmentsAreReplaced(t *testing.T) {
	fs := vfs.NewMem()
	h, _ := compactionSetup(t, fs, 11, 150)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 1000 {
				values, err := committedFold(h.log)
				if err != nil || !maps.Equal(values, h.values) {
					t.Errorf("while compacting: %v\n got %v\nwant %v", err, values, h.values)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	next := record.Offset(0)
	for run := range 12 {
		res, err := h.log.Compact(CompactOptions{Now: int64(1000 * (run + 1)), Hold: 0, FirstDirty: next, Map: NewOffsetMap(24 * 12), RollActive: true})
		if err != nil {
			t.Fatal(err)
		}
		if next = res.Next; run%3 == 2 {
			next = 0
		}
		checkpointed(t, h.log)
	}
	close(stop)
	wg.Wait()
	if err := h.check(fs, h.log); err != nil {
		t.Fatal(err)
	}
}
