package broker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// Broker is an open data directory. See the package comment.
type Broker struct {
	cfg         Config
	fs          vfs.FS
	lock        io.Closer
	gate        vfs.Gate // passed by what a snapshot must see whole; see Snapshot
	files       *segment.FileCache
	unpacking   *unpacking
	clusterID   string
	cleanStart  bool
	directoryID [16]byte
	metaWrites  atomic.Int64
	txns        *transactions
	groups      *groups
	security    atomic.Pointer[security] // of the metadata file; replaced under metaMu

	closing       atomic.Bool
	done          chan struct{} // closed when closing begins
	background    sync.WaitGroup
	startsChanged atomic.Bool  // a log start moved since the last checkpoint
	nextReopen    atomic.Int64 // ms; see afterFullDisk
	settings      atomic.Pointer[settings]
	resources     atomic.Pointer[resourceConfigs]
	levels        loggerLevels
	startLogger   *slog.Logger // as given

	metaMu  sync.Mutex // guards what follows and the metadata file; held over its writes
	meta    *metadata
	reserve reserve
	nextID  record.ProducerID // next unused producer id; meta.NextProducerID is the end of the block

	ckptMu sync.Mutex // guards what follows and the checkpoint files
	points map[string]map[record.TopicPartition]record.Offset

	mu     sync.RWMutex // guards what follows, held for moments only
	topics map[string]*topicState
	byID   map[[16]byte]*topicState // the same
	// topicsVersion is raised after each change of topics, so that who depends on
	// them (groups) sees it without being told.
	topicsVersion atomic.Uint64
}

// Open opens or makes a data directory, takes its LOCK, recovers every
// partition and every transaction, and starts the background work.
func Open(cfg Config) (*Broker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return nil, fmt.Errorf("broker: data directory %s: %w", cfg.Dir, err)
	}
	lock, err := cfg.FS.Lock(path.Join(cfg.Dir, lockFile), cfg.Owner)
	if err != nil {
		return nil, fmt.Errorf("broker: data directory %s: %w", cfg.Dir, err)
	}
	gate, err := cfg.FS.Gate(path.Join(cfg.Dir, gateFile))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("broker: data directory %s: %w", cfg.Dir, err), lock.Close())
	}
	b := &Broker{
		cfg: cfg, fs: cfg.FS, lock: lock, gate: gate, files: segment.NewFileCache(cfg.MaxOpenFiles),
		done: make(chan struct{}), topics: map[string]*topicState{}, byID: map[[16]byte]*topicState{},
		points: map[string]map[record.TopicPartition]record.Offset{}, unpacking: newUnpacking(),
	}
	b.levels.known = map[string]bool{rootLogger: true}
	b.startLogger = cfg.Logger
	b.cfg.Logger = b.Logger("log.broker", cfg.Logger)
	b.txns, b.groups = newTransactions(b), newGroups(b)
	if err := b.recover(); err != nil {
		b.abandonLogs()
		return nil, errors.Join(fmt.Errorf("broker: open %s: %w", cfg.Dir, err), gate.Close(), lock.Close())
	}
	b.openReserve()
	b.every(func() time.Duration { return cfg.TickInterval }, "tick", b.Tick)
	b.every(func() time.Duration { return cfg.MaintenanceInterval }, "retention", b.RunRetention)
	if cfg.TickInterval > 0 {
		b.background.Go(b.groups.watch)
	}
	b.every(func() time.Duration { return b.settings.Load().cleanerEvery }, "cleaner", b.RunCleaner)
	return b, nil
}

// every runs f in the background until the broker closes; a negative interval is
// never. The interval is asked for before each wait.
func (b *Broker) every(interval func() time.Duration, name string, f func() error) {
	if interval() < 0 {
		return
	}
	b.background.Go(func() {
		t := time.NewTimer(interval())
		defer t.Stop()
		for {
			select {
			case <-b.done:
				return
			case <-t.C:
			}
			if err := f(); err != nil && !b.closing.Load() {
				b.cfg.Logger.Warn("background work failed; trying again later", "work", name, "err", err)
			}
			t.Reset(max(interval(), time.Millisecond))
		}
	})
}

// ClusterID is the cluster.id of meta.properties.
func (b *Broker) ClusterID() string { return b.clusterID }

// CleanStart is false if the directory was left uncleanly under another boot
// id: what was not synced may be gone.
func (b *Broker) CleanStart() bool { return b.cleanStart }

// Dir is the data directory.
func (b *Broker) Dir() string { return b.cfg.Dir }

func (b *Broker) alive() error {
	if b.closing.Load() {
		return ErrClosed
	}
	return nil
}

func (b *Broker) nowMS() int64 { return b.cfg.Now().UnixMilli() }

func (b *Broker) partitionDir(tp record.TopicPartition) string {
	return path.Join(b.cfg.Dir, fmt.Sprintf("%s-%d", tp.Topic, tp.Partition))
}

// stop ends the background work and makes every method refuse; false if it was stopped before.
func (b *Broker) stop() bool {
	if b.closing.Swap(true) {
		return false
	}
	close(b.done)
	b.background.Wait()
	return true
}

// Close ends the background work, syncs everything, completes decided
// transactions, and leaves the mark of a clean shutdown. Open transactions stay
// open. Nobody should call other methods any more.
func (b *Broker) Close() error {
	if !b.stop() {
		return nil
	}
	errs := []error{b.txns.complete(), b.checkpoint()}
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	clean := true
	for _, p := range b.allPartitions() {
		p.gone.Store(true)
		l := p.log.Load()
		if l == nil || p.Err() != nil {
			clean = false
			if l != nil {
				l.Abandon()
			}
		} else if err := l.Close(); err != nil {
			clean = false
			errs = append(errs, p.wrap(err))
		}
		p.watchers.wake(true)
	}
	if clean {
		if err := errors.Join(b.closedCheckpoint(), writeChecksums(b.fs, b.cfg.Dir)); err != nil {
			errs = append(errs, err)
		} else {
			errs = append(errs, leaveCleanMark(b.fs, b.cfg.Dir))
		}
	}
	errs = append(errs, b.gate.Close(), b.lock.Close())
	return errors.Join(errs...)
}

// Abandon lets everything go as a crash of the process would: nothing is
// synced, no mark is left. For tests of recovery.
func (b *Broker) Abandon() {
	if !b.stop() {
		return
	}
	b.abandonLogs()
	_ = b.gate.Close()
	_ = b.lock.Close()
}

func (b *Broker) abandonLogs() {
	for _, p := range b.allPartitions() {
		p.gone.Store(true)
		if l := p.log.Load(); l != nil {
			l.Abandon()
		}
		p.watchers.wake(true)
	}
}
