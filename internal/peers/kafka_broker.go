package peers

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// KafkaBroker is a broker of Apache Kafka 4.3 on loopback (KRaft, broker and
// controller in one process), alone or one of a KafkaCluster. It needs some
// 400 MB and is up after about 6 s. It ends with the process that started it.
// Methods are for one goroutine at a time, except Addr and ID.
type KafkaBroker struct {
	kafka       *Kafka
	dir         string // server.properties, data, log
	id          int
	controllers []int // ports of the quorum's controllers, that of broker N at N-1
	cfg         KafkaConfig
	child       child
}

// KafkaConfig is what differs from a plain broker on a port of its own.
type KafkaConfig struct {
	Port     int      // of the plaintext listener; 0 is any free port
	SASLPort int      // of a listener with SASL (PLAIN, SCRAM); 0 is none, AnyPort a free one
	Host     string   // that clients are told to connect to; "" is 127.0.0.1
	Users    []User   // who may come in by SASL
	Heap     string   // Java's -Xmx; "" is 512M
	Settings string   // more lines of server.properties; they win over ours
	Format   []string // more arguments of `storage format`
	JVM      []string // more arguments of Java
}

// AnyPort asks for a listener on a port that is free.
const AnyPort = -1

// User is a user of a SASL listener: with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
type User struct{ Mechanism, Name, Password string }

var sharedBroker struct {
	mu     sync.Mutex
	broker *KafkaBroker
}

// NeedKafkaBroker gives the broker that all tests of a package share; the first
// one starts it. The package's TestMain must call StopShared after m.Run. Use
// topic and group names of your own.
func NeedKafkaBroker(t testing.TB) *KafkaBroker {
	t.Helper()
	k := NeedKafka(t)
	sharedBroker.mu.Lock()
	defer sharedBroker.mu.Unlock()
	if sharedBroker.broker == nil {
		dir, err := os.MkdirTemp("", "millstream-kafka")
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewKafkaBroker(k, dir, KafkaConfig{})
		if err != nil {
			os.RemoveAll(dir)
			t.Fatal(err)
		}
		sharedBroker.broker = b
	}
	return sharedBroker.broker
}

// stopSharedBroker ends the shared broker, if there is one.
func stopSharedBroker() {
	sharedBroker.mu.Lock()
	defer sharedBroker.mu.Unlock()
	if b := sharedBroker.broker; b != nil {
		b.Kill()
		os.RemoveAll(b.dir)
		sharedBroker.broker = nil
	}
}

// StartKafkaBroker gives a broker of the test's own, which ends with the test.
// settings are more lines of server.properties.
func StartKafkaBroker(t testing.TB, settings string) *KafkaBroker {
	t.Helper()
	return StartKafkaBrokerWith(t, KafkaConfig{Settings: settings})
}

// StartKafkaBrokerWith is StartKafkaBroker with every setting.
func StartKafkaBrokerWith(t testing.TB, cfg KafkaConfig) *KafkaBroker {
	t.Helper()
	b, err := NewKafkaBroker(NeedKafka(t), t.TempDir(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	return b
}

// clusterID is any: 16 bytes in URL base64.
const clusterID = "TWlsbHN0cmVhbVRlc3RzMQ"

// NewKafkaBroker formats a broker's storage in dir and starts it. The caller kills it.
func NewKafkaBroker(k *Kafka, dir string, cfg KafkaConfig) (*KafkaBroker, error) {
	control, err := freePort()
	if err != nil {
		return nil, err
	}
	b, err := prepareBroker(k, dir, cfg, 1, []int{control})
	if err == nil {
		err = b.format()
	}
	if err == nil {
		err = b.Start()
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// prepareBroker writes the settings of broker id of a quorum into dir.
func prepareBroker(k *Kafka, dir string, cfg KafkaConfig, id int, controllers []int) (*KafkaBroker, error) {
	b := &KafkaBroker{kafka: k, dir: dir, id: id, controllers: controllers, cfg: cfg, child: child{log: filepath.Join(dir, "kafka.log")}}
	var err error
	if b.cfg.Port == 0 {
		if b.cfg.Port, err = freePort(); err != nil {
			return nil, err
		}
	}
	if b.cfg.SASLPort == AnyPort {
		if b.cfg.SASLPort, err = freePort(); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(b.file("log4j2.xml"), []byte(log4jConfig), 0o644); err != nil {
		return nil, err
	}
	return b, os.WriteFile(b.file("server.properties"), []byte(b.properties()), 0o644)
}

// format makes the storage with Kafka's own tool.
func (b *KafkaBroker) format() error {
	args := b.arguments("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", b.file("server.properties"))
	for _, u := range b.cfg.Users {
		if strings.HasPrefix(u.Mechanism, "SCRAM") {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", u.Mechanism, u.Name, u.Password))
		}
	}
	format := exec.Command(b.kafka.java, append(args, b.cfg.Format...)...)
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("kafka: format %s: %w\n%s", b.dir, err, tail(out, 4000))
	}
	return nil
}

const log4jConfig = `<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN"><Appenders><Console name="out"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
`

func (b *KafkaBroker) file(name string) string { return filepath.Join(b.dir, name) }

func (b *KafkaBroker) properties() string {
	endpoints := func(host string) string {
		s := fmt.Sprintf("PLAINTEXT://%s:%d", host, b.cfg.Port)
		if b.cfg.SASLPort != 0 {
			s += fmt.Sprintf(",SASL_PLAINTEXT://%s:%d", host, b.cfg.SASLPort)
		}
		return s
	}
	var voters []string
	for i, port := range b.controllers {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, port))
	}
	replicas := len(b.controllers)
	inSync := replicas/2 + 1
	lines := []string{
		"process.roles=broker,controller", fmt.Sprintf("node.id=%d", b.id),
		"controller.quorum.voters=" + strings.Join(voters, ","),
		fmt.Sprintf("listeners=%s,CONTROLLER://127.0.0.1:%d", endpoints("127.0.0.1"), b.controllers[b.id-1]),
		"advertised.listeners=" + endpoints(cmp.Or(b.cfg.Host, "127.0.0.1")),
		"inter.broker.listener.name=PLAINTEXT", "controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs=" + b.DataDir(), "num.partitions=4",
		fmt.Sprintf("default.replication.factor=%d", replicas), fmt.Sprintf("min.insync.replicas=%d", inSync),
		fmt.Sprintf("offsets.topic.replication.factor=%d", replicas), "offsets.topic.num.partitions=4",
		fmt.Sprintf("transaction.state.log.replication.factor=%d", replicas), fmt.Sprintf("transaction.state.log.min.isr=%d", inSync),
		"transaction.state.log.num.partitions=4",
		fmt.Sprintf("share.coordinator.state.topic.replication.factor=%d", replicas), fmt.Sprintf("share.coordinator.state.topic.min.isr=%d", inSync),
		"group.initial.rebalance.delay.ms=0", "auto.create.topics.enable=true",
		"log.retention.ms=-1", // tests' event times are old
	}
	if b.cfg.SASLPort != 0 {
		lines = append(lines, b.saslProperties()...)
	}
	return strings.Join(lines, "\n") + "\n" + b.cfg.Settings + "\n"
}

// saslProperties names the users of PLAIN; those of SCRAM are in the metadata.
func (b *KafkaBroker) saslProperties() []string {
	plain := "org.apache.kafka.common.security.plain.PlainLoginModule required"
	for _, u := range b.cfg.Users {
		if u.Mechanism == "PLAIN" {
			plain += fmt.Sprintf(" user_%s=%q", u.Name, u.Password)
		}
	}
	const listener = "listener.name.sasl_plaintext."
	const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	return []string{
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		listener + "plain.sasl.jaas.config=" + plain + ";",
		listener + "scram-sha-256.sasl.jaas.config=" + scram, listener + "scram-sha-512.sasl.jaas.config=" + scram,
	}
}

func (b *KafkaBroker) arguments(rest ...string) []string {
	args := append([]string{"-Xms256M", "-Xmx" + cmp.Or(b.cfg.Heap, "512M"), "-Djava.awt.headless=true"}, b.cfg.JVM...)
	return append(append(args, "-Dlog4j2.configurationFile="+b.file("log4j2.xml"), "-cp", b.kafka.classpath), rest...)
}

// ID is the broker's node id.
func (b *KafkaBroker) ID() int { return b.id }

// Addr is where clients connect, "127.0.0.1:PORT". It stays over restarts.
func (b *KafkaBroker) Addr() string { return "127.0.0.1:" + strconv.Itoa(b.cfg.Port) }

// SASLAddr is where clients with a password connect.
func (b *KafkaBroker) SASLAddr() string { return "127.0.0.1:" + strconv.Itoa(b.cfg.SASLPort) }

// PID is the process of the last start.
func (b *KafkaBroker) PID() int { return b.child.cmd.Process.Pid }

// DataDir is the broker's log directory.
func (b *KafkaBroker) DataDir() string { return b.file("data") }

// Start starts the broker and waits until it answers clients.
func (b *KafkaBroker) Start() error {
	cmd := exec.Command(b.kafka.java, b.arguments("kafka.Kafka", b.file("server.properties"))...)
	if err := b.child.start(cmd, b.answers, startTimeout); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	return nil
}

// answers asks for Metadata: a broker serves clients once it is registered and
// names itself.
func (b *KafkaBroker) answers() bool {
	conn, err := net.DialTimeout("tcp", b.Addr(), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	// Metadata v1 of no topics: api key 3, version 1, correlation id 1, a null client id, an empty list.
	request := []byte{0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return false
	}
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil || binary.BigEndian.Uint32(length[:]) > 1<<20 {
		return false
	}
	answer := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return false
	}
	meta := kmsg.MetadataResponse{Version: 1}
	if len(answer) < 4 || meta.ReadFrom(answer[4:]) != nil {
		return false
	}
	return slices.ContainsFunc(meta.Brokers, func(m kmsg.MetadataResponseBroker) bool { return int(m.NodeID) == b.id })
}

// Kill ends the broker with SIGKILL and waits for its end.
func (b *KafkaBroker) Kill() { b.child.kill() }

// Stop ends the broker with SIGTERM, as an operator does.
func (b *KafkaBroker) Stop() { b.child.stop() }

// Pause stops the process (SIGSTOP) until Continue: it is silent, its connections stay.
func (b *KafkaBroker) Pause() { b.child.signal(syscall.SIGSTOP) }

// Continue lets a paused process go on.
func (b *KafkaBroker) Continue() { b.child.signal(syscall.SIGCONT) }

// Restart starts the broker again on its data and ports, after Kill or Stop or instead of them.
func (b *KafkaBroker) Restart() error {
	b.Kill()
	return b.Start()
}

// LogTail is the end of what the broker logged.
func (b *KafkaBroker) LogTail(n int) string { return b.child.tail(n) }
