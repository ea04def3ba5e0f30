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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// KafkaBroker is a broker of Apache Kafka 4.3 on loopback, alone (KRaft, broker
// and controller in one process). It needs some 400 MB and is up after about 6 s.
// It ends with the process that started it. Methods are for one goroutine at a
// time, except Addr.
type KafkaBroker struct {
	kafka   *Kafka
	dir     string // server.properties, data, log
	control int
	cfg     KafkaConfig
	child   child
}

// KafkaConfig is what differs from a plain broker on a port of its own.
type KafkaConfig struct {
	Port     int      // of the plaintext listener; 0 is any free port
	SASLPort int      // of a listener with SASL (PLAIN, SCRAM); 0 is none
	Host     string   // that clients are told to connect to; "" is 127.0.0.1
	Users    []User   // who may come in by SASL
	Heap     string   // Java's -Xmx; "" is 512M
	Settings string   // more lines of server.properties; they win over ours
	Format   []string // more arguments of `storage format`
}

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
	b, err := NewKafkaBroker(NeedKafka(t), t.TempDir(), KafkaConfig{Settings: settings})
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
	b := &KafkaBroker{kafka: k, dir: dir, cfg: cfg, child: child{log: filepath.Join(dir, "kafka.log")}}
	var err error
	if b.cfg.Port == 0 {
		if b.cfg.Port, err = freePort(); err != nil {
			return nil, err
		}
	}
	if b.control, err = freePort(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.file("log4j2.xml"), []byte(log4jConfig), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.file("server.properties"), []byte(b.properties()), 0o644); err != nil {
		return nil, err
	}
	args := b.arguments("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", b.file("server.properties"))
	for _, u := range cfg.Users {
		if strings.HasPrefix(u.Mechanism, "SCRAM") {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", u.Mechanism, u.Name, u.Password))
		}
	}
	format := exec.Command(k.java, append(args, cfg.Format...)...)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("kafka: format %s: %w\n%s", dir, err, tail(out, 4000))
	}
	if err := b.Start(); err != nil {
		return nil, err
	}
	return b, nil
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
	lines := []string{
		"process.roles=broker,controller", "node.id=1",
		fmt.Sprintf("controller.quorum.voters=1@127.0.0.1:%d", b.control),
		fmt.Sprintf("listeners=%s,CONTROLLER://127.0.0.1:%d", endpoints("127.0.0.1"), b.control),
		"advertised.listeners=" + endpoints(cmp.Or(b.cfg.Host, "127.0.0.1")),
		"inter.broker.listener.name=PLAINTEXT", "controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs=" + b.file("data"), "num.partitions=4", "default.replication.factor=1",
		"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=4",
		"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1",
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
	return append([]string{"-Xms256M", "-Xmx" + cmp.Or(b.cfg.Heap, "512M"), "-Djava.awt.headless=true", "-Dlog4j2.configurationFile=" + b.file("log4j2.xml"), "-cp", b.kafka.classpath}, rest...)
}

// Addr is where clients connect, "127.0.0.1:PORT". It stays over restarts.
func (b *KafkaBroker) Addr() string { return "127.0.0.1:" + strconv.Itoa(b.cfg.Port) }

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

// answers asks for ApiVersions, which a broker answers once it serves clients,
// and then for Metadata, which names it once it is registered.
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
	var head [12]byte // length, correlation id, number of brokers
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return false
	}
	return binary.BigEndian.Uint32(head[8:]) == 1
}

// Kill ends the broker with SIGKILL and waits for its end.
func (b *KafkaBroker) Kill() { b.child.kill() }

// Stop ends the broker with SIGTERM, as an operator does.
func (b *KafkaBroker) Stop() { b.child.stop() }

// Restart starts the broker again on its data and ports, after Kill or Stop or instead of them.
func (b *KafkaBroker) Restart() error {
	b.Kill()
	return b.Start()
}

// LogTail is the end of what the broker logged.
func (b *KafkaBroker) LogTail(n int) string { return b.child.tail(n) }
