package broker_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Crash clones: random histories of operations on a broker. After every
// operation the disk is cloned as a power cut or the end of the process would
// leave it, the clone is opened, and a model of what was acknowledged says
// whether that is a state which the durability table (DESIGN.md, section 4)
// allows. In one history of fineEvery, over fineLength of its operations, also
// after every change of the file system.

const (
	historyLength = 200
	fineEvery     = 20
	fineLength    = 16
	dataDir       = "/data"
)

// history is one random history: a broker, its disk, and the model.
type history struct {
	seed   uint64
	rng    *rand.Rand // what happens
	dice   *rand.Rand // what a crash takes
	m      *model
	b      *broker.Broker
	mem    *vfs.Mem
	wrap   func(vfs.FS) vfs.FS // between the broker and the disk
	fine   int                 // the first operation whose file-system calls are followed by a clone each; below 0 none
	boot   int
	ids    byte
	values int

	op     int
	kind   string
	log    []string
	seen   coverage
	err    error
	reboot bool // a start after a power cut is in progress
}

// coverage counts clones by the kind of operation and of crash.
type coverage map[string][]int

func newHistory(seed uint64) *history {
	h := &history{seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), dice: rand.New(rand.NewPCG(seed, 2)),
		wrap: func(f vfs.FS) vfs.FS { return f }, mem: vfs.NewMem(), seen: coverage{},
		m: &model{
			handed: map[broker.ProducerIdentity]bool{}, nowMS: 1_700_000_000_000,
			groups: map[string]map[record.TopicPartition]position{"g0": {}, "g1": {}},
		}}
	if seed%4 == 3 {
		h.m.flush = broker.FlushOS
	}
	if h.fine = -1; seed%fineEvery == seed/fineEvery%4 { // of both kinds of flush
		h.fine = int(seed) * 7 % (historyLength - fineLength)
	}
	return h
}

func (h *history) config(disk vfs.FS, boot string) broker.Config {
	return broker.Config{
		Dir: dataDir, FS: disk, Flush: h.m.flush, InternalPartitions: 1 + int32(h.seed%8/7), MaxOpenFiles: 64,
		MaintenanceInterval: -1, TickInterval: -1, SyncParallelism: 1, CleanerMemory: 1 << 12, BootID: boot, Owner: "history",
		Now: func() time.Time { return time.UnixMilli(h.m.nowMS) },
		// Not of rng: how often it is called is not the history's business.
		NewID: func() [16]byte { h.ids++; return [16]byte{1, 15: h.ids} },
	}
}

func (h *history) bootID() string { return fmt.Sprintf("boot-%d", h.boot) }

func (h *history) open() (err error) {
	f := vfs.Faulty(h.wrap(h.mem))
	if h.fine >= 0 {
		f.SetHooks(nil, func(vfs.Event) {
			if h.op >= h.fine && h.op < h.fine+fineLength {
				h.cloneNow(false)
			}
		})
	}
	h.b, err = broker.Open(h.config(f, h.bootID()))
	return err
}

// run does the whole history; the error says all that is needed to look into it.
func (h *history) run() error {
	defer func() {
		if h.b != nil {
			h.b.Abandon()
		}
	}()
	setup := []func() error{
		h.open,
		func() error { return h.create("plain", 2, nil) },
		func() error {
			return h.create("keys", 1, map[string]string{"cleanup.policy": "compact",
				"delete.retention.ms": fmt.Sprint(deleteRetentionMS), "min.cleanable.dirty.ratio": "0.1"})
		},
		func() error {
			return h.create("bounded", 1, map[string]string{
				"retention.bytes": fmt.Sprint(keepBytes), "retention.ms": fmt.Sprint(retentionMS)})
		},
		func() error { return h.create("fast", 1, map[string]string{"millstream.flush": "os"}) },
		h.opOffsets, h.opTxnAppend,
		h.shrinkInternal,
	}
	for _, f := range setup {
		if err := h.step("setup", f); err != nil {
			return err
		}
	}
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	for h.op = 1; h.op <= historyLength; h.op++ {
		n := h.rng.IntN(total)
		for _, o := range operations {
			if n -= o.weight; n < 0 {
				if err := h.step(o.name, func() error { return o.run(h) }); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// shrinkInternal lets the coordinators' topics roll and get cleaned within a history.
func (h *history) shrinkInternal() error {
	size, ratio := "1024", "0.3"
	for _, name := range []string{"__consumer_offsets", "__transaction_state"} {
		if err := h.b.AlterTopic(name, map[string]*string{"segment.bytes": &size, "min.cleanable.dirty.ratio": &ratio}); err != nil {
			return err
		}
	}
	return nil
}

// step is one operation with its crash.
func (h *history) step(kind string, f func() error) error {
	h.kind = kind
	h.m.nowMS += 1000 + h.rng.Int64N(2000)
	if err := f(); err != nil && h.err == nil {
		h.err = fmt.Errorf("the operation: %w", err)
	}
	h.m.ended()
	if h.err == nil {
		h.err = h.live()
	}
	if h.err == nil {
		h.cloneNow(true)
	}
	if h.err == nil {
		return nil
	}
	from := max(0, len(h.log)-12)
	flush := h.m.flush
	return fmt.Errorf("seed %d, flush=%v, operation %d (%s): %w\nthe operations before:\n%s", h.seed, flush, h.op, kind, h.err, strings.Join(h.log[from:], "\n"))
}

// live compares the running broker's offsets with the model.
func (h *history) live() error {
	for _, p := range h.m.allParts() {
		bp, err := h.b.Partition(p.tp)
		if err != nil {
			return err
		}
		o := bp.Offsets()
		if o.Start != p.start || o.Stable < o.Start || o.Stable > o.End || o.End != p.end() || o.Durable < p.durable || o.Epoch != p.epoch {
			return fmt.Errorf("%v: expected start %d, end %d, durable from %d, epoch %d, found %+v", p.tp, p.start, p.end(), p.durable, p.epoch, o)
		}
	}
	return nil
}

func cleanMark(disk vfs.FS) bool {
	_, err := disk.Stat(dataDir + "/.kafka_cleanshutdown")
	return !errors.Is(err, fs.ErrNotExist)
}

// cut clones the disk; every kind of operation gets every kind of crash in turn.
func (h *history) nextCrash(kind string) crash {
	if h.seen[kind] == nil {
		h.seen[kind] = make([]int, len(crashes))
	}
	n := int(h.seed)
	for _, c := range h.seen[kind] {
		n += c
	}
	h.seen[kind][n%len(crashes)]++
	return crashes[n%len(crashes)]
}

func (h *history) crashClone(c crash) *vfs.Mem {
	return h.mem.CrashClone(vfs.CrashConfig{UnsyncedPercent: c.percent, Rand: h.dice, Tear: []int{vfs.PageSize, 512, 64}[h.dice.IntN(3)]})
}

// cloneNow crashes a clone and judges it. between says that no call is in progress.
func (h *history) cloneNow(between bool) {
	if h.err != nil {
		return
	}
	kind := h.kind
	if !between {
		kind = "during " + kind
	}
	c := h.nextCrash(kind)
	if h.reboot {
		c.newBoot = true
	}
	clone, boot, ids := h.crashClone(c), h.bootID(), h.ids
	if c.newBoot {
		boot = "another boot"
	}
	clean := cleanMark(clone)
	b, err := broker.Open(h.config(clone, boot))
	if err == nil {
		j := newJudge(h.m, b, c, clean)
		if err = j.inspect(); err == nil && between {
			err = j.probe(h.op)
		}
		b.Abandon()
	}
	h.ids = ids
	if err != nil {
		h.err = fmt.Errorf("after a crash %q with %v: %w", kind, c, err)
	}
}

// opReopen ends cleanly and starts again, sometimes after a reboot.
func (h *history) opReopen() error {
	reboot := h.rng.IntN(2) == 0
	h.note("close and open, rebooted %v", reboot)
	if err := h.b.Close(); err != nil {
		return err
	}
	for _, p := range h.m.allParts() {
		p.durable, p.startLow = p.end(), p.start
	}
	if reboot {
		h.boot++
	}
	h.reboot = reboot
	err := h.open()
	h.reboot = false
	if err != nil {
		return err
	}
	j := newJudge(h.m, h.b, crash{100, false}, true)
	if err := j.inspect(); err != nil {
		return fmt.Errorf("after a clean restart: %w", err)
	}
	return j.adopt()
}

// opCrash goes on from a clone.
func (h *history) opCrash() error {
	c := pick(h.rng, crashes)
	h.note("crash: %v", c)
	clone := h.crashClone(c)
	h.b.Abandon()
	h.mem = clone
	if c.newBoot {
		h.boot++
	}
	h.m.cut, h.reboot = c.percent < 100, c.newBoot
	err := h.open()
	h.reboot = false
	if err != nil {
		return fmt.Errorf("after a crash with %v: %w", c, err)
	}
	j := newJudge(h.m, h.b, c, cleanMark(clone))
	h.m.cut = false
	if err := j.inspect(); err != nil {
		return fmt.Errorf("after a crash with %v: %w", c, err)
	}
	return j.adopt()
}

// runSeeds runs histories in parallel and returns what they covered.
func runSeeds(t *testing.T, seeds int) {
	// Clones are garbage at once; the collector need not hurry.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var mu sync.Mutex
	all := coverage{}
	t.Run("seeds", func(t *testing.T) {
		const share = 20
		for first := 0; first < seeds; first += share {
			t.Run(fmt.Sprintf("%d-%d", first, min(first+share, seeds)-1), func(t *testing.T) {
				t.Parallel()
				for seed := first; seed < min(first+share, seeds); seed++ {
					h := newHistory(uint64(seed))
					if err := h.run(); err != nil {
						t.Error(err)
						continue
					}
					mu.Lock()
					for kind, n := range h.seen {
						if all[kind] == nil {
							all[kind] = make([]int, len(crashes))
						}
						for i := range n {
							all[kind][i] += n[i]
						}
					}
					mu.Unlock()
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	for _, o := range operations {
		for i, c := range crashes {
			if all[o.name] == nil || all[o.name][i] == 0 {
				t.Errorf("no clone after %q with %v: the histories do not cover it", o.name, c)
			}
		}
	}
	for kind, n := range all {
		t.Logf("%-28s %v", kind, n)
	}
}

func TestRandomHistoriesSurviveEveryCrashAsTheDurabilityTableSays(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 6
	}
	runSeeds(t, seeds)
}

func TestTortureRandomHistories(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("5,000 seeds: set TORTURE=1")
	}
	runSeeds(t, 5000)
}
