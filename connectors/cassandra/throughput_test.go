package cassandra

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
)

type sale struct {
	Product string    `cql:"product,key" json:"product"`
	Day     time.Time `cql:"day,cluster" json:"day"`
	Orders  int64     `json:"orders"`
	Cents   int64     `json:"cents"`
	Country string    `json:"country"`
}

const plainInsert = "INSERT INTO KS.sales (product, day, orders, cents, country) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"

// sales are records of n sales in so many partitions and rows.
func sales(from, n, partitions, rows int) []connectors.Record {
	records := make([]connectors.Record, n)
	for i := range records {
		k := (from + i) * 7919 % rows
		records[i] = rec(int64(from+i), "", fmt.Sprintf(`{"product":"product-%d","day":%q,"orders":%d,"cents":%d,"country":"DE"}`,
			k%partitions, time.UnixMilli(createdMS).UTC().AddDate(0, 0, k/partitions).Format(time.RFC3339), i, i*100))
	}
	return records
}

// plainLoop is what one writes without a sink: so many goroutines, a prepared
// insert each, the same values and timestamps.
func plainLoop(t *testing.T, s *gocql.Session, insert string, records []connectors.Record, concurrency int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range concurrency {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(records)); i = next.Add(1) - 1 {
				var v sale
				if err := json.Unmarshal(records[i].Value, &v); err != nil {
					t.Error(err)
				}
				if err := s.Query(insert, v.Product, v.Day, v.Orders, v.Cents, v.Country, createdMS*1000+int64(records[i].Offset)).Exec(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestTortureThroughputBesideAPlainLoop prints the figures of both, round by
// round in turn; it asserts no wall clock, only that both write the same.
func TestTortureThroughputBesideAPlainLoop(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	c := realCluster(t)
	const perWrite, rounds = 2000, 5
	for _, w := range []struct {
		name                string
		n, partitions, rows int
	}{
		{"every row a partition of its own", 4000, 1 << 30, 1 << 30},
		{"rows of 500 partitions", 6000, 500, 100000},
		{"sums of 1,000 rows, updated again and again", 6000, 100, 1000},
	} {
		t.Run(w.name, func(t *testing.T) {
			c := newCluster(t, gocql.NewCluster(c.addr), c.addr)
			table := TableOf[sale]("sales")
			cfg := c.config(table, FromValue(table, nil))
			sink := c.open(cfg)
			plain := gocql.NewCluster(c.addr)
			plain.Consistency = gocql.LocalQuorum
			plain.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
			session, err := plain.CreateSession()
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			insert := strings.ReplaceAll(plainInsert, "KS", c.keyspace)
			var ratios []float64
			for round := range rounds + 1 { // the first one warms up
				records := sales(round*w.n, w.n, w.partitions, w.rows)
				took := map[bool]time.Duration{}
				for _, ours := range []bool{round%2 == 0, round%2 != 0} {
					began := time.Now()
					if ours {
						for chunk := range slices.Chunk(records, perWrite) {
							if err := sink.Write(context.Background(), chunk); err != nil {
								t.Fatal(err)
							}
						}
					} else {
						plainLoop(t, session, insert, records, sink.cfg.InFlight)
					}
					took[ours] = time.Since(began)
				}
				if round > 0 {
					ratios = append(ratios, took[false].Seconds()/took[true].Seconds())
					t.Logf("sink %6.0f rows/s, plain loop %6.0f rows/s", float64(w.n)/took[true].Seconds(), float64(w.n)/took[false].Seconds())
				}
			}
			slices.SortFunc(ratios, cmp.Compare)
			t.Logf("%s: median ratio %.2f of %d rounds; %+v", w.name, ratios[len(ratios)/2], rounds, sink.Stats())
		})
	}
}
