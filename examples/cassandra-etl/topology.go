package main

import (
	"sort"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// The program's name and topics; those of the tables are in tables.go.
const (
	appName          = "cassandra-etl"
	ordersTopic      = "orders"
	customersTopic   = "customers"
	deadLettersTopic = appName + ".dead-letters"

	stageRepeated = "repeated" // of dead letters: an order that came before
)

// buildTopology is what the program computes.
//
// Nothing in it depends on how records of different keys follow each other, so
// the tables are the same for any number of partitions and workers.
func buildTopology() (*topology.Topology, error) {
	b := streams.NewBuilder(appName)

	// A customer's row says itself from when it holds, so the table keeps all rows
	// of a customer and is read before the first order: what an order sees depends
	// on the times alone, not on the order of the lines in either file.
	customers := b.From[string, Customer](customersTopic, streams.EventTime(beforeAllOrders)).
		GroupByKey().
		Aggregate(newHistory, addRow, streams.Store("customers"))

	ids := streams.NewState[string, string]("order-ids")
	orders := b.From[string, Order](ordersTopic). // the key is the order's ID
							ProcessValues(markRepeated(ids), streams.Uses(ids))
	orders.Filter(func(_ string, o Order) bool { return o.Repeated }, streams.Named("repeated")).
		PeekMeta(sayRepeated, streams.Named("say-repeated")).
		To(deadLettersTopic)

	enriched := orders.FilterNot(func(_ string, o Order) bool { return o.Repeated }, streams.Named("first")).
		SelectKey(func(_ string, o Order) string { return o.Customer }, streams.Named("by-customer")).
		LeftJoin(customers, enrich, streams.Named("customer-at-order"))
	enriched.To(ordersByCustomerTable)

	enriched.Map(func(_ string, o CustomerOrder) (string, Sale) { return productDay(o.Product, o.Time), saleOf(o) }, streams.Named("sale")).
		GroupByKey(streams.Named("by-product-and-day")).
		Aggregate(newSales, addSale, streams.Store("daily-sales"), streams.EmitOnCommit()).
		ToStream(streams.Named("daily-sales-rows")).
		MapValues(func(key string, s Sales) DailySales { return s.row(key) }, streams.Named("row")).
		To(dailySalesTable)
	return b.Build()
}

func beforeAllOrders(string, Customer) time.Time { return time.UnixMilli(0) }

// markRepeated marks the orders whose ID came before; the first in the file counts.
//
// IDs that differ in their last two characters only share an entry of the state,
// which holds these characters in order: millions of IDs given by counting take
// little room, others an entry each.
func markRepeated(ids *streams.State[string, string]) func(*streams.ValueContext[Order], string, Order) {
	return func(c *streams.ValueContext[Order], _ string, o Order) {
		group, last := splitID(o.ID)
		have, _ := ids.Get(c, group)
		at := sort.Search(len(have)/2, func(i int) bool { return have[2*i:2*i+2] >= last })
		o.Repeated = strings.HasPrefix(have[2*at:], last)
		if !o.Repeated {
			ids.Put(c, group, have[:2*at]+last+have[2*at:])
		}
		c.Forward(o)
	}
}

// splitID cuts the last two characters off. Slashes, which no ID has, fill up
// shorter ones.
func splitID(id string) (group, last string) {
	if len(id) < 2 {
		return "", "/" + id
	}
	return id[:len(id)-2], id[len(id)-2:]
}

// sayRepeated gives a dead letter its headers.
func sayRepeated(m streams.Meta, id string, _ Order) {
	m.SetHeader(connectors.HeaderReason, []byte("order "+id+" came before"))
	m.SetHeader(connectors.HeaderStage, []byte(stageRepeated))
}

// enrich gives an order its customer as of the order's time.
func enrich(_ string, o Order, h History, _ bool) CustomerOrder {
	r := CustomerOrder{
		Customer: o.Customer, Time: time.UnixMilli(o.TimeMS).UTC(), ID: o.ID,
		Product: o.Product, Quantity: o.Quantity, PriceCents: o.PriceCents,
	}
	if c, ok := h.at(o.TimeMS); ok {
		r.Name, r.Country = &c.Name, &c.Country
	}
	return r
}

// productDay is the key of daily sales: product, slash, day in UTC. Products have
// no slash.
func productDay(product string, at time.Time) string {
	b := make([]byte, 0, len(product)+1+len(time.DateOnly))
	return string(at.UTC().AppendFormat(append(append(b, product...), '/'), time.DateOnly))
}
