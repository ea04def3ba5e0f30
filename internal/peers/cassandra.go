package peers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "embed"
)

//go:embed cassandra-pom.xml
var cassandraPOM []byte

// CassandraConfig is what differs from a plain node on loopback.
type CassandraConfig struct {
	// PasswordAuth asks for a user and password; the first user is cassandra with
	// password cassandra. Roles are made some moments after the port opens.
	PasswordAuth bool
	// Cert and Key are PEM files (key in PKCS #8) of the node: clients speak TLS.
	// CA is a PEM file with what signs clients' certificates; with it each client
	// must have one.
	Cert, Key, CA string
	// Settings are more lines of cassandra.yaml.
	Settings string
}

// Cassandra is a node of Apache Cassandra 5 on loopback: a real one, in a
// process of its own, with durable acknowledgements (commitlog_sync: batch).
// It needs some 1.4 GB of memory and is up after 10 to 20 s.
//
// A node ends with the process that started it, however that ends (on Linux).
// Methods are for one goroutine at a time, except Addr.
type Cassandra struct {
	dir       string // conf, data, log
	classpath string
	jamm      string
	java      string
	port      int
	storage   int
	cfg       CassandraConfig
	child     child
}

var shared struct {
	mu   sync.Mutex
	node *Cassandra
}

// NeedCassandra gives the node that all tests of a package share; the first one
// starts it. The package's TestMain must call StopShared after m.Run. A test that
// kills the node restarts it.
func NeedCassandra(t testing.TB) *Cassandra {
	t.Helper()
	NeedIntegration(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.node == nil {
		dir, err := os.MkdirTemp("", "millstream-cassandra")
		if err != nil {
			t.Fatal(err)
		}
		shared.node = needNode(t, dir, CassandraConfig{})
	}
	return shared.node
}

// StopShared ends what the tests of a package share, if it was started: the
// node, the broker, the cluster, the `millstream serve` and its binary.
func StopShared() {
	stopSharedBroker()
	stopSharedCluster()
	stopSharedServe()
	removeMillstream()
	removeClasses()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.node != nil {
		shared.node.Kill()
		os.RemoveAll(shared.node.dir)
		shared.node = nil
	}
}

// StartCassandra gives a node of the test's own, which ends with the test.
func StartCassandra(t testing.TB, cfg CassandraConfig) *Cassandra {
	t.Helper()
	NeedIntegration(t)
	return needNode(t, "", cfg)
}

func needNode(t testing.TB, dir string, cfg CassandraConfig) *Cassandra {
	t.Helper()
	own := dir == ""
	if own {
		dir = t.TempDir()
	}
	c, err := NewCassandra(dir, cfg)
	if errors.Is(err, errMissing) {
		missing(t, "%v", err)
	}
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if own {
		t.Cleanup(func() { c.Kill() })
	}
	return c
}

// errMissing: a program or jar that has to be there is not.
var errMissing = errors.New("needed for Cassandra")

// NewCassandra prepares a node whose data is in dir, fetching Cassandra with
// Maven at first use. Start starts it.
func NewCassandra(dir string, cfg CassandraConfig) (*Cassandra, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("no java on this machine (Java 17 or 11): %w", errMissing)
	}
	libs, err := jars("cassandra", cassandraPOM)
	if err != nil {
		return nil, fmt.Errorf("jars %w: %w", errMissing, err)
	}
	jamm, err := filepath.Glob(filepath.Join(libs, "jamm-*.jar"))
	if err != nil || len(jamm) == 0 {
		return nil, fmt.Errorf("no jamm-*.jar in %s: remove the directory, so that Maven fetches it again", libs)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	c := &Cassandra{dir: dir, classpath: filepath.Join(libs, "*"), jamm: jamm[0], java: java, cfg: cfg}
	if c.port, err = freePort(); err != nil {
		return nil, err
	}
	if c.storage, err = freePort(); err != nil {
		return nil, err
	}
	return c, nil
}

// Addr is where clients connect, "127.0.0.1:PORT". It stays over restarts.
func (c *Cassandra) Addr() string { return fmt.Sprintf("127.0.0.1:%d", c.port) }

// PID is the process of the last start.
func (c *Cassandra) PID() int { return c.child.cmd.Process.Pid }

// startTimeout is generous: a busy machine may need a minute.
const startTimeout = 4 * time.Minute

// Start starts the node and waits until it answers clients.
func (c *Cassandra) Start() error {
	if err := c.writeConfig(); err != nil {
		return err
	}
	c.child.log = c.logFile()
	if err := c.child.start(exec.Command(c.java, c.arguments()...), c.answers, startTimeout); err != nil {
		return fmt.Errorf("cassandra: %w", err)
	}
	return nil
}

// answers asks for the native protocol's OPTIONS, or with TLS for the port.
func (c *Cassandra) answers() bool {
	conn, err := net.DialTimeout("tcp", c.Addr(), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if c.cfg.Cert != "" {
		return true
	}
	options := []byte{4, 0, 0, 0, 5, 0, 0, 0, 0} // version, flags, stream, OPTIONS, length
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(options); err != nil {
		return false
	}
	var header [9]byte
	_, err = io.ReadFull(conn, header[:])
	return err == nil && header[4] == 6 // SUPPORTED
}

// Kill ends the node with SIGKILL and waits for its end. Acknowledged writes survive.
func (c *Cassandra) Kill() { c.child.kill() }

// Stop ends the node as an operator does, with SIGTERM, and with SIGKILL after half a minute.
func (c *Cassandra) Stop() { c.child.stop() }

// Restart starts the node again on its data and ports, after Kill or Stop or instead of them.
func (c *Cassandra) Restart() error {
	c.Kill()
	return c.Start()
}

func (c *Cassandra) logFile() string { return filepath.Join(c.dir, "cassandra.log") }

// LogTail is the end of what the node logged.
func (c *Cassandra) LogTail(n int) string { return c.child.tail(n) }
