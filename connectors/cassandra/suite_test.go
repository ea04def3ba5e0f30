package cassandra

import (
	"context"
	"fmt"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
)

// suite is the contract of every sink, on whatever Target makes.
func suite(items *Table[item], target func(t testing.TB) connectortest.SinkTarget) connectortest.SinkSuite {
	return connectortest.SinkSuite{
		Target: target,
		Record: func(n int) (connectors.Record, string) {
			name := fmt.Sprint("item-", n)
			return rec(0, name, fmt.Sprintf(`{"price":%d,"note":"n"}`, n+1)), name
		},
		Poison: func(n int) connectors.Record {
			if n%2 == 0 {
				return rec(0, fmt.Sprint("poison-", n), `{"price":"dear"}`)
			}
			return rec(0, "no text \xff", `{"price":1}`)
		},
		Secrets: []string{"open sesame"},
	}
}

func TestTheContractOfSinks(t *testing.T) {
	items := TableOf[item]("items")
	suite(items, func(t testing.TB) connectortest.SinkTarget {
		f := newFake(itemTables())
		down := false
		f.before = func(context.Context, []statement) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if down {
				return gocql.ErrNoConnections
			}
			return nil
		}
		return connectortest.SinkTarget{
			Sink: func(testing.TB) connectors.Sink {
				s := New(Config{Hosts: []string{"127.0.0.1"}, Keyspace: "shop", Tables: []TableSpec{items}, Rows: byKey(items),
					Username: "me", Password: connectors.NewSecret("open sesame"), Attempts: 2, Backoff: time.Nanosecond})
				s.dial = f.dial
				return s
			},
			Written: func(testing.TB) (names []string) {
				for name := range itemsOf(f) {
					names = append(names, name)
				}
				return names
			},
			SetDown: func(d bool) { f.mu.Lock(); defer f.mu.Unlock(); down = d },
		}
	}).Run(t)
}

func TestIntegrationTheContractOfSinksOnARealCluster(t *testing.T) {
	real := realCluster(t)
	items := TableOf[item]("items")
	suite(items, func(tb testing.TB) connectortest.SinkTarget {
		c := newCluster(tb.(*testing.T), gocql.NewCluster(real.addr), real.addr)
		return connectortest.SinkTarget{
			Sink: func(testing.TB) connectors.Sink {
				cfg := c.config(items, byKey(items))
				cfg.Backoff = time.Millisecond
				return New(cfg)
			},
			Written: func(testing.TB) (names []string) {
				for _, r := range c.rows("SELECT name FROM KS.items") {
					names = append(names, r["name"].(string))
				}
				return names
			},
			SetDown: func(down bool) { // more replicas than there are nodes: every write is refused
				c.exec("ALTER KEYSPACE KS WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': " + map[bool]string{true: "3", false: "1"}[down] + "}")
			},
		}
	}).Run(t)
}
