package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
)

// at is a moment of the tests.
func at(hours int) time.Time {
	return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hours) * time.Hour)
}

func TestAnOrderGetsTheRowThatHoldsAtItsTime(t *testing.T) {
	topo, err := buildTopology()
	if err != nil {
		t.Fatal(err)
	}
	d := streamstest.New(t, topo, streamstest.Options{})
	customers := streamstest.Input[string, Customer](d, customersTopic)
	orders := streamstest.Input[string, Order](d, ordersTopic)
	for _, c := range []struct {
		hours   int
		country string
	}{{20, "FR"}, {10, "XX"}, {10, "DE"}} { // out of order; of one time the later holds
		customers.Send("c1", Customer{FromMS: at(c.hours).UnixMilli(), Name: "Anna", Country: c.country}, at(c.hours))
	}
	for i, hours := range []int{30, 9, 10, 19, 20, 25} {
		id := fmt.Sprint("o", i)
		orders.Send(id, Order{ID: id, Customer: "c1", Product: "tea", Quantity: 1, PriceCents: 100, TimeMS: at(hours).UnixMilli()}, at(hours))
	}
	orders.Send("o0", Order{ID: "o0", Customer: "c2", Product: "tea", Quantity: 1, PriceCents: 1, TimeMS: at(1).UnixMilli()}, at(1)) // repeated
	d.Run()

	countries := map[string]string{}
	for _, r := range streamstest.Output[string, CustomerOrder](d, ordersByCustomerTable).ReadAll() {
		country := "unknown"
		if r.Value.Country != nil {
			country = *r.Value.Country
		}
		countries[r.Value.ID] = country
	}
	for id, want := range map[string]string{"o0": "FR", "o1": "unknown", "o2": "DE", "o3": "DE", "o4": "FR", "o5": "FR"} {
		if countries[id] != want {
			t.Errorf("order %s has country %s, want %s", id, countries[id], want)
		}
	}
	letters := d.DeadLetters()
	if len(letters) != 1 || letters[0].Reason != "order o0 came before" || letters[0].Stage != stageRepeated {
		t.Errorf("dead letters %+v, want the repeated order", letters)
	}
	day := streamstest.Latest(streamstest.Output[string, DailySales](d, dailySalesTable))["tea/2026-03-01"]
	if day.Orders != 4 || day.UnknownCustomers != 1 || day.RevenueByCountry["DE"] != 200 || day.RevenueByCountry["FR"] != 100 {
		t.Errorf("the first of March: %+v", day)
	}
}

// TestTablesAreTheSameWhateverPartitionsCommitsAndCrashes runs one input in worlds
// of other shapes, with crashes in between.
func TestTablesAreTheSameWhateverPartitionsCommitsAndCrashes(t *testing.T) {
	tables := func(partitions int32, commitEvery, crashes int) string {
		topo, err := buildTopology()
		if err != nil {
			t.Fatal(err)
		}
		d := streamstest.New(t, topo, streamstest.Options{Partitions: partitions, CommitEvery: commitEvery, Engine: engine.Config{Bounded: true}})
		customers := streamstest.Input[string, Customer](d, customersTopic)
		orders := streamstest.Input[string, Order](d, ordersTopic)
		rng := rand.New(rand.NewPCG(4, 4))
		for range 40 {
			c := Customer{FromMS: at(rng.IntN(100)).UnixMilli(), Name: "x", Country: pick(&generator{rng: rng}, countries)}
			customers.Send(fmt.Sprint("c", rng.IntN(8)), c, time.UnixMilli(c.FromMS))
		}
		for i := range 150 {
			id := fmt.Sprint("o", i-i%7/6) // some repeated
			o := Order{ID: id, Customer: fmt.Sprint("c", rng.IntN(9)), Product: fmt.Sprint("p", rng.IntN(4)),
				Quantity: 1 + rng.Int64N(3), PriceCents: rng.Int64N(500), TimeMS: at(rng.IntN(100)).UnixMilli()}
			orders.Send(id, o, time.UnixMilli(o.TimeMS))
		}
		for range crashes {
			for range 5 + rng.IntN(20) {
				d.Step()
			}
			d.Crash()
			d.Restart()
		}
		d.Run()
		sales := streamstest.Latest(streamstest.Output[string, DailySales](d, dailySalesTable))
		var rows []string
		for k, v := range sales {
			rows = append(rows, fmt.Sprint(k, v))
		}
		for _, r := range streamstest.Output[string, CustomerOrder](d, ordersByCustomerTable).ReadAll() {
			rows = append(rows, canonical(t, r.Value))
		}
		slices.Sort(rows)
		return fmt.Sprint(len(d.DeadLetters()), rows)
	}
	want := tables(1, 0, 0)
	for _, world := range []struct {
		partitions           int32
		commitEvery, crashes int
	}{{1, 1, 0}, {3, 0, 0}, {3, 2, 4}, {5, 7, 3}} {
		if got := tables(world.partitions, world.commitEvery, world.crashes); got != want {
			t.Errorf("%+v:\n got %s\nwant %s", world, got, want)
		}
	}
}
