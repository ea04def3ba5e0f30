package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/millstream-io/millstream/log/internal/config"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Flush says what an acknowledgement means (DESIGN.md section 4).
type Flush uint8

const (
	// FlushCommit (the default): acks=all is on disk (group commit), a committed
	// transaction is on disk with all that it covers; acks=1 and writes inside a
	// transaction are in the page cache.
	FlushCommit Flush = iota
	// FlushOS: everything is acknowledged from the page cache, as Kafka does.
	FlushOS
)

func (f Flush) String() string {
	if f == FlushOS {
		return "os"
	}
	return "commit"
}

// Config opens a broker. The zero value of every field is the default named.
type Config struct {
	Dir   string // the data directory; made if missing. Required
	FS    vfs.FS // the operating system's
	Flush Flush  // FlushCommit; a topic's millstream.flush overrides it

	// Owner is written into LOCK for whoever finds the directory taken; "pid N".
	Owner string
	// ClusterID is used when the directory is new; random.
	ClusterID string
	// NodeID stands in meta.properties; 1.
	NodeID int32

	// DefaultPartitions of topics created without a count; 1.
	DefaultPartitions int32
	// InternalPartitions of __consumer_offsets and __transaction_state; 4.
	InternalPartitions int32
	// TransactionPartitions of __transaction_state; InternalPartitions.
	TransactionPartitions int32
	// TopicDefaults are topic configurations that hold where a topic says nothing.
	TopicDefaults map[string]string
	// Properties are configurations by Kafka's names for brokers, as ParseConfig
	// reads them: those without a field here, and defaults of topics.
	Properties map[string]string

	// MaintenanceInterval is the time between two runs of retention and cleaner;
	// 30 s, negative: never, call RunRetention and RunCleaner.
	MaintenanceInterval time.Duration
	// CleanerInterval is the time between two runs of the cleaner; MaintenanceInterval.
	CleanerInterval time.Duration
	// TickInterval is the longest time between two looks at the timers of
	// transactions and groups; 1 s, negative: never, call Tick.
	TickInterval time.Duration

	// MaxTransactionTimeout refuses longer ones; 15 min.
	MaxTransactionTimeout time.Duration
	// TransactionalIDExpiry forgets ids that are not in use; 7 days.
	TransactionalIDExpiry time.Duration
	// ProducerIDExpiry is how long a partition remembers an idle producer; 24 h.
	ProducerIDExpiry time.Duration
	// OffsetsRetention forgets the offsets of groups that are empty that long; 7 days.
	OffsetsRetention time.Duration
	// CleanerMemory bounds the cleaner's map of keys in bytes; 16 MiB.
	CleanerMemory int64
	// GroupInitialDelay is how long an empty group's first rebalance waits for more
	// members after each one that joins; 0.
	GroupInitialDelay time.Duration
	// OpenParallelism is how many partitions are opened, made or removed at the
	// same time; 2 for each processor, at most SyncParallelism.
	OpenParallelism int
	// SyncParallelism bounds the fdatasyncs of one commit that run at once; 16. With
	// 1 they run one after the other in a fixed order.
	SyncParallelism int
	// MaxOpenFiles bounds the segment files open at once; 0: half of RLIMIT_NOFILE.
	MaxOpenFiles int

	// Now is the wall clock, used for timers and timestamps, never for order; time.Now.
	Now func() time.Time
	// BootID identifies the boot of the machine: data in the page cache survives
	// a process, not a boot. Default: /proc/sys/kernel/random/boot_id; where there
	// is none, every unclean start counts as a new boot.
	BootID string
	// NewID makes topic, directory and cluster ids; crypto/rand.
	NewID func() [16]byte

	Hooks  Hooks
	Logger *slog.Logger // discards
}

// Hooks are called by the broker, from the goroutine that does the work and
// without locks that the callee could need; nil is off. They must not block.
type Hooks struct {
	// Appended: batches of one call were appended.
	Appended func(tp record.TopicPartition, records int, bytes int)
	// Read: a chunk was handed out.
	Read func(tp record.TopicPartition, bytes int)
	// Synced: one fdatasync of a partition finished.
	Synced func(tp record.TopicPartition, took time.Duration, err error)
	// TxnEnded: a transaction was decided; took is from the call to the decision's durability.
	TxnEnded func(transactionalID string, committed bool, took time.Duration)
	// Cleaned: retention or cleaner removed that many bytes of a partition.
	Cleaned func(tp record.TopicPartition, bytes int64)
	// Offline: a partition went offline.
	Offline func(tp record.TopicPartition, err error)
	// OffsetReset: a group's offset pointed past the end and was brought back.
	OffsetReset func(group string, tp record.TopicPartition, from, to record.Offset)
}

// validate fills the defaults in and reports every problem at once.
func (c *Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("Dir is empty: say where the data directory is"))
	}
	if c.Flush > FlushOS {
		errs = append(errs, fmt.Errorf("Flush %d is neither FlushCommit nor FlushOS", c.Flush))
	}
	for name, v := range map[string]int32{"DefaultPartitions": c.DefaultPartitions, "InternalPartitions": c.InternalPartitions} {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s is %d, expected at least 1", name, v))
		}
	}
	c.fillDefaults()
	for _, name := range slices.Sorted(maps.Keys(c.TopicDefaults)) {
		if config.Topic.Get(name) == nil {
			errs = append(errs, &UnknownConfigError{Topic: "(defaults)", Name: name, Nearest: config.Topic.Nearest(name)})
		}
	}
	if _, err := newSettings(c, nil); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return fmt.Errorf("broker: config: %w", errors.Join(errs...))
	}
	return nil
}

func (c *Config) fillDefaults() {
	orInt(&c.NodeID, 1)
	orInt(&c.DefaultPartitions, 1)
	orInt(&c.InternalPartitions, 4)
	orInt(&c.TransactionPartitions, c.InternalPartitions)
	orInt(&c.MaintenanceInterval, 30*time.Second)
	orInt(&c.CleanerInterval, c.MaintenanceInterval)
	orInt(&c.ProducerIDExpiry, 24*time.Hour)
	orInt(&c.TickInterval, time.Second)
	orInt(&c.MaxTransactionTimeout, 15*time.Minute)
	orInt(&c.TransactionalIDExpiry, 7*24*time.Hour)
	orInt(&c.OffsetsRetention, 7*24*time.Hour)
	orInt(&c.CleanerMemory, 16<<20)
	if c.SyncParallelism <= 0 {
		c.SyncParallelism = 16
	}
	if c.OpenParallelism <= 0 {
		c.OpenParallelism = min(2*runtime.GOMAXPROCS(0), c.SyncParallelism)
	}
	if c.MaxOpenFiles <= 0 {
		c.MaxOpenFiles = halfOfOpenFiles()
	}
	if c.FS == nil {
		c.FS = vfs.OS()
	}
	if c.Owner == "" {
		c.Owner = ownerName()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.BootID == "" {
		c.BootID = readBootID()
	}
	if c.NewID == nil {
		c.NewID = randomID
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func orInt[T ~int32 | ~int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
