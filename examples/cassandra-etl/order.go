package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/streams/serde"
)

// Order is a good row of the orders file.
type Order struct {
	ID, Customer, Product string // identifiers
	Quantity, PriceCents  int64
	TimeMS                int64 // milliseconds since the Unix epoch
	Repeated              bool  // an order with this ID came before; not part of the bytes
}

// What a good order may hold.
const (
	maxIdentifier = 64
	maxQuantity   = 10_000
	maxPriceCents = 100_000_000
)

// orderLine is a line of the file: null and a missing field look alike.
type orderLine struct {
	ID       *string `json:"id"`
	Customer *string `json:"customer"`
	Product  *string `json:"product"`
	Quantity *int64  `json:"quantity"`
	Price    *int64  `json:"price"`
	Time     *string `json:"time"`
}

// orderLines reads the orders file: the records of the topic orders, keyed by ID.
func orderLines() file.Parser {
	var value []byte
	return file.JSONLines(func(l orderLine, _ []byte, out *connectors.Batch) error {
		o, err := l.order()
		if err != nil {
			return err
		}
		if value, err = orderSerde.Append(orderSerde{}, value[:0], o); err != nil {
			return err
		}
		out.Add(connectors.Out{Key: []byte(o.ID), Value: value, Timestamp: o.TimeMS, Partition: -1})
		return nil
	})
}

// order checks a line. The error is the reason of its dead letter.
func (l *orderLine) order() (o Order, err error) {
	for _, f := range []struct {
		name string
		from *string
		to   *string
	}{{"id", l.ID, &o.ID}, {"customer", l.Customer, &o.Customer}, {"product", l.Product, &o.Product}} {
		if *f.to, err = identifier(f.name, f.from); err != nil {
			return o, err
		}
	}
	switch {
	case l.Quantity == nil:
		return o, errors.New("quantity is missing")
	case l.Price == nil:
		return o, errors.New("price is missing")
	case l.Time == nil:
		return o, errors.New("time is missing")
	case *l.Quantity < 1 || *l.Quantity > maxQuantity:
		return o, fmt.Errorf("quantity %d, expected 1 to %d", *l.Quantity, maxQuantity)
	case *l.Price < 0 || *l.Price > maxPriceCents:
		return o, fmt.Errorf("price %d, expected 0 to %d cents", *l.Price, maxPriceCents)
	}
	o.Quantity, o.PriceCents = *l.Quantity, *l.Price
	o.TimeMS, err = parseTime(*l.Time)
	return o, err
}

// identifier is 1 to 64 letters, digits, dots, underscores and dashes.
func identifier(name string, s *string) (string, error) {
	if s == nil {
		return "", fmt.Errorf("%s is missing", name)
	}
	ok := len(*s) >= 1 && len(*s) <= maxIdentifier
	for i := 0; ok && i < len(*s); i++ {
		c := (*s)[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if !ok {
		return "", fmt.Errorf("%s %.80q, expected 1 to %d letters, digits, dots, underscores and dashes", name, *s, maxIdentifier)
	}
	return *s, nil
}

// Serde is the fields as text, a tab between two.
func (Order) Serde() serde.Serde[Order] { return orderSerde{} }

type orderSerde struct{}

func (orderSerde) Append(dst []byte, o Order) ([]byte, error) {
	dst = append(append(dst, o.ID...), '\t')
	dst = append(append(dst, o.Customer...), '\t')
	dst = append(append(dst, o.Product...), '\t')
	dst = append(strconv.AppendInt(dst, o.Quantity, 10), '\t')
	dst = append(strconv.AppendInt(dst, o.PriceCents, 10), '\t')
	return strconv.AppendInt(dst, o.TimeMS, 10), nil
}

func (orderSerde) Decode(b []byte) (o Order, err error) {
	if n := bytes.Count(b, []byte{'\t'}); n != 5 {
		return o, fmt.Errorf("an order has %d fields, expected 6", n+1)
	}
	s := string(b) // one allocation; the fields share it
	o.ID, s, _ = strings.Cut(s, "\t")
	o.Customer, s, _ = strings.Cut(s, "\t")
	o.Product, s, _ = strings.Cut(s, "\t")
	for _, n := range []*int64{&o.Quantity, &o.PriceCents, &o.TimeMS} {
		var field string
		field, s, _ = strings.Cut(s, "\t")
		if *n, err = strconv.ParseInt(field, 10, 64); err != nil {
			return o, fmt.Errorf("an order: %w", err)
		}
	}
	return o, nil
}

func (orderSerde) Aliases() bool            { return false }
func (orderSerde) Lifetime() serde.Lifetime { return serde.Safe }
func (orderSerde) Own(o Order) Order        { return o }
func (orderSerde) Name() string             { return "order" }
