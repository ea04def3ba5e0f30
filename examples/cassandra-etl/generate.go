package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The generated files.
const (
	ordersFile    = "orders.jsonl"
	customersFile = "customers.csv"
)

const (
	generatedDays     = 35
	generatedProducts = 120
)

var generatedFrom = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// generateFiles is -generate.
func generateFiles(c config, std stdio) error {
	if err := os.MkdirAll(c.generate, 0o755); err != nil {
		return err
	}
	if err := generate(c.generate, c.ordersCount, c.seed); err != nil {
		return err
	}
	fmt.Fprintf(std.err, "wrote %s and %s\n", filepath.Join(c.generate, ordersFile), filepath.Join(c.generate, customersFile))
	return nil
}

// generate writes both files; they depend on n and seed alone. n is the number
// of lines of orders. Some rows are wrong in the ways that README.md lists, some
// orders are late, repeated, older than their customer's first row, or from the
// very moment of a row.
func generate(dir string, n int, seed uint64) error {
	g := &generator{rng: rand.New(rand.NewPCG(seed, 0x6f7264657273)), n: n}
	customers, err := create(filepath.Join(dir, customersFile))
	if err != nil {
		return err
	}
	g.writeCustomers(customers.w)
	if err := customers.close(); err != nil {
		return err
	}
	orders, err := create(filepath.Join(dir, ordersFile))
	if err != nil {
		return err
	}
	for i := range n {
		orders.w.WriteString(g.order(i)) // close returns the first error
		orders.w.WriteByte('\n')
	}
	return orders.close()
}

// output is a file that is written through a buffer.
type output struct {
	f *os.File
	w *bufio.Writer
}

func create(path string) (*output, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &output{f, bufio.NewWriterSize(f, 64<<10)}, nil
}

func (o *output) close() error { return errors.Join(o.w.Flush(), o.f.Close()) }

// generator makes rows.
type generator struct {
	rng  *rand.Rand
	n    int
	rows [][]time.Time // of each customer, the times of its rows; none: it has no row
	past []string      // the last good orders
}

// chance is true once in n times.
func (g *generator) chance(n int) bool { return g.rng.IntN(n) == 0 }

func pick[T any](g *generator, list []T) T { return list[g.rng.IntN(len(list))] }

// moment is a whole second of the generated days.
func (g *generator) moment() time.Time {
	return generatedFrom.Add(time.Duration(g.rng.IntN(generatedDays*24*3600)) * time.Second)
}

var (
	firstNames = []string{"Anna", "Béla", "Chloé", "Dmitri", "Emre", "Fatima", "Güler", "Hana", "Ingrid", "João", "Kofi", "Lucía"}
	lastNames  = []string{"Meyer", "O'Neill", "Nagy", "Sørensen", "Dubois", "Kowalski", "Rossi", "Yılmaz", "Novák", "García", "Okafor", "Virtanen"}
	countries  = []string{"DE", "FR", "IT", "PL", "ES", "NL", "SE", "AT", "DK", "PT", "CZ", "HU"}
)

// name is a customer's, as CSV.
func (g *generator) name() string {
	first, last := pick(g, firstNames), pick(g, lastNames)
	switch g.rng.IntN(12) {
	case 0:
		return fmt.Sprintf(`"%s, %s"`, last, first)
	case 1:
		return fmt.Sprintf(`"%s ""%s"" %s"`, first, first[:1], last)
	}
	return first + " " + last
}

func customerID(i int) string { return fmt.Sprintf("c-%05d", i) }

// writeCustomers writes the rows of all customers, nearly in the order of time.
func (g *generator) writeCustomers(w *bufio.Writer) {
	type row struct {
		at   time.Time
		text string
	}
	var rows []row
	g.rows = make([][]time.Time, min(max(g.n/30, 50), 20_000))
	for i := range g.rows {
		at := generatedFrom.AddDate(0, -1-g.rng.IntN(24), 0)
		switch {
		case g.chance(20):
			continue // unknown for good
		case g.chance(6):
			at = g.moment() // some orders come before
		}
		for range 1 + max(0, g.rng.IntN(6)-2) {
			g.rows[i] = append(g.rows[i], at)
			rows = append(rows, row{at, fmt.Sprintf("%s,%s,%s,%s", customerID(i), g.name(), pick(g, countries), at.Format(time.RFC3339))})
			at = g.moment() // moved, or married
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.at.Compare(b.at) })
	for i := range rows {
		if g.chance(50) {
			j := g.rng.IntN(len(rows))
			rows[i], rows[j] = rows[j], rows[i]
		}
	}
	w.WriteString("id,name,country,time\n") // close returns the first error
	for _, r := range rows {
		if g.chance(60) {
			w.WriteString(g.badCustomer() + "\n")
		}
		w.WriteString(r.text + "\n")
	}
}

// badCustomer is a row that is wrong.
func (g *generator) badCustomer() string {
	id, at := customerID(g.rng.IntN(len(g.rows))), g.moment().Format(time.RFC3339)
	return pick(g, []string{
		id + "," + g.name() + ",DE",                            // a field is missing
		id + "," + pick(g, lastNames) + ", " + "Anna,DE," + at, // a comma without quotes
		id + ",,DE," + at,                                      // no name
		id + "," + g.name() + ",Germany," + at,                 // no code
		id + "," + g.name() + ",DE,01.02.2026",                 // another form of time
		id + `,Anna "Ann" Meyer,DE,` + at,                      // quotes in a field without
		"," + g.name() + ",DE," + at,                           // no ID
		id + "," + g.name() + ",DE,2026-02-30T00:00:00Z",       // no such day
		strings.ToUpper(id) + "/1," + g.name() + ",DE," + at,   // not an identifier
		id + "," + "caf\xe9" + ",FR," + at,                     // Latin-1
	})
}

// order is line i of the orders file.
func (g *generator) order(i int) string {
	if len(g.past) > 0 && g.chance(300) {
		return pick(g, g.past) // repeated
	}
	customer := g.rng.IntN(len(g.rows))
	at := generatedFrom.Add(time.Duration(float64(generatedDays*24*time.Hour) * float64(i) / float64(g.n))).Truncate(time.Second)
	switch {
	case g.chance(200):
		if i := slices.IndexFunc(g.rows[customer], func(t time.Time) bool { return !t.Before(generatedFrom) }); i >= 0 {
			at = g.rows[customer][i] // the very moment of a row
		}
	case g.chance(50):
		at = at.Add(-time.Duration(g.rng.IntN(48*3600)) * time.Second) // late
	}
	product := g.rng.IntN(generatedProducts)
	line := fmt.Sprintf(`{"id":"o-%08d","customer":"%s","product":"p-%03d","quantity":%d,"price":%d,"time":"%s"}`,
		i, customerID(customer), product, 1+g.rng.IntN(5), 199+product*37, g.stamp(at))
	if g.chance(100) {
		return g.badOrder(line)
	}
	if g.past = append(g.past, line); len(g.past) > 500 {
		g.past = g.past[250:]
	}
	return line
}

// stamp is a time as RFC 3339, now and then with an offset or a fraction.
func (g *generator) stamp(at time.Time) string {
	switch g.rng.IntN(40) {
	case 0:
		return at.In(time.FixedZone("", 2*3600)).Format(time.RFC3339)
	case 1:
		return at.In(time.FixedZone("", -8*3600)).Format(time.RFC3339)
	case 2:
		return at.Format("2006-01-02T15:04:05.000Z")
	}
	return at.Format(time.RFC3339)
}

// badOrder makes a good line wrong.
func (g *generator) badOrder(line string) string {
	field := func(name, value string) string {
		from := strings.Index(line, `"`+name+`":`) + len(name) + 3
		to := from + strings.IndexAny(line[from:], ",}")
		return line[:from] + value + line[to:]
	}
	return pick(g, []func() string{
		func() string { return line[:len(line)/2+g.rng.IntN(len(line)/2)] }, // cut
		func() string { return strings.Replace(line, `"customer"`, `"client"`, 1) },
		func() string { return field("product", "null") },
		func() string { return field("product", `""`) },
		func() string { return field("quantity", "-1") },
		func() string { return field("quantity", "0") },
		func() string { return field("quantity", "1.5") },
		func() string { return field("price", `"19.99"`) },
		func() string { return field("price", "-5") },
		func() string { return field("time", `"2026-02-30T10:00:00Z"`) },
		func() string { return field("time", `"01/02/2026 10:00"`) },
		func() string { return field("time", `"2026-01-05 10:00:00"`) },
		func() string { return strings.ReplaceAll(line, `"`, `'`) },
		func() string { return "{" + line }, // two braces
	})()
}
