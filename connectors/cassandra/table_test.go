package cassandra

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

func TestTheNamesOfColumnsComeFromFields(t *testing.T) {
	for in, want := range map[string]string{"Sales": "sales", "DailySales": "daily_sales", "UserID": "user_id", "HTTPPort": "http_port", "A": "a", "X_Y": "x_y", "N2K": "n2_k"} {
		if got := snake(in); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

type audit struct {
	By string    `cql:"changed_by,static"`
	At time.Time `cql:"changed_at"`
}

type place struct {
	City string
	Zip  int32 `cql:"zip,omitempty"`
}

type visit struct {
	audit
	Site   string           `cql:"site,key"`
	Minute int64            `cql:"minute,cluster,desc"`
	Part   int32            `cql:"part,key"`
	User   string           `cql:"User,cluster"`
	From   place            `cql:"origin"`
	Others map[string]place `cql:"others"`
	Hits   int64
	Skip   func() `cql:"-"`
	Embed
}

// Embed is exported, audit is not: both give their fields.
type Embed struct {
	Tags map[string]struct{} `cql:",omitempty"`
}

func TestCreateMakesWhatTheStructSays(t *testing.T) {
	table := TableOf[visit]("visits", With("gc_grace_seconds = 3600"))
	got, err := Config{Hosts: []string{"h"}, Keyspace: "Web", Create: true, Tables: []TableSpec{table}, Rows: FromValue(table, nil),
		Schema: []string{"CREATE TABLE IF NOT EXISTS other (id int PRIMARY KEY)"}}.CQL()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`CREATE KEYSPACE IF NOT EXISTS "Web" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`,
		`CREATE TABLE IF NOT EXISTS other (id int PRIMARY KEY)`,
		`CREATE TYPE IF NOT EXISTS "Web".place (city text, zip int)`,
		`CREATE TABLE IF NOT EXISTS "Web".visits (site text, part int, minute bigint, "User" text, changed_by text static, changed_at timestamp, ` +
			`origin frozen<place>, others map<text, frozen<place>>, hits bigint, tags set<text>, PRIMARY KEY ((site, part), minute, "User")) ` +
			`WITH CLUSTERING ORDER BY (minute DESC, "User" ASC) AND gc_grace_seconds = 3600`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

type loop struct {
	ID   string `cql:"id,key"`
	Next *loop
}

func TestEveryMistakeOfATableIsReported(t *testing.T) {
	for want, spec := range map[string]TableSpec{
		"no field of cassandra.place is a key": TableOf[place]("t"),
		"rows are of type int, expected":       TableOf[int]("t"),
		"its name has 0 characters":            TableOf[item](""),
		"cassandra.loop holds itself":          TableOf[loop]("t"),
		"column a is named by two fields": TableOf[struct {
			A string `cql:",key"`
			B string `cql:"a"`
		}]("t"),
		`option "kye" in its tag, expected key`: TableOf[struct {
			A string `cql:"a,kye"`
		}]("t"),
		"chan int has no CQL type": TableOf[struct {
			A string `cql:",key"`
			B chan int
		}]("t"),
		"type counter: adding to a counter twice counts twice": TableOf[struct {
			A string `cql:",key"`
			N int64  `cql:",type=counter"`
		}]("t"),
		"a Go string cannot be written as bigint": TableOf[struct {
			A string `cql:",key,type=bigint"`
		}]("t"),
		"omitempty cannot stand at a key": TableOf[struct {
			A string `cql:",key,omitempty"`
		}]("t"),
		"desc is for clustering columns": TableOf[struct {
			A string `cql:",key,desc"`
		}]("t"),
		"tuples are not written": TableOf[struct {
			A string `cql:",key"`
			B []byte `cql:",type=tuple<int, int>"`
		}]("t"),
		`type "list<int": > expected`: TableOf[struct {
			A string  `cql:",key"`
			B []int32 `cql:",type=list<int"`
		}]("t"),
		"TTL 1.5s: expected whole seconds": TableOf[item]("t", TTL(1500*time.Millisecond)),
	} {
		err := Config{Hosts: []string{"h"}, Keyspace: "k", Tables: []TableSpec{spec}, Rows: func(dst []Row, _ *connectors.Record) ([]Row, error) { return dst, nil }}.Validate()
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
}

func TestEveryMistakeOfAConfigIsReported(t *testing.T) {
	items := TableOf[item]("items")
	err := New(Config{
		Hosts: []string{"", "h:99999", "h:x"}, Keyspace: "no-good", Tables: []TableSpec{items, nil, items}, Consistency: "MOST",
		Timestamps: 9, Password: connectors.NewSecret("x"), TLS: &TLS{Cert: "a"}, InFlight: -1, BatchRows: -1, Timeout: -1,
	}).Open(context.Background(), sinkContext)
	if !errors.Is(err, ErrConfig) || !connectors.IsPermanent(err) {
		t.Fatalf("%v, want a permanent ErrConfig", err)
	}
	for _, want := range []string{`Hosts: "": no host name`, `port "99999", expected`, `port "x"`, `Keyspace "no-good"`, "Tables[1] is nil", "table items is named twice",
		"Rows is nil", `Consistency "MOST": expected ANY`, "Timestamps 9", "Password without Username", "Cert and Key belong together", "InFlight is -1", "BatchRows is -1", "Timeout -1ns"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s\nin %v", want, err)
		}
	}
	err = Config{}.Validate()
	for _, want := range []string{"Hosts is empty", `Keyspace ""`, "Tables is empty", "Rows is nil"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s\nin %v", want, err)
		}
	}
}

func TestATopicWithoutACreationTimeIsRefused(t *testing.T) {
	items := TableOf[item]("items")
	cfg := Config{Hosts: []string{"h"}, Keyspace: "shop", Tables: []TableSpec{items}, Rows: byKey(items)}
	s := New(cfg)
	s.dial = newFake(itemTables()).dial
	sc := sinkContext
	sc.Topic.CreatedMS = 0
	if err := s.Open(context.Background(), sc); !connectors.IsPermanent(err) || !strings.Contains(err.Error(), "creation time") {
		t.Errorf("%v, want a permanent error about the topic's creation time", err)
	}
	cfg.Timestamps = EventTime
	s = New(cfg)
	s.dial = newFake(itemTables()).dial
	if err := s.Open(context.Background(), sc); err != nil {
		t.Errorf("by event time it is not needed: %v", err)
	}
	s.Close()
}

func TestEveryDifferenceOfTheSchemaIsToldAtOnce(t *testing.T) {
	f := newFake(map[string][]tableColumn{
		"items":  {{"shop", "partition_key", 0, "text"}, {"name", "partition_key", 1, "text"}, {"price", "regular", -1, "boolean"}},
		"visits": {{"n", "regular", -1, "counter"}},
		"a_view": itemColumns,
		"kinds":  {{"id", "partition_key", 0, "text"}, {"at", "static", -1, "text"}, {"again", "regular", -1, "text"}, {"of", "regular", -1, "frozen<tuple<int>>"}, {"some", "regular", -1, "missing"}},
	})
	f.keyspace.views["a_view"] = true
	f.keyspace.dropped = map[string]map[string]time.Time{"kinds": {"again": time.UnixMilli(createdMS + 1)}}
	type kinds struct {
		ID    string `cql:"id,key"`
		At    string
		Again string
		Of    string
		Some  place
	}
	visits := TableOf[visit]("visits")
	s := New(Config{Hosts: []string{"h"}, Keyspace: "shop", Tables: []TableSpec{TableOf[item]("items"), visits, TableOf[item]("a_view"), TableOf[item]("none"), TableOf[kinds]("kinds")},
		Rows: FromValue(visits, nil)})
	s.dial = f.dial
	err := s.Open(context.Background(), sinkContext)
	if !errors.Is(err, ErrSchema) || connectors.IsTransient(err) {
		t.Fatalf("%v, want an ErrSchema that is not tried again at the first start", err)
	}
	for _, want := range []string{
		"the partition key of shop.items is (shop, name), and cassandra.item says (shop)", "the clustering key of shop.items is ()",
		"shop.items.price: a Go int64 cannot be written as boolean", "shop.items has no column note: ALTER TABLE shop.items ADD note text",
		"shop.visits.n is a counter", "shop.a_view is a materialized view", "table shop.none does not exist: CREATE TABLE IF NOT EXISTS shop.none",
		"shop.kinds.at is static, and cassandra.kinds says regular", "shop.kinds.again was dropped at 2026-11-01", "tuples are not written",
		"type missing does not exist in keyspace shop",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	if f.sessions != 0 {
		t.Errorf("%d sessions stay open after an Open that failed", f.sessions)
	}
}

func TestAKeyspaceThatIsMissing(t *testing.T) {
	f := newFake(itemTables())
	f.keyspace.exists = false
	items := TableOf[item]("items")
	s := New(Config{Hosts: []string{"h"}, Keyspace: "shop", Tables: []TableSpec{items}, Rows: byKey(items)})
	s.dial = f.dial
	if err := s.Open(context.Background(), sinkContext); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "CREATE KEYSPACE shop") {
		t.Errorf("%v", err)
	}
	if err := s.Write(context.Background(), nil); !errors.Is(err, ErrNotOpen) {
		t.Errorf("Write after an Open that failed: %v", err)
	}
}

func TestAnUnreachableClusterIsTransientAndAWrongPasswordIsNot(t *testing.T) {
	for text, transient := range map[string]bool{
		"gocql: unable to create session: dial tcp 127.0.0.1:9042: connect: connection refused":   true,
		"gocql: unable to create session: lookup cassandra.test: no such host":                    true,
		"gocql: unable to create session: Provided username a and/or password are incorrect":      false,
		"gocql: unable to create session: authentication required (using \"X\")":                  false,
		"gocql: unable to create session: tls: failed to verify certificate: x509: unknown cause": false,
	} {
		items := TableOf[item]("items")
		s := New(Config{Hosts: []string{"127.0.0.1:9042"}, Keyspace: "shop", Tables: []TableSpec{items}, Rows: byKey(items)})
		f := newFake(nil)
		f.dialErr = errors.New(text)
		s.dial = f.dial
		err := s.Open(context.Background(), sinkContext)
		if connectors.IsTransient(err) != transient || !strings.Contains(fmt.Sprint(err), "cassandra at 127.0.0.1:9042: ") {
			t.Errorf("transient %v, want %v: %v", !transient, transient, err)
		}
	}
}
