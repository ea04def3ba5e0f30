package cassandra

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// sent are the statements of a request with what is bound, for people.
func sent(statements []statement) string {
	var all []string
	for _, st := range statements {
		verb, _, _ := strings.Cut(st.cql, " ")
		parts := []string{verb}
		for i, v := range st.values {
			b, set := valueOf(v)
			at := strings.Index(st.cql, "USING TIMESTAMP")
			marks := strings.Count(st.cql[:at], "?")
			switch {
			case !set:
				parts = append(parts, "unset")
			case b == nil:
				parts = append(parts, "null")
			case i == marks:
				parts = append(parts, fmt.Sprintf("@%+d", int64(binary.BigEndian.Uint64(b))-createdMS*1000))
			case i == marks+1 && strings.HasSuffix(st.cql, "TTL ?"):
				parts = append(parts, fmt.Sprintf("ttl=%d", binary.BigEndian.Uint32(b)))
			case len(b) == 8:
				parts = append(parts, fmt.Sprint(int64(binary.BigEndian.Uint64(b))))
			default:
				parts = append(parts, string(b))
			}
		}
		all = append(all, strings.Join(parts, " "))
	}
	return strings.Join(all, "; ")
}

func (f *fakeCluster) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, r := range f.requests {
		all = append(all, sent(r))
	}
	slices.Sort(all)
	return all
}

func expect(t *testing.T, f *fakeCluster, want ...string) {
	t.Helper()
	if got := f.sent(); !slices.Equal(got, want) {
		t.Errorf("sent:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestRowsOfOnePartitionGoOutTogetherAndOthersAlone(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	s := opened(t, f, func(c *Config) { c.BatchRows = 3 }, items, byKey(items))
	write(t, s, rec(0, "a", `{"price":1,"note":"x"}`), rec(1, "b", `{"price":2}`), rec(2, "c", ""), rec(3, "d", `{"note":"y"}`), rec(4, "a", `{"price":5,"shop":"mall","note":"z"}`))
	expect(t, f,
		"INSERT corner a 1 x @+0; INSERT corner b 2 unset @+1; DELETE @+2 corner c",
		"INSERT corner d unset y @+3",
		"INSERT mall a 5 z @+4")
}

func TestABatchIsBoundedByItsBytes(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	s := opened(t, f, func(c *Config) { c.BatchBytes = 40 }, items, byKey(items))
	long := `{"note":"` + strings.Repeat("n", 20) + `"}`
	write(t, s, rec(0, "a", long), rec(1, "b", long), rec(2, "c", `{"note":"n"}`))
	if len(f.requests) != 2 {
		t.Errorf("%d requests, want 2: %q", len(f.requests), f.sent())
	}
}

func TestOnlyTheLastChangeOfARowIsSentWhereItReplacesTheOthers(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	s := opened(t, f, nil, items, byKey(items))
	write(t, s,
		rec(0, "whole", `{"price":1,"note":"x"}`), rec(1, "whole", `{"price":2,"note":"y"}`),
		rec(2, "gone", `{"price":1}`), rec(3, "gone", ""),
		rec(4, "reborn", ""), rec(5, "reborn", `{"price":3,"note":"n"}`),
		rec(6, "parts", `{"price":7}`), rec(7, "parts", `{"note":"p"}`))
	expect(t, f, "INSERT corner whole 2 y @+1; DELETE @+3 corner gone; INSERT corner reborn 3 n @+5; INSERT corner parts 7 unset @+6; INSERT corner parts unset p @+7")
	if got := s.Stats(); got.Coalesced != 3 || got.Rows != 5 || got.Requests != 1 {
		t.Errorf("%+v", got)
	}
}

func TestADeleteStaysWhereTheStructDoesNotHaveEveryColumn(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	f.keyspace.tables["items"] = append(slices.Clone(itemColumns), tableColumn{"extra", "regular", -1, "text"})
	s := opened(t, f, nil, items, byKey(items))
	write(t, s, rec(0, "a", ""), rec(1, "a", `{"price":3,"note":"n"}`))
	expect(t, f, "DELETE @+0 corner a; INSERT corner a 3 n @+1")
}

func TestADeleteDoesNotReplaceStaticColumns(t *testing.T) {
	type owned struct {
		Shop  string `cql:"shop,key" json:"shop"`
		Name  string `cql:"name,cluster"`
		Owner string `cql:"owner,static" json:"owner"`
	}
	f, table := newFake(map[string][]tableColumn{"owned": {{"shop", "partition_key", 0, "text"}, {"name", "clustering", 0, "text"}, {"owner", "static", -1, "text"}}}), TableOf[owned]("owned")
	s := opened(t, f, nil, table, FromKeyValue(table, nil, nil, func(k string, v owned) owned { v.Shop, v.Name = "corner", k; return v }))
	write(t, s, rec(0, "a", `{"owner":"me"}`), rec(1, "a", ""))
	expect(t, f, "INSERT corner a me @+0; DELETE @+1 corner a")
}

func TestSeveralRowsOfOneRecord(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	s := opened(t, f, nil, items, func(dst []Row, r *connectors.Record) ([]Row, error) {
		v := item{Shop: "corner", Name: string(r.Key)}
		with := func(price int64, note string) Row { v := v; v.Price, v.Note = price, note; return items.Upsert(v) }
		switch v.Name {
		case "merged":
			return append(dst, with(1, "x"), with(2, "")), nil
		case "renewed":
			return append(dst, items.Delete(v), with(3, "")), nil
		case "gone":
			return append(dst, with(1, "x"), items.Delete(v)), nil
		}
		return dst, nil
	})
	write(t, s, rec(10, "merged", ""), rec(20, "renewed", ""), rec(30, "gone", ""), rec(40, "nothing", ""))
	expect(t, f, "INSERT corner merged 2 x @+10; DELETE @+19 corner renewed; INSERT corner renewed 3 unset @+20; DELETE @+30 corner gone")
}

func TestByEventTimeOnlyWhatIsReallyNewerReplaces(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	s := opened(t, f, func(c *Config) { c.Timestamps = EventTime }, items, byKey(items))
	at := func(offset, ms int64, name, value string) connectors.Record {
		r := rec(offset, name, value)
		r.Timestamp = createdMS + ms
		return r
	}
	none := rec(9, "none", `{"price":1}`)
	none.Timestamp = record.NoTimestamp
	w := outcomeOf(t, s.Write(context.Background(), []connectors.Record{
		at(0, 5, "late", `{"price":1,"note":"n"}`), at(1, 4, "late", `{"price":2,"note":"n"}`),
		at(2, 6, "tie", `{"price":1,"note":"n"}`), at(3, 6, "tie", `{"price":2,"note":"n"}`),
		at(4, 7, "newer", `{"price":1,"note":"n"}`), at(5, 8, "newer", `{"price":2,"note":"n"}`), none}))
	expect(t, f, "INSERT corner late 1 n @+5000; INSERT corner late 2 n @+4000; INSERT corner tie 1 n @+6000; INSERT corner tie 2 n @+6000; INSERT corner newer 2 n @+8000")
	if len(w.Rejected) != 1 || w.Rejected[0].Index != 6 || !strings.Contains(w.Error(), "no timestamp") {
		t.Errorf("%v, want the record without a timestamp refused", w)
	}
}

func TestRowsExpireAsTheTableOrTheRowSays(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items", TTL(time.Hour))
	s := opened(t, f, nil, items, func(dst []Row, r *connectors.Record) ([]Row, error) {
		row := items.Upsert(item{Shop: "s", Name: string(r.Key)})
		switch r.Offset {
		case 1:
			row = row.TTL(time.Minute)
		case 2:
			row = items.Delete(item{Shop: "s", Name: "x"})
		case 3:
			row = row.TTL(time.Millisecond)
		}
		return append(dst, row), nil
	})
	w := outcomeOf(t, s.Write(context.Background(), []connectors.Record{rec(0, "a", ""), rec(1, "b", ""), rec(2, "c", ""), rec(3, "d", "")}))
	expect(t, f, "INSERT s a unset unset @+0 ttl=3600; INSERT s b unset unset @+1 ttl=60; DELETE @+2 s x")
	if len(w.Rejected) != 1 || !strings.Contains(w.Error(), "TTL 1ms") {
		t.Errorf("%v", w)
	}
}

func TestWhatIsRefusedIsNamedAndTheRestIsWritten(t *testing.T) {
	f, items, others := newFake(itemTables()), TableOf[item]("items"), TableOf[item]("others")
	s := opened(t, f, nil, items, func(dst []Row, r *connectors.Record) ([]Row, error) {
		switch string(r.Key) {
		case "panics":
			panic("oh")
		case "fails":
			return append(dst, items.Upsert(item{})), errors.New("no such shop")
		case "stranger":
			return append(dst, others.Upsert(item{Shop: "s"})), nil
		case "zero":
			return append(dst, Row{}), nil
		case "two":
			return append(dst, items.Upsert(item{Shop: "s", Name: "half"}), items.Upsert(item{Name: "half"})), nil
		case "big":
			return append(dst, items.Upsert(item{Shop: "s", Note: strings.Repeat("n", 5<<20)})), nil
		}
		return append(dst, items.Upsert(item{Shop: "s", Name: string(r.Key)})), nil
	})
	records := []connectors.Record{rec(0, "a", ""), rec(1, "panics", ""), rec(2, "fails", ""), rec(3, "stranger", ""), rec(4, "zero", ""), rec(5, "two", ""), rec(6, "big", ""), rec(7, "b", "")}
	w := outcomeOf(t, s.Write(context.Background(), records))
	if err := w.Check(len(records)); err != nil || len(w.Again) > 0 {
		t.Errorf("%v, again %v", err, w.Again)
	}
	for i, want := range []string{"panic in Rows: oh", "no such shop", "of no table of Config.Tables", "of no table", "column shop: empty, and it is the whole partition key", "more than the 4194304 of Config.MaxRowBytes"} {
		if i >= len(w.Rejected) || w.Rejected[i].Index != i+1 || !errors.Is(&w.Rejected[i], ErrRow) || !strings.Contains(w.Rejected[i].Error(), want) {
			t.Errorf("record %d is not refused with %q: %v", i+1, want, w.Rejected)
		}
	}
	expect(t, f, "INSERT s a unset unset @+0; INSERT s b unset unset @+7")
}

func TestNullsInFromValueAndFromKeyValue(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	s := opened(t, f, nil, items, FromValue(items, nil))
	w := outcomeOf(t, s.Write(context.Background(), []connectors.Record{rec(0, "", "")}))
	if !errors.Is(&w.Rejected[0], ErrNullValue) {
		t.Error(w)
	}
	s = opened(t, f, nil, items, byKey(items))
	r := rec(0, "", `{"price":1}`)
	r.Key = nil
	w = outcomeOf(t, s.Write(context.Background(), []connectors.Record{r, rec(1, "k", `{"price":"x"}`)}))
	if len(w.Rejected) != 2 || !strings.Contains(w.Rejected[0].Error(), "null key") || !strings.Contains(w.Rejected[1].Error(), "value: json") {
		t.Error(w)
	}
}

func TestOfABatchOnlyTheRecordAtFaultIsRefused(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	f.before = func(_ context.Context, statements []statement) error {
		if strings.Contains(sent(statements), "bad") {
			return answer{gocql.ErrCodeInvalid}
		}
		return nil
	}
	s := opened(t, f, nil, items, byKey(items))
	w := outcomeOf(t, s.Write(context.Background(), []connectors.Record{rec(0, "a", `{}`), rec(1, "bad", `{}`), rec(2, "c", `{}`)}))
	if len(w.Rejected) != 1 || w.Rejected[0].Index != 1 || len(w.Again) != 0 || !strings.Contains(w.Error(), "table shop.items") {
		t.Errorf("%v", w)
	}
	if got := itemsOf(f); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestASchemaThatChangedIsNoRecordsFault(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	s := opened(t, f, nil, items, byKey(items))
	f.before = func(context.Context, []statement) error { return answer{gocql.ErrCodeInvalid} }
	f.keyspace.tables = map[string][]tableColumn{"items": itemColumns[:2]}
	one := []connectors.Record{rec(0, "a", `{"price":1}`)}
	w := outcomeOf(t, s.Write(context.Background(), one))
	if !errors.Is(w, ErrSchema) || len(w.Again) != 1 || !strings.Contains(w.Error(), "ALTER TABLE shop.items ADD price bigint") {
		t.Errorf("%v, want an ErrSchema after which the record comes again", w)
	}
	f.before = nil
	if err := s.Write(context.Background(), one); !errors.Is(err, ErrSchema) || connectors.IsPermanent(err) {
		t.Errorf("%v, want ErrSchema until the table is mended", err)
	}
	f.keyspace.tables = map[string][]tableColumn{"items": {itemColumns[0], itemColumns[1], {"price", "regular", -1, "int"}, itemColumns[3]}}
	write(t, s, one...)
	if got := f.requests[len(f.requests)-1]; len(got) != 1 || !strings.Contains(fmt.Sprintf("%q", cellOf(got[0].values[2])), `\x00\x00\x00\x01"`) {
		t.Errorf("the column is an int now, and got %q", cellOf(got[0].values[2]))
	}
	// Retyped without a gap: the request fails once, the record comes again and fits.
	f.keyspace.tables = itemTables()
	f.before = func(context.Context, []statement) error { f.before = nil; return answer{gocql.ErrCodeInvalid} }
	if w := outcomeOf(t, s.Write(context.Background(), one)); len(w.Again) != 1 || !strings.Contains(w.Error(), "was altered") {
		t.Errorf("%v", w)
	}
	write(t, s, one...)
}

func cellOf(v any) []byte { b, _ := valueOf(v); return b }

func TestNoMoreRequestsAtATimeThanAllowedAndFewerUnderOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, items := newFake(itemTables()), TableOf[item]("items")
		s := opened(t, f, func(c *Config) { c.InFlight = 16 }, items, FromValue(items, nil))
		var records []connectors.Record
		for i := range 400 {
			records = append(records, rec(int64(i), "", fmt.Sprintf(`{"shop":"s%d"}`, i)))
		}
		round := func(ctx context.Context, capacity int) error {
			f.mu.Lock()
			over := f.inFlight > capacity
			f.mu.Unlock()
			select { // a round trip
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
			if over {
				return answer{gocql.ErrCodeOverloaded}
			}
			return nil
		}
		f.before = func(ctx context.Context, _ []statement) error { return round(ctx, 1000) }
		write(t, s, records...)
		if f.peak != 16 || s.Stats().Retries != 0 {
			t.Errorf("at most %d requests at a time with room for all, want 16; %+v", f.peak, s.Stats())
		}
		f.before = func(ctx context.Context, _ []statement) error { return round(ctx, 4) }
		for tries := 0; len(records) > 0 && tries < 100; tries++ {
			var w *connectors.WriteError
			if !errors.As(s.Write(context.Background(), records), &w) {
				break
			}
			for n, i := range w.Again {
				records[n] = records[i]
			}
			records = records[:len(w.Again)]
		}
		if got := s.Stats(); got.InFlight >= 16 || got.Retries == 0 || got.Rows != 800 {
			t.Errorf("a cluster with room for 4: %+v", got)
		}
		f.before = nil
		for range 10 {
			write(t, s, records[:0]...)
			for i := range 400 {
				write(t, s, rec(int64(i), "", `{"shop":"s"}`))
			}
		}
		if got := s.Stats().InFlight; got != 16 {
			t.Errorf("%d at a time long after the overload, want 16 again", got)
		}
	})
}

func TestARequestIsTriedAFewTimesThenTheEngineIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, items := newFake(itemTables()), TableOf[item]("items")
		s := opened(t, f, func(c *Config) { c.InFlight = 1 }, items, byKey(items))
		f.before = func(_ context.Context, st []statement) error {
			if strings.Contains(sent(st), "mall") {
				return answer{gocql.ErrCodeWriteTimeout}
			}
			return nil
		}
		began := time.Now()
		w := outcomeOf(t, s.Write(context.Background(), []connectors.Record{rec(0, "a", `{}`), rec(1, "b", `{"shop":"mall","price":1,"note":"n"}`), rec(2, "b", `{"shop":"mall","price":2,"note":"n"}`), rec(3, "c", `{"shop":"last"}`)}))
		if !reflect.DeepEqual(w.Again, []int{1, 2, 3}) || len(w.Rejected) > 0 {
			t.Errorf("again %v, want the failed one, what it stands for, and what was not begun", w.Again)
		}
		if took := time.Since(began); s.Stats().Retries != 3 || took < 175*time.Millisecond || took > 350*time.Millisecond {
			t.Errorf("%d retries in %v, want 3 with 50, 100 and 200 ms less jitter between", s.Stats().Retries, took)
		}
	})
}

func TestWhatOnlySomebodyThereCanMendIsNotTriedOverAndOver(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	f.before = func(context.Context, []statement) error { return answer{gocql.ErrCodeUnauthorized} }
	s := opened(t, f, func(c *Config) { c.InFlight = 1 }, items, FromValue(items, nil))
	w := outcomeOf(t, s.Write(context.Background(), []connectors.Record{rec(0, "", `{"shop":"a"}`), rec(1, "", `{"shop":"b"}`)}))
	if len(f.requests) != 1 || len(w.Again) != 2 || len(w.Rejected) != 0 || connectors.IsPermanent(w) {
		t.Errorf("%d requests, %v", len(f.requests), w)
	}
}

func TestACanceledWriteReturnsWithWhatIsDone(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	ctx, cancel := context.WithCancel(context.Background())
	f.before = func(ctx context.Context, st []statement) error {
		if strings.Contains(sent(st), "INSERT b") {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	s := opened(t, f, func(c *Config) { c.InFlight = 1 }, items, FromValue(items, nil))
	w := outcomeOf(t, s.Write(ctx, []connectors.Record{rec(0, "", `{"shop":"a"}`), rec(1, "", `{"shop":"b"}`), rec(2, "", `{"shop":"c"}`)}))
	if !reflect.DeepEqual(w.Again, []int{1, 2}) || !errors.Is(w, context.Canceled) {
		t.Errorf("%v", w)
	}
}

func TestAClusterThatIsLostIsLookedForAgainFromTheHostsOn(t *testing.T) {
	f, items := newFake(itemTables()), TableOf[item]("items")
	s := opened(t, f, func(c *Config) { c.Attempts = 1 }, items, byKey(items))
	dials := f.dials
	f.before = func(context.Context, []statement) error { return gocql.ErrNoConnections }
	one := rec(0, "a", `{}`)
	outcomeOf(t, s.Write(context.Background(), []connectors.Record{one}))
	if f.sessions != 0 {
		t.Errorf("%d sessions are left of a cluster that is gone", f.sessions)
	}
	f.dialErr = errors.New("connection refused")
	if err := s.Write(context.Background(), []connectors.Record{one}); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	f.dialErr, f.before = nil, nil
	write(t, s, one)
	if f.dials != dials+3 || f.sessions != 1 {
		t.Errorf("%d dials, %d sessions", f.dials-dials, f.sessions)
	}
	s.Close()
	s.Close()
	if f.sessions != 0 {
		t.Error("Close leaves a session")
	}
	if err := s.Write(context.Background(), []connectors.Record{one}); !errors.Is(err, ErrNotOpen) {
		t.Errorf("Write after Close: %v", err)
	}
}

func TestErrorsByClass(t *testing.T) {
	for _, c := range []struct {
		err  error
		want class
	}{
		{answer{gocql.ErrCodeOverloaded}, classBusy}, {answer{gocql.ErrCodeWriteTimeout}, classBusy}, {answer{gocql.ErrCodeUnavailable}, classBusy}, {answer{gocql.ErrCodeWriteFailure}, classBusy},
		{answer{gocql.ErrCodeBootstrapping}, classBusy}, {gocql.ErrTimeoutNoResponse, classBusy}, {gocql.ErrNoStreams, classBusy},
		{answer{gocql.ErrCodeInvalid}, classInvalid}, {answer{gocql.ErrCodeProtocol}, classInvalid}, {gocql.ErrFrameTooBig, classInvalid},
		{answer{gocql.ErrCodeUnauthorized}, classRefused}, {answer{gocql.ErrCodeSyntax}, classRefused}, {answer{gocql.ErrCodeConfig}, classRefused},
		{gocql.ErrNoConnections, classLost}, {gocql.ErrConnectionClosed, classLost}, {errors.New("read: EOF"), classLost},
		{context.Canceled, classEnded}, {fmt.Errorf("x: %w", context.DeadlineExceeded), classEnded},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v is of class %d, want %d", c.err, got, c.want)
		}
	}
	if (nextNode{}).GetRetryType(answer{gocql.ErrCodeOverloaded}) != gocql.Rethrow || (nextNode{}).GetRetryType(gocql.ErrConnectionClosed) != gocql.RetryNextHost {
		t.Error("the driver itself repeats what a node answered, or does not ask the next node where none did")
	}
}
