package cassandra_test

import (
	"fmt"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/cassandra"
	"github.com/millstream-io/millstream/streams/serde"
)

// DailySales is a row of the table daily_sales.
type DailySales struct {
	Product string    `cql:"product,key" json:"product"`
	Day     time.Time `cql:"day,cluster,desc,type=date" json:"day"`
	Orders  int64     `cql:"orders" json:"orders"`
	Cents   int64     `cql:"cents" json:"cents"`
}

// What Create would run, for those who make the schema by hand.
func ExampleConfig_CQL() {
	sales := cassandra.TableOf[DailySales]("daily_sales", cassandra.With("gc_grace_seconds = 86400"))
	cql, err := cassandra.Config{
		Hosts: []string{"127.0.0.1"}, Keyspace: "shop", Create: true,
		Replication: "{'class': 'NetworkTopologyStrategy', 'dc1': 3}",
		Tables:      []cassandra.TableSpec{sales},
		Rows:        cassandra.FromValue(sales, nil),
	}.CQL()
	for _, s := range cql {
		fmt.Println(s)
	}
	fmt.Println(err)
	// Output:
	// CREATE KEYSPACE IF NOT EXISTS shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}
	// CREATE TABLE IF NOT EXISTS shop.daily_sales (product text, day date, orders bigint, cents bigint, PRIMARY KEY ((product), day)) WITH CLUSTERING ORDER BY (day DESC) AND gc_grace_seconds = 86400
	// <nil>
}

// The key of the row comes from the record's key; a tombstone deletes the row.
func ExampleFromKeyValue() {
	type Customer struct {
		ID      string `cql:"id,key" json:"-"`
		Name    string `cql:"name" json:"name"`
		Country string `cql:"country" json:"country"`
	}
	customers := cassandra.TableOf[Customer]("customers")
	sink := cassandra.New(cassandra.Config{
		Hosts: []string{"127.0.0.1"}, Keyspace: "shop", Create: true,
		Tables: []cassandra.TableSpec{customers},
		Rows: cassandra.FromKeyValue(customers, serde.String(), serde.JSON[Customer](), func(id string, c Customer) Customer {
			c.ID = id
			return c
		}),
	})
	_ = sink // engine.Sink{Name: "customers", Topic: "customers", Sink: sink}
}

// One record may change several tables.
func ExampleRows() {
	type Order struct {
		ID       string `cql:"id,key" json:"id"`
		Customer string `cql:"customer" json:"customer"`
	}
	type ByCustomer struct {
		Customer string `cql:"customer,key"`
		Order    string `cql:"order_id,cluster"`
	}
	orders, byCustomer := cassandra.TableOf[Order]("orders"), cassandra.TableOf[ByCustomer]("orders_by_customer", cassandra.TTL(30*24*time.Hour))
	decode := serde.JSON[Order]()
	sink := cassandra.New(cassandra.Config{
		Hosts: []string{"127.0.0.1"}, Keyspace: "shop",
		Tables: []cassandra.TableSpec{orders, byCustomer},
		Rows: func(dst []cassandra.Row, r *connectors.Record) ([]cassandra.Row, error) {
			o, err := decode.Decode(r.Value)
			if err != nil {
				return dst, err
			}
			return append(dst, orders.Upsert(o), byCustomer.Upsert(ByCustomer{o.Customer, o.ID})), nil
		},
	})
	_ = sink
}

// Every mistake is told at once.
func ExampleConfig_Validate() {
	type Visits struct {
		Site string `cql:"site"`
		N    int64  `cql:"n,type=counter"`
	}
	visits := cassandra.TableOf[Visits]("visits")
	fmt.Println(cassandra.Config{Keyspace: "web", Tables: []cassandra.TableSpec{visits}, Rows: cassandra.FromValue(visits, nil)}.Validate())
	// Output:
	// cassandra sink: wrong configuration: Hosts is empty: name at least one node of the cluster
	// table visits: field N of cassandra_test.Visits: type counter: adding to a counter twice counts twice, and delivery is at least once; count in the stream and write the sum to a bigint column
	// table visits: no field of cassandra_test.Visits is a key: mark the partition key as `cql:"name,key"`
}
