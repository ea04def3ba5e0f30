package cassandra

import (
	"context"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"gopkg.in/inf.v0"

	"github.com/millstream-io/millstream/connectors"
)

type address struct {
	Street string `cql:"street"`
	Zip    int32  `cql:"zip"`
	Phones []string
}

// everything has a column of each type.
type everything struct {
	ID        string                      `cql:"id,key"`
	Part      int16                       `cql:"part,key"`
	At        time.Time                   `cql:"at,cluster,desc"`
	Seq       int8                        `cql:"seq,cluster"`
	Ascii     string                      `cql:"an_ascii,type=ascii"`
	Bigint    int64                       `cql:"a_bigint"`
	Blob      []byte                      `cql:"a_blob"`
	Boolean   bool                        `cql:"a_boolean"`
	Date      time.Time                   `cql:"a_date,type=date"`
	DateText  string                      `cql:"a_date_text,type=date"`
	Decimal   *inf.Dec                    `cql:"a_decimal"`
	Money     string                      `cql:"money,type=decimal"`
	Double    float64                     `cql:"a_double"`
	Duration  gocql.Duration              `cql:"a_duration"`
	Wait      time.Duration               `cql:"wait"`
	Float     float32                     `cql:"a_float"`
	Inet      netip.Addr                  `cql:"an_inet"`
	OldInet   net.IP                      `cql:"an_old_inet"`
	InetText  string                      `cql:"an_inet_text,type=inet"`
	Int       int32                       `cql:"an_int"`
	Time      time.Duration               `cql:"a_time,type=time"`
	Timestamp time.Time                   `cql:"a_timestamp"`
	UUID      gocql.UUID                  `cql:"a_uuid"`
	UUIDText  string                      `cql:"a_uuid_text,type=uuid"`
	TimeUUID  gocql.UUID                  `cql:"a_timeuuid,type=timeuuid"`
	Varint    *big.Int                    `cql:"a_varint"`
	Unsigned  uint64                      `cql:"an_unsigned"`
	Small     uint8                       `cql:"a_small"`
	List      []string                    `cql:"a_list"`
	Set       map[int32]struct{}          `cql:"a_set"`
	SetSlice  []int64                     `cql:"a_set_slice,type=set<bigint>"`
	Map       map[string]time.Time        `cql:"a_map"`
	Nested    map[string][]netip.Addr     `cql:"nested"`
	Vector    []float32                   `cql:"a_vector,type=vector<float, 3>"`
	UDT       address                     `cql:"an_address"`
	UDTs      map[string]address          `cql:"addresses"`
	Null      *int64                      `cql:"a_null"`
	Pointer   *string                     `cql:"a_pointer"`
	Odd       string                      `cql:"Select"`
	Deep      map[string]map[int64]string `cql:"deep,type=map<text, frozen<map<bigint, text>>>"`
}

func TestIntegrationEveryTypeArrives(t *testing.T) {
	c := realCluster(t)
	at := time.Date(1969, 7, 20, 20, 17, 40, 123e6, time.UTC)
	text := "päper"
	v := everything{
		ID: "id", Part: -7, At: at, Seq: -128, Ascii: "plain", Bigint: -1 << 63, Blob: []byte{0, 255}, Boolean: true,
		Date: at, DateText: "2026-11-21", Decimal: inf.NewDec(-12345, 2), Money: "1999.90", Double: 3.5e-300,
		Duration: gocql.Duration{Months: 1, Days: 2, Nanoseconds: 3}, Wait: 90 * time.Second, Float: 1.5,
		Inet: netip.MustParseAddr("2001:db8::1"), OldInet: net.ParseIP("192.0.2.7"), InetText: "127.0.0.1", Int: -5,
		Time: 23*time.Hour + 59*time.Minute, Timestamp: at, UUID: gocql.MustRandomUUID(), UUIDText: "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
		TimeUUID: gocql.TimeUUID(), Varint: new(big.Int).Lsh(big.NewInt(-3), 90), Unsigned: 1<<64 - 1, Small: 255,
		List: []string{"b", "a"}, Set: map[int32]struct{}{3: {}, 1: {}}, SetSlice: []int64{9, 8}, Map: map[string]time.Time{"k": at},
		Nested: map[string][]netip.Addr{"lo": {netip.MustParseAddr("127.0.0.1")}}, Vector: []float32{1, 2, 3},
		UDT: address{Street: "Main", Zip: 12345, Phones: []string{"1", "2"}}, UDTs: map[string]address{"home": {Street: "Side"}},
		Pointer: &text, Odd: "reserved", Deep: map[string]map[int64]string{"x": {1: "y"}},
	}
	table := TableOf[everything]("everything")
	s := c.open(c.config(table, func(dst []Row, _ *connectors.Record) ([]Row, error) { return append(dst, table.Upsert(v)), nil }))
	write(t, s, rec(1, "", ""))
	rows := c.rows("SELECT * FROM KS.everything")
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	got := rows[0]
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	uuid, _ := gocql.ParseUUID(v.UUIDText)
	unsigned := new(big.Int).SetUint64(v.Unsigned)
	home := map[string]any{"street": "Side", "zip": int32(0), "phones": []string(nil)}
	for name, want := range map[string]any{
		"id": "id", "part": int16(-7), "at": at, "seq": int8(-128), "an_ascii": "plain", "a_bigint": v.Bigint, "a_blob": v.Blob,
		"a_boolean": true, "a_date": day(1969, 7, 20), "a_date_text": day(2026, 11, 21), "a_decimal": v.Decimal, "money": inf.NewDec(199990, 2),
		"a_double": v.Double, "a_duration": v.Duration, "wait": gocql.Duration{Nanoseconds: int64(v.Wait)}, "a_float": v.Float,
		"an_inet": net.ParseIP("2001:db8::1"), "an_old_inet": net.ParseIP("192.0.2.7").To4(), "an_inet_text": net.IP{127, 0, 0, 1}, "an_int": -5,
		"a_time": v.Time, "a_timestamp": at, "a_uuid": v.UUID, "a_uuid_text": uuid, "a_timeuuid": v.TimeUUID, "a_varint": v.Varint,
		"an_unsigned": unsigned, "a_small": int16(255), "a_list": v.List, "a_set": []int{1, 3}, "a_set_slice": []int64{8, 9},
		"a_map": map[string]time.Time{"k": at}, "nested": map[string][]net.IP{"lo": {{127, 0, 0, 1}}}, "a_vector": v.Vector,
		"an_address": map[string]any{"street": "Main", "zip": 12345, "phones": []string{"1", "2"}}, "addresses": map[string]map[string]any{"home": home},
		"a_null": int64(0), "a_pointer": text, "Select": "reserved", "deep": v.Deep,
	} {
		if same(got[name], want) || name == "addresses" {
			continue
		}
		t.Errorf("%s: got %T %v, want %T %v", name, got[name], got[name], want, want)
	}
	var street string
	if err := c.s.Query("SELECT addresses['home'].street FROM " + c.keyspace + ".everything").Scan(&street); err != nil || street != "Side" {
		t.Errorf("addresses['home'].street is %q, %v", street, err)
	}
	var null *int64
	if err := c.s.Query("SELECT a_null FROM " + c.keyspace + ".everything").Scan(&null); err != nil || null != nil {
		t.Errorf("a_null is %v, %v", null, err)
	}
	// What Create made is what the struct says: a second sink finds nothing to complain about.
	again := c.config(table, s.cfg.Rows)
	again.Create = false
	c.open(again)
}

func same(got, want any) bool {
	if g, ok := got.(interface{ String() string }); ok {
		if w, ok := want.(interface{ String() string }); ok && reflect.TypeOf(got) == reflect.TypeOf(want) {
			return g.String() == w.String()
		}
	}
	return reflect.DeepEqual(got, want)
}

type total struct {
	Product string              `cql:"product,key" json:"-"`
	Day     int32               `cql:"day,cluster" json:"day"`
	Sum     int64               `json:"sum"`
	Note    string              `cql:"note,omitempty" json:"note"`
	Tags    map[string]struct{} `cql:"tags,omitempty" json:"tags"`
}

func totalsOf(t *Table[total]) Rows {
	return FromKeyValue(t, nil, nil, func(k string, v total) total { v.Product = k; return v })
}

func TestIntegrationASumThatFallsEndsAtTheLastOneWhateverComesAgain(t *testing.T) {
	c := realCluster(t)
	totals := TableOf[total]("totals")
	s := c.open(c.config(totals, totalsOf(totals)))
	up, down := rec(7, "tea", `{"sum":100,"note":"up"}`), rec(8, "tea", `{"sum":90}`) // of one event time
	check := func(want string) {
		t.Helper()
		var got []string
		for _, r := range c.rows("SELECT JSON sum, note, writetime(sum) AS at FROM KS.totals") {
			got = append(got, r["[json]"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	}
	const ninety = `{"sum": 90, "note": "up", "at": 1793491200000008}`
	write(t, s, up, down)
	check(ninety)
	write(t, s, up) // again, and late
	check(ninety)
	write(t, s, down, up) // and in the wrong order
	check(ninety)
	gone := rec(9, "tea", "")
	write(t, s, gone, up, down)
	check("")
	write(t, s, rec(10, "tea", `{"sum":5}`))
	write(t, s, up, down, gone)
	check(`{"sum": 5, "note": null, "at": 1793491200000010}`)
}

func TestIntegrationADeleteAndAnUpsertOfOneRecord(t *testing.T) {
	c := realCluster(t)
	totals := TableOf[total]("totals")
	s := c.open(c.config(totals, func(dst []Row, r *connectors.Record) ([]Row, error) {
		v := total{Product: string(r.Key), Sum: int64(r.Offset)}
		if r.Offset == 1 {
			v.Note = "old"
		}
		return append(dst, totals.Delete(v), totals.Upsert(v)), nil
	}))
	write(t, s, rec(1, "tea", ""))
	write(t, s, rec(2, "tea", ""))
	got := c.rows("SELECT JSON sum, note FROM KS.totals")
	if len(got) != 1 || got[0]["[json]"] != `{"sum": 2, "note": null}` {
		t.Fatalf("%v: the second record empties the row and fills it again", got)
	}
}

func TestIntegrationCollectionsAreReplacedAndColumnsLeftOut(t *testing.T) {
	c := realCluster(t)
	totals := TableOf[total]("totals")
	s := c.open(c.config(totals, totalsOf(totals)))
	write(t, s, rec(1, "tea", `{"tags":{"a":{},"b":{}},"note":"x"}`))
	write(t, s, rec(2, "tea", `{"tags":{"c":{}}}`))
	write(t, s, rec(1, "tea", `{"tags":{"a":{},"b":{}},"note":"x"}`))
	if got := c.rows("SELECT JSON tags, note FROM KS.totals"); got[0]["[json]"] != `{"tags": ["c"], "note": "x"}` {
		t.Fatal(got)
	}
}

func TestIntegrationRowsExpire(t *testing.T) {
	c := realCluster(t)
	totals := TableOf[total]("totals", TTL(time.Hour), With("gc_grace_seconds = 60 AND comment = 'x'"))
	s := c.open(c.config(totals, func(dst []Row, r *connectors.Record) ([]Row, error) {
		row := totals.Upsert(total{Product: string(r.Key), Sum: 1})
		if r.Offset == 2 {
			row = row.TTL(10 * time.Minute)
		}
		return append(dst, row), nil
	}))
	write(t, s, rec(1, "hour", ""), rec(2, "minutes", ""))
	for _, r := range c.rows("SELECT product, ttl(sum) AS ttl FROM KS.totals") {
		most := map[string]int{"hour": 3600, "minutes": 600}[r["product"].(string)]
		if ttl := r["ttl"].(int); ttl > most || ttl < most-120 {
			t.Errorf("%v: expires in %d s, want %d", r["product"], ttl, most)
		}
	}
}

func TestIntegrationEveryMismatchIsToldAtOpen(t *testing.T) {
	c := realCluster(t)
	totals := TableOf[total]("totals")
	type count struct {
		ID string `cql:"id,key"`
		N  int64
	}
	counts := TableOf[count]("counts")
	view := TableOf[count]("a_view")
	cfg := Config{Hosts: []string{c.addr}, Keyspace: c.keyspace, Tables: []TableSpec{totals, counts, view}, Rows: totalsOf(totals)}
	open := func() error {
		s := New(cfg)
		defer s.Close()
		return s.Open(context.Background(), sinkContext)
	}
	if err := open(); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "CREATE KEYSPACE "+c.keyspace) || connectors.IsTransient(err) {
		t.Fatalf("no keyspace: %v", err)
	}
	c.exec("CREATE KEYSPACE KS WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
	if err := open(); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "CREATE TABLE IF NOT EXISTS "+c.keyspace+".totals (product text, day int, sum bigint") {
		t.Fatalf("no tables: %v", err)
	}
	c.exec("CREATE TABLE KS.totals (product text, day int, sum text, tags set<text>, PRIMARY KEY ((product, day)))")
	c.exec("CREATE TABLE KS.counts (id text PRIMARY KEY, n counter)")
	err := open()
	for _, want := range []string{
		"ALTER TABLE " + c.keyspace + ".totals ADD note text",
		".totals.sum: a Go int64 cannot be written as text",
		"the partition key of " + c.keyspace + ".totals is (product, day)",
		"the clustering key of",
		".counts.n is a counter: adding to a counter twice counts twice",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s\nin: %v", want, err)
		}
	}
}

func TestIntegrationWhatDoesNotFitBecomesADeadLetter(t *testing.T) {
	c := realCluster(t)
	type narrow struct {
		ID   string     `cql:"id,key"`
		N    int64      `json:"n"`
		UUID gocql.UUID `cql:"u"`
		Big  []byte     `json:"big"`
	}
	table := TableOf[narrow]("narrow")
	cfg := c.config(table, FromKeyValue(table, nil, nil, func(k string, v narrow) narrow { v.ID = k; return v }))
	cfg.Create, cfg.MaxRowBytes = false, 64<<20
	c.exec("CREATE KEYSPACE KS WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
	c.exec("CREATE TABLE KS.narrow (id text PRIMARY KEY, n int, u uuid, big blob)")
	s := c.open(cfg)
	huge := connectors.Record{View: rec(6, "huge", "x").View}
	huge.Value = []byte(`{"big":"` + strings.Repeat("AAAA", 18<<20/3) + `"}`) // 18 MiB, over half a commit log segment
	err := s.Write(context.Background(), []connectors.Record{
		rec(1, "ok", `{"n":1}`), rec(2, "wide", `{"n":5000000000}`), rec(3, "", `{"n":3}`), rec(4, strings.Repeat("k", 70000), `{"n":4}`),
		rec(5, "bad\xff", `{"n":5}`), huge, rec(7, "also ok", `{"n":7}`), rec(8, "json", `{"n":`),
	})
	w := outcomeOf(t, err)
	var told []string
	for _, r := range w.Rejected {
		told = append(told, r.Error())
	}
	t.Log(strings.Join(told, "\n"))
	for i, want := range []string{
		"record 1: row refused: table " + c.keyspace + ".narrow, column n: 5000000000 is out of the range of int",
		"column id: empty, and it is the whole partition key", "column id: 70000 bytes, a key has 65535 at most",
		"column id: text that is no UTF-8", "record 5: row refused: table " + c.keyspace + ".narrow: ", "value: json",
	} {
		if i >= len(told) || !strings.Contains(told[i], want) {
			t.Errorf("dead letter %d should say: %s", i, want)
		}
	}
	if len(w.Again) > 0 || len(c.rows("SELECT id FROM KS.narrow")) != 2 {
		t.Errorf("again %v, rows %v: two should be there", w.Again, c.rows("SELECT id FROM KS.narrow"))
	}
}

func TestIntegrationADroppedColumnIsNoRecordsFault(t *testing.T) {
	c := realCluster(t)
	totals := TableOf[total]("totals")
	s := c.open(c.config(totals, totalsOf(totals)))
	write(t, s, rec(1, "tea", `{"sum":1}`))
	c.exec("ALTER TABLE KS.totals DROP sum")
	for range 2 {
		err := s.Write(context.Background(), []connectors.Record{rec(2, "tea", `{"sum":2}`)})
		if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "has no column sum: ALTER TABLE") {
			t.Fatal(err)
		}
	}
	// Once dropped, a column of that name hides all that is older than the drop.
	c.exec("ALTER TABLE KS.totals ADD sum bigint")
	if err := s.Write(context.Background(), []connectors.Record{rec(2, "tea", `{"sum":2}`)}); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "was dropped at") {
		t.Fatal(err)
	}
	c.exec("ALTER TABLE KS.totals DROP sum USING TIMESTAMP 1")
	c.exec("ALTER TABLE KS.totals ADD sum bigint")
	write(t, s, rec(2, "tea", `{"sum":2}`))
	if got := c.rows("SELECT sum FROM KS.totals"); len(got) != 1 || got[0]["sum"] != int64(2) {
		t.Fatal(got)
	}
}

func TestIntegrationTooFewReplicasAreWaitedFor(t *testing.T) {
	c := realCluster(t)
	totals := TableOf[total]("totals")
	cfg := c.config(totals, totalsOf(totals))
	cfg.Replication = "{'class': 'NetworkTopologyStrategy', 'datacenter1': 3}"
	cfg.Backoff = time.Millisecond
	s := c.open(cfg)
	records := []connectors.Record{rec(1, "tea", `{"sum":1}`), rec(2, "milk", `{"sum":1}`)}
	w := outcomeOf(t, s.Write(context.Background(), records))
	if len(w.Again) != 2 || len(w.Rejected) != 0 || s.Stats().InFlight > cfg.InFlight && cfg.InFlight > 0 || s.Stats().InFlight >= 128 {
		t.Fatalf("%v, %+v", w, s.Stats())
	}
	t.Log(w)
	c.exec("ALTER KEYSPACE KS WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}")
	write(t, s, records...)
	if got := c.rows("SELECT sum FROM KS.totals"); len(got) != 2 {
		t.Fatal(got)
	}
}
