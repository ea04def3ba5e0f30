package peers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterSize is the number of brokers: a quorum stands the loss of any one.
const clusterSize = 3

// KafkaCluster is three brokers of Apache Kafka 4.3 on loopback, each also a
// controller of the quorum: topics have three replicas, and acks=all waits for
// two of them (min.insync.replicas), so that any one broker may be killed,
// stopped or paused. It needs some 1.2 GB. It ends with the process that started
// it. Methods are for one goroutine at a time, except Addrs and Brokers.
type KafkaCluster struct {
	dir     string
	brokers []*KafkaBroker
}

// clusterSettings are for tests: little memory, few threads, failures seen soon.
// A broker that is silent for 3 s is fenced, instead of 9.
const clusterSettings = `
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
background.threads=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.append.linger.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.coordinator.threads=2
`

// clusterJVM makes a broker start fast and leave the cores to others: the first
// compiler alone, and the collector without threads of its own.
var clusterJVM = []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"}

var sharedCluster struct {
	mu      sync.Mutex
	cluster *KafkaCluster
}

// NeedKafkaCluster gives the cluster that all tests of a package share; the first
// one starts it. The package's TestMain must call StopShared after m.Run. Use
// topic and group names of your own; a test that stops a broker calls Heal.
func NeedKafkaCluster(t testing.TB) *KafkaCluster {
	t.Helper()
	k := NeedKafka(t)
	sharedCluster.mu.Lock()
	defer sharedCluster.mu.Unlock()
	if sharedCluster.cluster == nil {
		dir, err := os.MkdirTemp("", "millstream-kafka-cluster")
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewKafkaCluster(k, dir, "")
		if err != nil {
			os.RemoveAll(dir)
			t.Fatal(err)
		}
		sharedCluster.cluster = c
	}
	return sharedCluster.cluster
}

// stopSharedCluster ends the shared cluster, if there is one.
func stopSharedCluster() {
	sharedCluster.mu.Lock()
	defer sharedCluster.mu.Unlock()
	if c := sharedCluster.cluster; c != nil {
		c.Kill()
		os.RemoveAll(c.dir)
		sharedCluster.cluster = nil
	}
}

// StartKafkaCluster gives a cluster of the test's own, which ends with the test.
// settings are more lines of server.properties.
func StartKafkaCluster(t testing.TB, settings string) *KafkaCluster {
	t.Helper()
	c, err := NewKafkaCluster(NeedKafka(t), t.TempDir(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			for _, b := range c.brokers {
				t.Logf("the end of what broker %d logged:\n%s", b.id, b.LogTail(3000))
			}
		}
	})
	return c
}

// NewKafkaCluster makes the storage of three brokers below dir and starts them.
// The caller kills them.
func NewKafkaCluster(k *Kafka, dir, settings string) (*KafkaCluster, error) {
	c := &KafkaCluster{dir: dir}
	var controllers []int
	for range clusterSize {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		controllers = append(controllers, port)
	}
	for i := range clusterSize {
		home := filepath.Join(dir, fmt.Sprintf("broker-%d", i+1))
		if err := os.MkdirAll(home, 0o755); err != nil {
			return nil, err
		}
		cfg := KafkaConfig{Heap: "384M", JVM: clusterJVM, Settings: clusterSettings + settings}
		b, err := prepareBroker(k, home, cfg, i+1, controllers)
		if err == nil {
			err = c.makeStorage(b)
		}
		if err != nil {
			return nil, err
		}
		c.brokers = append(c.brokers, b)
	}
	if err := c.start(); err != nil {
		c.Kill()
		return nil, err
	}
	return c, nil
}

// makeStorage formats the first broker's storage with Kafka's tool, and makes
// the others' alike: a JVM less for each. What differs is the node's id and the
// directory's.
func (c *KafkaCluster) makeStorage(b *KafkaBroker) error {
	if len(c.brokers) == 0 {
		return b.format()
	}
	if err := os.CopyFS(b.DataDir(), os.DirFS(c.brokers[0].DataDir())); err != nil {
		return err
	}
	var id [16]byte
	rand.Read(id[:])
	meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", clusterID, b.id, base64.RawURLEncoding.EncodeToString(id[:]))
	return os.WriteFile(filepath.Join(b.DataDir(), "meta.properties"), []byte(meta), 0o644)
}

// start starts those that do not run, at once: none is ready before a quorum is.
func (c *KafkaCluster) start() error {
	errs := make([]error, len(c.brokers))
	var wg sync.WaitGroup
	for i, b := range c.brokers {
		if b.child.alive() {
			continue
		}
		wg.Go(func() { errs[i] = b.Start() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return c.WaitInSync(ctx)
}

// Addrs are where clients connect, "127.0.0.1:PORT,127.0.0.1:PORT,...". They stay over restarts.
func (c *KafkaCluster) Addrs() string { return strings.Join(c.addrs(), ",") }

func (c *KafkaCluster) addrs() (addrs []string) {
	for _, b := range c.brokers {
		addrs = append(addrs, b.Addr())
	}
	return addrs
}

// Brokers are all three, also those that do not run.
func (c *KafkaCluster) Brokers() []*KafkaBroker { return c.brokers }

// Kill ends all brokers with SIGKILL.
func (c *KafkaCluster) Kill() {
	for _, b := range c.brokers {
		b.Kill()
	}
}

// Heal lets the paused go on, starts those that do not run, and waits until all
// replicas are in sync.
func (c *KafkaCluster) Heal() error {
	for _, b := range c.brokers {
		b.Continue()
	}
	return c.start()
}

// WaitInSync waits until every broker knows all of them, and every partition has
// a leader and all its replicas in sync.
func (c *KafkaCluster) WaitInSync(ctx context.Context) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := c.outOfSync(ctx, cl)
		if missing == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kafka cluster: not in sync: %w (%w)", missing, ctx.Err())
		case <-tick.C:
		}
	}
}

func (c *KafkaCluster) client() (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(c.addrs()...), kgo.MetadataMinAge(10*time.Millisecond), kgo.RetryTimeout(5*time.Second))
}

// outOfSync says what is not in sync yet, as any of the brokers sees it.
func (c *KafkaCluster) outOfSync(ctx context.Context, cl *kgo.Client) error {
	for _, b := range c.brokers {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		req := kmsg.NewPtrMetadataRequest() // of all topics
		meta, err := req.RequestWith(one, cl.Broker(b.id))
		cancel()
		if err != nil {
			// The client may not know the broker yet: any answer tells it.
			return errors.Join(fmt.Errorf("broker %d: %w", b.id, err), cl.Ping(ctx))
		}
		if len(meta.Brokers) != len(c.brokers) {
			return fmt.Errorf("broker %d knows %d brokers", b.id, len(meta.Brokers))
		}
		for _, t := range meta.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 || p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
					return fmt.Errorf("broker %d: %s-%d has the leader %d, %d of %d replicas in sync", b.id, *t.Topic, p.Partition, p.Leader, len(p.ISR), len(p.Replicas))
				}
			}
		}
	}
	return nil
}

// TransactionCoordinator is the broker that decides about a transactional id.
func (c *KafkaCluster) TransactionCoordinator(ctx context.Context, id string) (*KafkaBroker, error) {
	return c.coordinator(ctx, 1, id)
}

// GroupCoordinator is the broker that leads a consumer group.
func (c *KafkaCluster) GroupCoordinator(ctx context.Context, group string) (*KafkaBroker, error) {
	return c.coordinator(ctx, 0, group)
}

func (c *KafkaCluster) coordinator(ctx context.Context, kind int8, key string) (*KafkaBroker, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = kind, key, []string{key}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for { // until there is one: the first question makes the coordinators' topic
		answer, err := req.RequestWith(ctx, cl)
		if err == nil {
			for _, at := range answer.Coordinators {
				for _, b := range c.brokers {
					if at.ErrorCode == 0 && int(at.NodeID) == b.id && b.child.alive() {
						return b, nil
					}
				}
			}
			err = fmt.Errorf("nobody: %+v", answer.Coordinators)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("kafka cluster: coordinator of %s: %w (%w)", key, err, ctx.Err())
		case <-tick.C:
		}
	}
}
