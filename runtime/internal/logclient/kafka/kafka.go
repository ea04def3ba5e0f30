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
	"net"
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
	User     string // of SASL, for errors about what it may not do
	// Dial opens connections, below TLS. Default: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
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
	chatter *chatter
	silence *silence
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
	l.chatter, l.silence = newChatter(l.cfg.Logger), newSilence()
	var err error
	if l.cl, err = l.client(); err != nil {
		return nil, fmt.Errorf("kafka log: %w", err)
	}
	l.topics = newTopicCache(l)
	if err := l.connect(ctx); err != nil {
		l.cl.Close()
		return nil, err
	}
	return l, nil
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
			answers := fmt.Sprintf("answers %s up to version %d", n.key.Name(), v)
			if !ok {
				answers = "does not answer " + n.key.Name()
			}
			return fmt.Errorf("kafka log: the broker at %v is too old: it %s, expected version %d or newer, for %s: use a cluster of Apache Kafka 2.8 or newer, or millstream serve", l.cfg.Seeds, answers, n.version, n.what)
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
		kgo.WithLogger(l.chatter), kgo.Dialer(l.dial),
		kgo.RetryTimeout(30 * time.Second),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
	if l.cfg.SASL != nil {
		all = append(all, kgo.SASL(l.cfg.SASL))
	}
	return kgo.NewClient(append(all, opts...)...)
}

// dialTimeout is franz-go's own, for dialers that are not.
const dialTimeout = 10 * time.Second

// dial opens a connection, with TLS on top where that is asked for.
func (l *Log) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := l.cfg.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := l.silence.dialer(dial)(ctx, network, addr)
	if err != nil || l.cfg.TLS == nil {
		return conn, err
	}
	cfg := l.cfg.TLS.Clone()
	if cfg.ServerName == "" {
		if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
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

// whileOpen is a context that also ends with the log: brokers that are out of reach
// are asked again and again.
func (l *Log) whileOpen(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// ClusterID implements logclient.Log.
func (l *Log) ClusterID() string { return l.cluster }

// CleanStart implements logclient.Log: what a cluster has acknowledged to
// acks=all is as durable as its replication makes it.
func (l *Log) CleanStart() bool { return true }
