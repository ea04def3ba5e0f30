package cassandra

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
)

// change is what a model's record says of one row.
type change struct {
	name   string
	delete bool
	price  int64 // 0: left as it is
	note   string
}

// fold is what the tables must be: the changes one after the other.
func fold(records [][]change, rejected map[int]bool) map[string]item {
	rows := map[string]item{}
	for i, changes := range records {
		if rejected[i] {
			continue
		}
		for _, c := range changes {
			if c.delete {
				delete(rows, c.name)
				continue
			}
			r := rows[c.name]
			r.Shop, r.Name = "corner", c.name
			if c.price != 0 {
				r.Price = c.price
			}
			if c.note != "" {
				r.Note = c.note
			}
			rows[c.name] = r
		}
	}
	return rows
}

func randomHistory(r *rand.Rand, n int, covered bool) [][]change {
	history := make([][]change, n)
	for i := range history {
		for range 1 + r.IntN(10)/7*r.IntN(3) {
			c := change{name: fmt.Sprint("n", r.IntN(6)), delete: r.IntN(5) == 0}
			if r.IntN(3) > 0 {
				c.price = int64(1 + r.IntN(9))
			}
			if r.IntN(3) > 0 {
				c.note = fmt.Sprint("note", r.IntN(9))
			}
			history[i] = append(history[i], c)
		}
		if len(history[i]) == 1 && r.IntN(12) == 0 {
			c := change{name: history[i][0].name, price: poison}
			if r.IntN(3) > 0 {
				c.note = "poison"
			}
			history[i] = []change{c}
			if c.note != "" && covered && r.IntN(2) == 0 { // the delete is needless then; else it would be written
				history[i] = []change{{name: c.name, delete: true}, c}
			}
		}
	}
	return history
}

// poison is a value that the fake cluster calls invalid.
const poison = 666

// faults answer at random, the same for a seed up to the order of requests.
func faults(f *fakeCluster, r *rand.Rand) {
	var mu sync.Mutex
	dice := func(n int) bool { mu.Lock(); defer mu.Unlock(); return r.IntN(n) == 0 }
	codes := []int{gocql.ErrCodeOverloaded, gocql.ErrCodeWriteTimeout, gocql.ErrCodeUnavailable, gocql.ErrCodeServer}
	f.before = func(_ context.Context, statements []statement) error {
		if dice(4) {
			return answer{codes[len(statements)%len(codes)]}
		}
		for _, st := range statements {
			for _, v := range st.values {
				if b, _ := valueOf(v); len(b) == 8 && b[6] == poison>>8 && b[7] == poison&0xff && b[0] == 0 && b[1] == 0 {
					return answer{gocql.ErrCodeInvalid}
				}
			}
		}
		if dice(30) {
			return gocql.ErrNoConnections
		}
		return nil
	}
	f.after = func([]statement) error { // written, but nobody was told
		if dice(10) {
			return gocql.ErrTimeoutNoResponse
		}
		return nil
	}
}

// deliver plays the engine: chunks of records, what a WriteError says comes
// again, and now and then everything from an older commit on.
func deliver(t *testing.T, s *Sink, r *rand.Rand, records []connectors.Record) (rejected map[int]bool) {
	rejected = map[int]bool{}
	restarts := 3
	for from := 0; from < len(records); {
		to := min(len(records), from+1+r.IntN(40))
		left := slices.Clone(records[from:to])
		for tries := 0; len(left) > 0; tries++ {
			if tries > 1000 {
				t.Fatal("no progress in 1000 attempts")
			}
			err := s.Write(context.Background(), left)
			if err == nil {
				break
			}
			var w *connectors.WriteError
			if !errors.As(err, &w) {
				continue // everything again
			}
			if err := w.Check(len(left)); err != nil {
				t.Fatal(err)
			}
			for _, bad := range w.Rejected {
				rejected[int(left[bad.Index].Offset)] = true
			}
			var again []connectors.Record
			for _, i := range w.Again {
				again = append(again, left[i])
			}
			left = again
		}
		from = to
		if restarts > 0 && r.IntN(6) == 0 {
			restarts--
			from = r.IntN(from + 1)
		}
	}
	return rejected
}

// Random histories of upserts of some columns, deletes and several changes per
// record, through a cluster that fails in every way, end as the fold.
func TestWhateverFailsTheTablesEndAsTheFold(t *testing.T) {
	seeds := 120
	if testing.Short() {
		seeds = 40
	}
	total := 0
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			history := randomHistory(r, 200, seed%2 == 0)
			items := TableOf[item]("items")
			f := newFake(itemTables())
			if seed%2 == 1 { // a column of which the struct knows nothing
				f.keyspace.tables["items"] = append(slices.Clone(itemColumns), tableColumn{"extra", "regular", -1, "text"})
			}
			faults(f, rand.New(rand.NewPCG(uint64(seed), 2)))
			s := opened(t, f, func(c *Config) { c.BatchRows, c.InFlight, c.Attempts = 1+r.IntN(5), 1+r.IntN(8), 1+r.IntN(3) }, items,
				func(dst []Row, rec *connectors.Record) ([]Row, error) {
					for _, c := range history[rec.Offset] {
						v := item{Shop: "corner", Name: c.name, Price: c.price, Note: c.note}
						if c.delete {
							dst = append(dst, items.Delete(v))
						} else {
							dst = append(dst, items.Upsert(v))
						}
					}
					return dst, nil
				})
			defer s.Close()
			records := make([]connectors.Record, len(history))
			for i := range records {
				records[i] = rec(int64(i), "k", "")
			}
			rejected := deliver(t, s, r, records)
			poisoned := map[int]bool{} // not rejected where a later change made it needless
			for i, changes := range history {
				poisoned[i] = changes[len(changes)-1].price == poison
				if rejected[i] && !poisoned[i] {
					t.Fatalf("seed %d: record %d was rejected and is not poison", seed, i)
				}
			}
			total += len(rejected)
			if want, got := fold(history, poisoned), itemsOf(f); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d:\n got %v\nwant %v", seed, got, want)
			}
		})
	}
	if total < seeds {
		t.Fatalf("%d records were rejected in %d histories: too few to prove anything", total, seeds)
	}
}

// itemsOf decodes the fake's table.
func itemsOf(f *fakeCluster) map[string]item {
	rows := map[string]item{}
	for key, cells := range f.table() {
		parts := strings.Split(key, "/") // table, shop, name
		v := item{Shop: unhex(parts[1]), Name: unhex(parts[2]), Note: cells["note"]}
		for _, b := range []byte(cells["price"]) {
			v.Price = v.Price<<8 | int64(b)
		}
		rows[v.Name] = v
	}
	return rows
}

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
