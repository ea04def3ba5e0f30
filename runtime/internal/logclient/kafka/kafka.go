// Package kafka implements the seam of package logclient on any broker that
// speaks the Kafka protocol: Apache Kafka, or `millstream serve`.
//
// franz-go's client keeps the connections, the brokers' addresses and versions,
// TLS and SASL, finds coordinators, and is the member of the consumer group.
// Record batches are read and written as the seam has them, whole: Fetch and
// Produce requests are made here, from and into package record's batches,
// because one object per record would cost more than all the rest.
//
// Log and members may be used from any goroutine, readers and writers by one at
// a time. Each reader and writer has connections of its own, so that a long poll
// of one holds nobody else up. A reader has at most one goroutine per leader in
// flight, a writer one; both end with Close, and all of them with Log.Close.
//
// Sources: KIP-98 and KIP-447 (transactions and consumer groups), KIP-890
// (transactions, version 2), KIP-320 (leader epochs), KIP-516 (topic ids).
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Config says where the brokers are. The zero value of every field but Seeds is
// its documented default.
type Config struct {
	Seeds    []string // addresses HOST:PORT; one that answers is enough
	ClientID string   // what the brokers call this client. Default "millstream"
	TLS      *tls.Config
	SASL     sasl.Mechanism
	// ReplicationFactor of topics that Ensure makes. Default 0: the broker's.
	ReplicationFactor int16
	// ConnectTimeout bounds how long Open waits for the first answer. Default 10 s.
	ConnectTimeout time.Duration
	// SessionTimeout is how long the group waits for a member that is silent
	// before it gives its partitions to others. Default 45 s, Kafka's.
	SessionTimeout time.Duration
	// InstanceID makes members static (KIP-345): a process that comes back with it
	// within SessionTimeout keeps its partitions. Default: dynamic members.
	InstanceID string
	// TransactionTimeout is how long the coordinator waits for the end of a
	// transaction. Default 60 s; the broker's transaction.max.timeout.ms bounds it.
	TransactionTimeout time.Duration
	Logger             *slog.Logger // default: none
}

func (c Config) withDefaults() Config {
	if c.ClientID == "" {
		c.ClientID = "millstream"
	}
	if c.ReplicationFactor == 0 {
		c.ReplicationFactor = -1
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 10 * time.Second
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 45 * time.Second
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Log implements logclient.Log over a cluster.
type Log struct {
	cfg     Config
	cl      *kgo.Client // for everything but records and groups
	topics  *topicCache
	cluster string
	// txn2 says that the cluster has transaction.version 2 (KIP-890): partitions
	// join a transaction by being written to, and each end bumps the epoch.
	txn2 bool

	done    chan struct{} // closed by Close
	closing sync.Once
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc

	mu      sync.Mutex
	members map[*member]bool
}

var _ logclient.Log = (*Log)(nil)

// Open connects. It returns an error that names the addresses if none of them
// answers within ConnectTimeout, or if the cluster is too old: it must have
// transactions that are bound to a consumer group (Kafka 2.5, KIP-447).
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if len(cfg.Seeds) == 0 {
		return nil, errors.New("kafka log: no address, expected kafka://HOST:PORT and more with commas")
	}
	l := &Log{cfg: cfg.withDefaults(), done: make(chan struct{}), members: map[*member]bool{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	var err error
	if l.cl, err = l.client(); err != nil {
		return nil, fmt.Errorf("kafka log: %w", err)
	}
	l.topics = newTopicCache(l.cl)
	if err := l.connect(ctx); err != nil {
		l.cl.Close()
		return nil, err
	}
	return l, nil
}

// connect learns the cluster's id and what it can do.
func (l *Log) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.cfg.ConnectTimeout, fmt.Errorf("no answer within %v", l.cfg.ConnectTimeout))
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	meta, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		return as(logclient.ErrUnavailable, fmt.Sprintf("connect to %v: is a Kafka broker there, and do TLS and SASL settings fit its listener?", l.cfg.Seeds), err)
	}
	if meta.ClusterID != nil {
		l.cluster = *meta.ClusterID
	}
	versions, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, l.cl)
	if err != nil {
		return as(logclient.ErrUnavailable, fmt.Sprintf("ask %v for its versions", l.cfg.Seeds), err)
	}
	return l.check(versions)
}

// needs are the requests without which there is no exactly once here.
var needs = []struct {
	key     kmsg.Key
	version int16
	what    string
}{
	{kmsg.Metadata, 10, "topic ids (Kafka 2.8)"},
	{kmsg.TxnOffsetCommit, 3, "transactions that are bound to a consumer group (Kafka 2.5)"},
	{kmsg.OffsetFetch, 7, "stable offsets (Kafka 2.5)"},
	{kmsg.InitProducerID, 3, "producers that recover (Kafka 2.5)"},
	{kmsg.OffsetForLeaderEpoch, 2, "leader epochs (Kafka 2.1)"},
}

func (l *Log) check(versions *kmsg.ApiVersionsResponse) error {
	have := map[int16]int16{}
	for _, k := range versions.ApiKeys {
		have[k.ApiKey] = k.MaxVersion
	}
	for _, n := range needs {
		if v, ok := have[n.key.Int16()]; !ok || v < n.version {
			return fmt.Errorf("kafka log: the broker at %v is too old: it answers %s up to version %d, expected %d or more for %s", l.cfg.Seeds, n.key.Name(), v, n.version, n.what)
		}
	}
	for _, f := range versions.FinalizedFeatures {
		if f.Name == "transaction.version" && f.MaxVersionLevel >= 2 {
			l.txn2 = have[kmsg.Produce.Int16()] >= 12 && have[kmsg.EndTxn.Int16()] >= 5 && have[kmsg.TxnOffsetCommit.Int16()] >= 5
		}
	}
	return nil
}

// client makes a client with connections of its own.
func (l *Log) client(opts ...kgo.Opt) (*kgo.Client, error) {
	all := []kgo.Opt{
		kgo.SeedBrokers(l.cfg.Seeds...), kgo.ClientID(l.cfg.ClientID),
		kgo.WithLogger(clientLogger{l.cfg.Logger}),
		kgo.RetryTimeout(30 * time.Second),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
	if l.cfg.TLS != nil {
		all = append(all, kgo.DialTLSConfig(l.cfg.TLS))
	}
	if l.cfg.SASL != nil {
		all = append(all, kgo.SASL(l.cfg.SASL))
	}
	return kgo.NewClient(append(all, opts...)...)
}

// withoutTxn2 are the versions of clients before KIP-890.
func withoutTxn2() kgo.Opt {
	v := kversion.Stable()
	v.SetMaxKeyVersion(kmsg.Produce.Int16(), 11)
	v.SetMaxKeyVersion(kmsg.AddPartitionsToTxn.Int16(), 3)
	v.SetMaxKeyVersion(kmsg.TxnOffsetCommit.Int16(), 4)
	v.SetMaxKeyVersion(kmsg.EndTxn.Int16(), 4)
	return kgo.MaxVersions(v)
}

// clientLogger hands franz-go's warnings on.
type clientLogger struct{ to *slog.Logger }

func (clientLogger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (c clientLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelWarn
	if level == kgo.LogLevelError {
		to = slog.LevelError
	}
	c.to.Log(context.Background(), to, "kafka: "+msg, keyvals...)
}

// Close implements logclient.Log: members leave their groups, whoever waits gets
// ErrClosed.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.mu.Lock()
		var members []*member
		for m := range l.members {
			members = append(members, m)
		}
		l.mu.Unlock()
		close(l.done)
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		for _, m := range members {
			m.leave(ctx)
		}
		l.cancel()
		l.cl.Close()
	})
	return nil
}

// live says whether the log may still be used.
func (l *Log) live() error {
	select {
	case <-l.done:
		return fmt.Errorf("kafka log: %w", logclient.ErrClosed)
	default:
		return nil
	}
}

// enter is what every call with a context begins with.
func (l *Log) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.live()
}

// ClusterID implements logclient.Log.
func (l *Log) ClusterID() string { return l.cluster }

// CleanStart implements logclient.Log: what a cluster has acknowledged to
// acks=all is as durable as its replication makes it.
func (l *Log) CleanStart() bool { return true }
