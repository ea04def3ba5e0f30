package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/streams/serde"
)

// Sale is what an order adds to the daily sales.
type Sale struct {
	Quantity, Cents int64
	Country         string // "" if the customer was unknown
}

func saleOf(o CustomerOrder) Sale {
	s := Sale{Quantity: o.Quantity, Cents: o.Quantity * o.PriceCents}
	if o.Country != nil {
		s.Country = *o.Country
	}
	return s
}

// Sales is what was sold of a product on a day.
type Sales struct {
	Orders           int64            `json:"orders"`
	Quantity         int64            `json:"quantity"`
	RevenueCents     int64            `json:"revenue_cents"`
	UnknownCustomers int64            `json:"unknown_customers"`
	ByCountry        map[string]int64 `json:"by_country"` // revenue in cents
}

// unknownCountry stands in ByCountry for orders whose customer was unknown.
const unknownCountry = "unknown"

func newSales() Sales { return Sales{ByCountry: map[string]int64{}} }

func addSale(_ string, o Sale, s Sales) Sales {
	s.Orders++
	s.Quantity += o.Quantity
	s.RevenueCents += o.Cents
	if o.Country == "" {
		s.UnknownCustomers++
		o.Country = unknownCountry
	}
	s.ByCountry[o.Country] += o.Cents
	return s
}

// row makes the table's row of it.
func (s Sales) row(key string) DailySales {
	product, day, _ := strings.Cut(key, "/")
	at, _ := time.Parse(time.DateOnly, day) // productDay made it
	return DailySales{
		Product: product, Day: at, Orders: s.Orders, Quantity: s.Quantity, RevenueCents: s.RevenueCents,
		UnknownCustomers: s.UnknownCustomers, RevenueByCountry: s.ByCountry,
	}
}

// Serde is the fields as text, a tab between two.
func (Sale) Serde() serde.Serde[Sale] { return saleSerde{} }

type saleSerde struct{}

func (saleSerde) Append(dst []byte, s Sale) ([]byte, error) {
	dst = append(strconv.AppendInt(dst, s.Quantity, 10), '\t')
	dst = append(strconv.AppendInt(dst, s.Cents, 10), '\t')
	return append(dst, s.Country...), nil
}

func (saleSerde) Decode(b []byte) (s Sale, err error) {
	quantity, rest, ok1 := bytes.Cut(b, []byte{'\t'})
	cents, country, ok2 := bytes.Cut(rest, []byte{'\t'})
	if !ok1 || !ok2 {
		return s, fmt.Errorf("a sale of %d bytes has too few fields, expected 3", len(b))
	}
	if s.Quantity, err = strconv.ParseInt(string(quantity), 10, 64); err != nil {
		return s, fmt.Errorf("a sale: %w", err)
	}
	if s.Cents, err = strconv.ParseInt(string(cents), 10, 64); err != nil {
		return s, fmt.Errorf("a sale: %w", err)
	}
	s.Country = string(country)
	return s, nil
}

func (saleSerde) Aliases() bool            { return false }
func (saleSerde) Lifetime() serde.Lifetime { return serde.Safe }
func (saleSerde) Own(s Sale) Sale          { return s }
func (saleSerde) Name() string             { return "sale" }
