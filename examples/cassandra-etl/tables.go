package main

import (
	"strconv"
	"time"

	"github.com/millstream-io/millstream/connectors/cassandra"
	"github.com/millstream-io/millstream/runtime/engine"
)

// The tables, each fed by the topic of its name. Their rows are the topics'
// values, as JSON.
const (
	dailySalesTable       = "daily_sales"
	ordersByCustomerTable = "orders_by_customer"
)

// DailySales is a row of daily_sales: what was sold of a product on a day in UTC.
type DailySales struct {
	Product          string           `cql:"product,key" json:"product"`
	Day              time.Time        `cql:"day,cluster,type=date" json:"day"`
	Orders           int64            `cql:"orders" json:"orders"`
	Quantity         int64            `cql:"quantity" json:"quantity"`
	RevenueCents     int64            `cql:"revenue_cents" json:"revenue_cents"`
	UnknownCustomers int64            `cql:"unknown_customers" json:"unknown_customers"` // orders whose customer was unknown at their time
	RevenueByCountry map[string]int64 `cql:"revenue_by_country" json:"revenue_by_country"`
}

// CustomerOrder is a row of orders_by_customer: an order with its customer as of
// its time; both are null if the customer was unknown then.
type CustomerOrder struct {
	Customer   string    `cql:"customer,key" json:"customer"`
	Time       time.Time `cql:"time,cluster,type=timestamp" json:"time"`
	ID         string    `cql:"id,cluster" json:"id"`
	Product    string    `cql:"product" json:"product"`
	Quantity   int64     `cql:"quantity" json:"quantity"`
	PriceCents int64     `cql:"price_cents" json:"price_cents"`
	Name       *string   `cql:"customer_name" json:"customer_name"`
	Country    *string   `cql:"country" json:"country"`
}

var (
	dailySales       = cassandra.TableOf[DailySales](dailySalesTable)
	ordersByCustomer = cassandra.TableOf[CustomerOrder](ordersByCustomerTable)
)

// sinks write the tables to Cassandra. The keyspace is part of a sink's name, so
// that another one begins anew with the first row.
func (c *config) sinks() []engine.Sink {
	if len(c.hosts) == 0 {
		return nil
	}
	sink := func(table string, spec cassandra.TableSpec, rows cassandra.Rows) engine.Sink {
		return engine.Sink{Name: table + "." + c.keyspace, Topic: table, Sink: cassandra.New(cassandra.Config{
			Hosts: c.hosts, Keyspace: c.keyspace, Create: c.createSchema,
			Tables: []cassandra.TableSpec{spec}, Rows: rows,
		})}
	}
	return []engine.Sink{
		sink(dailySalesTable, dailySales, cassandra.FromValue(dailySales, nil)),
		sink(ordersByCustomerTable, ordersByCustomer, cassandra.FromValue(ordersByCustomer, nil)),
	}
}

// sortKey orders the rows of a table by their key columns.
func (r *DailySales) sortKey(dst []byte) []byte {
	return r.Day.AppendFormat(append(append(dst, r.Product...), 0), time.DateOnly)
}

func (r *CustomerOrder) sortKey(dst []byte) []byte {
	dst = append(append(dst, r.Customer...), 0)
	dst = append(strconv.AppendInt(dst, r.Time.UnixMilli()+1e15, 10), 0) // as many digits for all
	return append(dst, r.ID...)
}
