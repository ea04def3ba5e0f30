package cassandra

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
)

// fakeCluster is a cluster in memory with Cassandra's rules for timestamps: of
// two values of a cell the later one holds; at equal times a deletion, else the
// greater value.
type fakeCluster struct {
	mu       sync.Mutex
	keyspace *keyspace
	rows     map[string]*fakeRow // by table and primary key
	ran      []string
	requests [][]statement
	inFlight int
	peak     int
	sessions int // open ones
	dials    int

	dialErr error
	// before is asked before each request; it may wait, and its error is the answer.
	before func(ctx context.Context, statements []statement) error
	// after is asked when a request was applied: an error is an answer that got lost.
	after func(statements []statement) error
}

type fakeRow struct {
	marker, deleted int64
	cells           map[string]fakeCell
}

type fakeCell struct {
	ts  int64
	ttl uint32
	b   []byte // nil: deleted
}

func newFake(tables map[string][]tableColumn) *fakeCluster {
	return &fakeCluster{rows: map[string]*fakeRow{}, keyspace: &keyspace{name: "shop", exists: true, tables: tables, views: map[string]bool{}, types: map[string][]typeField{}}}
}

func (f *fakeCluster) dial(context.Context, *Config, string, *slog.Logger) (session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	if f.dialErr != nil {
		return nil, f.dialErr
	}
	f.sessions++
	return &fakeSession{f}, nil
}

type fakeSession struct{ f *fakeCluster }

func (s *fakeSession) run(_ context.Context, cql string) error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.ran = append(s.f.ran, cql)
	return nil
}

func (s *fakeSession) schema(context.Context, string) (*keyspace, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	k := *s.f.keyspace
	k.tables = maps.Clone(k.tables)
	return &k, nil
}

func (s *fakeSession) close() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.sessions--
}

func (s *fakeSession) write(ctx context.Context, statements []statement, _ []byte) error {
	f := s.f
	f.mu.Lock()
	f.requests = append(f.requests, slices.Clone(statements))
	f.inFlight++
	f.peak = max(f.peak, f.inFlight)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inFlight--
		f.mu.Unlock()
	}()
	if f.before != nil {
		if err := f.before(ctx, statements); err != nil {
			return err
		}
	}
	f.mu.Lock()
	for _, st := range statements {
		f.apply(st)
	}
	f.mu.Unlock()
	if f.after != nil {
		return f.after(statements)
	}
	return nil
}

// valueOf is a bound value: nil for null, and whether it is set at all.
func valueOf(v any) (b []byte, set bool) {
	if c, ok := v.(*cell); ok {
		return c.b, true
	}
	return nil, false
}

func (f *fakeCluster) apply(st statement) {
	if rest, ok := strings.CutPrefix(st.cql, "DELETE FROM "); ok {
		table, where, _ := strings.Cut(rest, " USING TIMESTAMP ? WHERE ")
		ts, _ := valueOf(st.values[0])
		r := f.row(table, st.values[1:1+strings.Count(where, "?")])
		r.deleted = max(r.deleted, int64(binary.BigEndian.Uint64(ts)))
		return
	}
	rest := strings.TrimPrefix(st.cql, "INSERT INTO ")
	table, rest, _ := strings.Cut(rest, " (")
	list, rest, _ := strings.Cut(rest, ") VALUES")
	names := strings.Split(list, ", ")
	raw, _ := valueOf(st.values[len(names)])
	ts := int64(binary.BigEndian.Uint64(raw))
	var ttl uint32
	if strings.HasSuffix(rest, "AND TTL ?") {
		raw, _ := valueOf(st.values[len(names)+1])
		ttl = binary.BigEndian.Uint32(raw)
	}
	keys := f.primary(table)
	r := f.row(table, st.values[:keys])
	r.marker = max(r.marker, ts)
	for i := keys; i < len(names); i++ {
		b, set := valueOf(st.values[i])
		if !set {
			continue
		}
		n, old := fakeCell{ts, ttl, bytes.Clone(b)}, r.cells[names[i]]
		if n.ts > old.ts || n.ts == old.ts && (n.b == nil || old.b != nil && bytes.Compare(n.b, old.b) > 0) {
			r.cells[names[i]] = n
		}
	}
}

// primary counts the key columns of "shop.table".
func (f *fakeCluster) primary(table string) (n int) {
	for _, c := range f.keyspace.tables[strings.TrimPrefix(table, "shop.")] {
		if c.kind == "partition_key" || c.kind == "clustering" {
			n++
		}
	}
	return n
}

func (f *fakeCluster) row(table string, key []any) *fakeRow {
	var k strings.Builder
	k.WriteString(table)
	for _, v := range key {
		b, _ := valueOf(v)
		fmt.Fprintf(&k, "/%x", b)
	}
	r := f.rows[k.String()]
	if r == nil {
		r = &fakeRow{cells: map[string]fakeCell{}}
		f.rows[k.String()] = r
	}
	return r
}

// table is what a reader sees: the rows that live, with the cells that do.
func (f *fakeCluster) table() map[string]map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]map[string]string{}
	for key, r := range f.rows {
		live := map[string]string{}
		for name, c := range r.cells {
			if c.b != nil && c.ts > r.deleted {
				live[name] = string(c.b)
			}
		}
		if len(live) > 0 || r.marker > r.deleted {
			all[key] = live
		}
	}
	return all
}

// answer is an error that Cassandra sends.
type answer struct{ code int }

func (a answer) Code() int       { return a.code }
func (a answer) Message() string { return a.Error() }
func (a answer) Error() string   { return fmt.Sprintf("answer %#x", a.code) }

var _ gocql.RequestError = answer{}

// item is the row of most tests.
type item struct {
	Shop  string `cql:"shop,key" json:"shop"`
	Name  string `cql:"name,cluster" json:"name"`
	Price int64  `cql:"price,omitempty" json:"price"`
	Note  string `cql:"note,omitempty" json:"note"`
}

var itemColumns = []tableColumn{
	{"name", "clustering", 0, "text"}, {"note", "regular", -1, "text"}, {"price", "regular", -1, "bigint"}, {"shop", "partition_key", 0, "text"},
}

func itemTables() map[string][]tableColumn { return map[string][]tableColumn{"items": itemColumns} }

// opened is a sink on a fake cluster.
func opened(t *testing.T, f *fakeCluster, change func(*Config), spec TableSpec, rows Rows) *Sink {
	t.Helper()
	cfg := Config{Hosts: []string{"127.0.0.1"}, Keyspace: "shop", Tables: []TableSpec{spec}, Rows: rows}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg)
	s.dial = f.dial
	if err := s.Open(context.Background(), sinkContext); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// byKey makes rows of records whose key is the item's name and whose value is JSON.
func byKey(items *Table[item]) Rows {
	return FromKeyValue(items, nil, nil, func(k string, v item) item {
		v.Name = k
		if v.Shop == "" {
			v.Shop = "corner"
		}
		return v
	})
}

// outcomeOf unpacks what Write returned.
func outcomeOf(t *testing.T, err error) *connectors.WriteError {
	t.Helper()
	w, ok := err.(*connectors.WriteError)
	if !ok {
		t.Fatalf("Write returned %T %v, expected a *connectors.WriteError", err, err)
	}
	return w
}
