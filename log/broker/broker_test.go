package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// harness is a broker on an in-memory file system, with a clock in the hand and
// nothing in the background.
type harness struct {
	*Broker
	t      *testing.T
	fs     *vfs.Mem
	faults *vfs.FaultFS // around fs
	now    time.Time
	boot   string
	ids    byte
	tune   func(*Config)
	logs   strings.Builder
}

func newHarness(t *testing.T, tune func(*Config)) *harness {
	h := &harness{t: t, fs: vfs.NewMem(), now: time.UnixMilli(1_700_000_000_000), boot: "boot-1", tune: tune}
	h.open()
	t.Cleanup(func() { h.Broker.Abandon() })
	return h
}

func (h *harness) config() Config {
	h.faults = vfs.Faulty(h.fs)
	cfg := Config{
		Dir: "/data", FS: h.faults, MaintenanceInterval: -1, TickInterval: -1, SyncParallelism: 1,
		Now: func() time.Time { return h.now }, BootID: h.boot,
		NewID:  func() [16]byte { h.ids++; return [16]byte{15: h.ids} },
		Logger: slog.New(slog.NewTextHandler(&h.logs, nil)),
	}
	if h.tune != nil {
		h.tune(&cfg)
	}
	return cfg
}

var errDisk = errors.New("the disk says no")

func (h *harness) open() {
	h.t.Helper()
	b, err := Open(h.config())
	if err != nil {
		h.t.Fatalf("Open: %v", err)
	}
	h.Broker = b
}

// crash reopens from a clone: percent of what was not synced survives.
func (h *harness) crash(percent int, boot string) {
	h.t.Helper()
	clone := h.fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent, Rand: rand.New(rand.NewPCG(1, 2))})
	h.Broker.Abandon()
	h.fs, h.boot = clone, boot
	h.open()
}

func (h *harness) reopen() {
	h.t.Helper()
	h.ok(h.Broker.Close())
	h.open()
}

func (h *harness) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) is(err, want error) {
	h.t.Helper()
	if !errors.Is(err, want) {
		h.t.Fatalf("expected error %v, found %v", want, err)
	}
}

func (h *harness) topic(name string, partitions int32, configs ...string) {
	h.t.Helper()
	m := map[string]string{}
	for i := 0; i+1 < len(configs); i += 2 {
		m[configs[i]] = configs[i+1]
	}
	_, err := h.CreateTopic(TopicSpec{Name: name, Partitions: partitions, Configs: m})
	h.ok(err)
}

func (h *harness) part(topic string, n int) *Partition {
	h.t.Helper()
	p, err := h.Partition(record.TopicPartition{Topic: topic, Partition: record.Partition(n)})
	h.ok(err)
	return p
}

func tp(topic string, n int) record.TopicPartition {
	return record.TopicPartition{Topic: topic, Partition: record.Partition(n)}
}

// batch encodes values into one batch.
func batch(id ProducerIdentity, seq int32, txn bool, ms int64, values ...string) []byte {
	b := record.NewBuilder()
	if id != NoProducer {
		b.SetProducer(id.ID, id.Epoch, seq)
		b.SetTransactional(txn)
	}
	for _, v := range values {
		key, value, keyed := strings.Cut(v, "=")
		view := record.View{Timestamp: ms, Value: []byte(v)}
		if keyed {
			view.Key, view.Value = []byte(key), []byte(value)
		}
		b.Append(&view)
	}
	raw, err := b.Finish(record.None)
	if err != nil {
		panic(err)
	}
	return raw
}

func (h *harness) put(topic string, n int, acks Acks, values ...string) ProduceResult {
	h.t.Helper()
	res, err := h.part(topic, n).Produce(batch(NoProducer, 0, false, h.now.UnixMilli(), values...), acks)
	h.ok(err)
	return res
}

// values reads a partition to its end.
func (h *harness) values(topic string, n int, committed bool) []string {
	h.t.Helper()
	p := h.part(topic, n)
	var out []string
	for at := p.Offsets().Start; ; {
		c, err := p.Read(at, ReadOptions{Committed: committed})
		h.ok(err)
		if len(c.Data) == 0 {
			c.Release()
			return out
		}
		for {
			_, raw, ok := c.NextBatch()
			if !ok {
				break
			}
			it := record.NewIterator(raw, record.ReadOptions{})
			var v record.View
			for it.Next(&v) {
				if v.Offset >= at {
					s := string(v.Value)
					if v.Key != nil {
						s = string(v.Key) + "=" + s
					}
					out = append(out, s)
				}
			}
			h.ok(it.Err())
			it.Release()
		}
		h.ok(c.Err())
		at = c.Next
		c.Release()
	}
}

func (h *harness) expect(topic string, n int, committed bool, want ...string) {
	h.t.Helper()
	if got := h.values(topic, n, committed); !slices.Equal(got, want) {
		h.t.Fatalf("%s-%d committed=%v: expected %q, found %q", topic, n, committed, want, got)
	}
}

func TestProducedRecordsAreReadAndSurviveACleanRestart(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	r := h.put("a", 0, AcksLeader, "1", "2")
	if r.BaseOffset != 0 || r.NextOffset != 2 {
		t.Fatalf("expected offsets 0 to 2, found %+v", r)
	}
	h.put("a", 0, AcksLeader, "3")
	h.put("a", 1, AcksLeader, "x")
	h.reopen()
	h.expect("a", 0, false, "1", "2", "3")
	h.expect("a", 1, true, "x")
	if e := h.part("a", 0).Offsets().Epoch; e != 0 {
		t.Fatalf("a clean restart must not raise the epoch, found %d", e)
	}
	if !h.CleanStart() {
		t.Fatal("CleanStart is false after a clean shutdown")
	}
}

func TestAcksAllIsOnDiskAndAcksLeaderIsNot(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.put("a", 0, AcksAll, "kept")
	h.put("a", 0, AcksLeader, "lost")
	h.crash(0, "boot-2")
	h.expect("a", 0, false, "kept")
	if h.CleanStart() {
		t.Fatal("CleanStart is true after a cut under a new boot id")
	}
	if e := h.part("a", 0).Offsets().Epoch; e != 1 {
		t.Fatalf("an unclean start must raise the epoch to 1, found %d", e)
	}
}

func TestFlushOSDoesNotSync(t *testing.T) {
	for _, how := range []string{"broker", "topic"} {
		t.Run(how, func(t *testing.T) {
			h := newHarness(t, func(c *Config) {
				if how == "broker" {
					c.Flush = FlushOS
				}
			})
			if how == "topic" {
				h.topic("a", 1, "millstream.flush", "os")
			} else {
				h.topic("a", 1)
			}
			h.put("a", 0, AcksAll, "lost")
			h.crash(0, "boot-2")
			h.expect("a", 0, false)
		})
	}
}

func TestAProcessCrashLosesNothingThatWasAcknowledged(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.put("a", 0, AcksLeader, "kept")
	h.crash(100, "boot-1")
	h.expect("a", 0, false, "kept")
	if !h.CleanStart() {
		t.Fatal("the page cache survives a process: CleanStart must be true")
	}
	h.crash(0, "boot-2") // what a start found counts as durable
	h.expect("a", 0, false, "kept")
}

func TestASecondBrokerOnOneDirectoryIsRefusedNamingTheOwner(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Owner = "pid 4711" })
	_, err := Open(h.config())
	var locked *vfs.LockedError
	if !errors.As(err, &locked) || locked.Owner != "pid 4711" {
		t.Fatalf("expected a LockedError by pid 4711, found %v", err)
	}
	h.reopen() // and the lock is given back
}

func TestANewerDirectoryIsRefusedSayingWhich(t *testing.T) {
	h := newHarness(t, nil)
	h.ok(h.Broker.Close())
	h.ok(writeFile(h.fs, "/data/millstream.properties", []byte("version=7\n")))
	_, err := Open(h.config())
	var v *VersionError
	if !errors.As(err, &v) || v.Found != 7 || v.Known != FormatVersion {
		t.Fatalf("expected a VersionError with 7, found %v", err)
	}
	h.ok(writeFormat(h.fs, "/data", "x"))
	h.open()
}

func TestTopicsAreCreatedDescribedAlteredAndDeleted(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 3, "cleanup.policy", "compact", "retention.ms", "1000")
	_, err := h.CreateTopic(TopicSpec{Name: "a"})
	h.is(err, ErrTopicExists)
	_, err = h.CreateTopic(TopicSpec{Name: "b/c"})
	h.is(err, ErrInvalidTopic)
	_, err = h.CreateTopic(TopicSpec{Name: "b", Configs: map[string]string{"retention.msec": "1"}})
	var unknown *UnknownConfigError
	if !errors.As(err, &unknown) || unknown.Nearest != "retention.ms" {
		t.Fatalf("expected an unknown configuration near retention.ms, found %v", err)
	}
	_, err = h.CreateTopic(TopicSpec{Name: "b", Configs: map[string]string{"segment.bytes": "many"}})
	h.is(err, ErrInvalidTopic)
	v := "delete"
	h.ok(h.AlterTopic("a", map[string]*string{"cleanup.policy": &v, "retention.ms": nil}))
	before, _ := h.Topic("a")
	h.crash(0, "boot-2")
	after, ok := h.Topic("a")
	if !ok || fmt.Sprint(after) != fmt.Sprint(before) || after.Partitions != 3 || after.Configs["cleanup.policy"] != "delete" || after.CreatedMS != h.now.UnixMilli() {
		t.Fatalf("expected %+v after a crash, found %+v", before, after)
	}
	p := h.part("a", 0)
	h.put("a", 0, AcksAll, "1")
	h.ok(h.DeleteTopic("a"))
	_, err = p.Read(0, ReadOptions{})
	h.is(err, ErrClosed)
	_, err = h.Partition(tp("a", 0))
	h.is(err, ErrUnknownTopic)
	if _, err := h.fs.Stat("/data/a-0"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the directory is still there: %v", err)
	}
	h.topic("a", 1)
	h.expect("a", 0, false)
	h.reopen()
	h.expect("a", 0, false)
}
