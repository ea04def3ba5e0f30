package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/file"
)

// Customer is a good row of the customers file: what holds of a customer from a
// time on, until a row of a later time.
type Customer struct {
	FromMS  int64  `json:"from"` // milliseconds since the Unix epoch
	Name    string `json:"name"`
	Country string `json:"country"`
}

// maxName bounds a customer's name, in bytes.
const maxName = 200

// customerRows reads the customers file: the records of the topic customers,
// keyed by the customer's ID.
func customerRows() *file.CSV {
	return file.NewCSV(file.CSVConfig{
		Columns: []string{"id", "name", "country", "time"},
		Row: func(f []string, out *connectors.Batch) error {
			id, c, err := newCustomer(f[0], f[1], f[2], f[3])
			if err != nil {
				return err
			}
			value, err := json.Marshal(c)
			if err != nil {
				return err
			}
			out.Add(connectors.Out{Key: []byte(id), Value: value, Timestamp: c.FromMS, Partition: -1})
			return nil
		},
	})
}

// newCustomer checks a row. The error is the reason of its dead letter.
func newCustomer(id, name, country, from string) (string, Customer, error) {
	if _, err := identifier("id", &id); err != nil {
		return "", Customer{}, err
	}
	switch {
	case name == "":
		return "", Customer{}, errors.New("name is missing")
	case len(name) > maxName:
		return "", Customer{}, fmt.Errorf("name has %d bytes, expected at most %d", len(name), maxName)
	case !utf8.ValidString(name):
		return "", Customer{}, errors.New("name is not UTF-8")
	case len(country) != 2 || country[0] < 'A' || country[0] > 'Z' || country[1] < 'A' || country[1] > 'Z':
		return "", Customer{}, fmt.Errorf("country %.80q, expected two capital letters", country)
	}
	ms, err := parseTime(from)
	return id, Customer{FromMS: ms, Name: name, Country: country}, err
}

// History is all rows of one customer.
//
// Invariant: in order of FromMS, each of them once.
type History []Customer

func newHistory() History { return nil }

// addRow takes a row; of two from the same time the later in the file holds.
func addRow(_ string, c Customer, h History) History {
	i, found := slices.BinarySearchFunc(h, c.FromMS, compareFrom)
	if found {
		h[i] = c
		return h
	}
	return slices.Insert(h, i, c)
}

// at is the row that holds at a time; ok is false before the first.
func (h History) at(ms int64) (c Customer, ok bool) {
	i, found := slices.BinarySearchFunc(h, ms, compareFrom)
	if found {
		return h[i], true
	}
	if i == 0 {
		return Customer{}, false
	}
	return h[i-1], true
}

func compareFrom(c Customer, ms int64) int {
	switch {
	case c.FromMS < ms:
		return -1
	case c.FromMS > ms:
		return 1
	}
	return 0
}
