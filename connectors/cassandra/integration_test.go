package cassandra

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/record"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// createdMS is the creation time of the tests' topics: 2026-11-01.
const createdMS = 1793491200000

var sinkContext = connectors.SinkContext{App: "app", Name: "cassandra", Topic: connectors.Topic{Name: "out", CreatedMS: createdMS}, Partitions: 1}

var keyspaces atomic.Int64

// cluster is a real Cassandra with a keyspace of the test's own.
type cluster struct {
	t        *testing.T
	addr     string
	keyspace string
	s        *gocql.Session
}

// realCluster takes the node that the package's tests share, or the one that
// CASSANDRA names (internal/peers/cmd/cassandra sets it).
func realCluster(t *testing.T) *cluster {
	t.Helper()
	addr := os.Getenv("CASSANDRA")
	if addr == "" {
		addr = peers.NeedCassandra(t).Addr()
	}
	return newCluster(t, gocql.NewCluster(addr), addr)
}

func newCluster(t *testing.T, cfg *gocql.ClusterConfig, addr string) *cluster {
	t.Helper()
	s, err := cfg.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &cluster{t: t, addr: addr, s: s, keyspace: fmt.Sprintf("test%d_%d", os.Getpid(), keyspaces.Add(1))}
}

func (c *cluster) config(spec TableSpec, rows Rows) Config {
	return Config{Hosts: []string{c.addr}, Keyspace: c.keyspace, Create: true, Tables: []TableSpec{spec}, Rows: rows}
}

func (c *cluster) open(cfg Config) *Sink {
	c.t.Helper()
	s := New(cfg)
	if err := s.Open(context.Background(), sinkContext); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { s.Close() })
	return s
}

func (c *cluster) exec(cql string, values ...any) {
	c.t.Helper()
	if err := c.s.Query(strings.ReplaceAll(cql, "KS", c.keyspace), values...).Exec(); err != nil {
		c.t.Fatalf("%s: %v", cql, err)
	}
}

// rows reads a table as text, a line for each row, sorted by Cassandra's order
// of the columns.
func (c *cluster) rows(cql string) []map[string]any {
	c.t.Helper()
	rows, err := c.s.Query(strings.ReplaceAll(cql, "KS", c.keyspace)).Iter().SliceMap()
	if err != nil {
		c.t.Fatalf("%s: %v", cql, err)
	}
	return rows
}

// rec is a record with JSON, or a tombstone.
func rec(offset int64, key, value string) connectors.Record {
	r := connectors.Record{View: record.View{Offset: record.Offset(offset), Timestamp: createdMS, Key: []byte(key)}, Topic: "out"}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

func write(t *testing.T, s *Sink, records ...connectors.Record) {
	t.Helper()
	if err := s.Write(context.Background(), records); err != nil {
		t.Fatal(err)
	}
}
