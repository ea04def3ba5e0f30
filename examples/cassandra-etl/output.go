package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/millstream-io/millstream/connectors/file"
)

const (
	headerFile = file.HeaderFile
	headerLine = file.HeaderLine
)

// print prints what -out asks for.
func (j *job) print(ctx context.Context) (err error) {
	r, err := openResults(j.log())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if len(j.c.hosts) > 0 {
		if err := j.showTables(ctx); err != nil {
			return err
		}
	}
	if j.c.out == "rows" {
		return j.printRows(ctx, r)
	}
	return j.printSummary(ctx, r)
}

// printRows prints every row with its last state, by table, then key; the tally
// goes to stderr.
func (j *job) printRows(ctx context.Context, r *results) (err error) {
	s := &sorter{dir: j.dir, limit: sortBytes}
	defer func() { err = errors.Join(err, s.close()) }()
	good, err := r.tableRows(ctx, j, s)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(j.std.out, 64<<10)
	var rows int64
	err = s.each(func(_, line []byte) error {
		rows++
		_, err := w.Write(line)
		return err
	})
	if err = errors.Join(err, w.Flush()); err != nil {
		return fmt.Errorf("printing the rows: %w", err)
	}
	t := tally{orders: good, rows: rows}
	if err := r.deadLetters(ctx, t.count); err != nil {
		return err
	}
	fmt.Fprintln(j.std.err, t)
	return nil
}

// count counts a dead letter.
func (t *tally) count(d deadLetter) {
	t.deadLetters++
	if d.stage == ordersTopic || d.stage == stageRepeated {
		t.orders++
		t.bad++
	}
}

// shown is how many dead letters of each stage and reason a summary shows.
const shown = 5

// printSummary tells how many rows there are, shows some dead letters, and ends
// with the tally.
func (j *job) printSummary(ctx context.Context, r *results) error {
	good, days, err := r.count(ctx)
	if err != nil {
		return err
	}
	t := tally{orders: good, rows: good + days}
	stages := map[string]int{}
	examples := map[string][]deadLetter{} // by stage, the first ones
	err = r.deadLetters(ctx, func(d deadLetter) {
		t.count(d)
		stages[d.stage]++
		first := examples[d.stage]
		at, _ := slices.BinarySearchFunc(first, d, deadLetter.compare)
		if first = slices.Insert(first, at, d); len(first) > shown {
			first = first[:shown]
		}
		examples[d.stage] = first
	})
	if err != nil {
		return err
	}
	out := j.std.out
	fmt.Fprintf(out, "%-20s %9d rows\n%-20s %9d rows\n", dailySalesTable, days, ordersByCustomerTable, good)
	if len(examples) > 0 {
		fmt.Fprintln(out, "\ndead letters, the first of each kind:")
	}
	all := slices.Sorted(maps.Keys(stages))
	for _, stage := range all {
		for _, d := range examples[stage] {
			fmt.Fprintf(out, "  %s\n      %.100q\n", d.where(), d.value)
		}
	}
	for _, stage := range all {
		fmt.Fprintf(out, "%-20s %9d dead letters\n", stage, stages[stage])
	}
	fmt.Fprintf(out, "\n%s\n", t)
	return nil
}

// compare orders dead letters as they stand in the files, and those that come from
// none by their values: the log has them in the order in which tasks came by.
func (d deadLetter) compare(other deadLetter) int {
	return cmp.Or(cmp.Compare(d.file, other.file), cmp.Compare(d.number(), other.number()), cmp.Compare(d.value, other.value), cmp.Compare(d.reason, other.reason))
}

// number is that of the line, 0 without one.
func (d deadLetter) number() int {
	n, _ := strconv.Atoi(d.line)
	return n
}

// where says what is wrong with a row and where it stands.
func (d deadLetter) where() string {
	if d.file == "" {
		return d.stage + ": " + d.reason
	}
	return fmt.Sprintf("%s:%s: %s", filepath.Base(d.file), d.line, d.reason)
}

// rowPrinter makes the lines of rows, in memory of its own.
type rowPrinter struct {
	json      bool
	key, line []byte
}

func newRowPrinter(output string) *rowPrinter { return &rowPrinter{json: output == "json"} }

// timeForm is how times are printed: always in milliseconds.
const timeForm = "2006-01-02T15:04:05.000Z"

func (p *rowPrinter) sales(r *DailySales) []byte {
	p.begin(dailySalesTable)
	p.text(true, "product", r.Product)
	p.text(false, "day", r.Day.Format(time.DateOnly))
	p.values()
	p.number(true, "orders", r.Orders)
	p.number(false, "quantity", r.Quantity)
	p.number(false, "revenue_cents", r.RevenueCents)
	p.number(false, "unknown_customers", r.UnknownCustomers)
	p.name(false, "revenue_by_country")
	p.line = append(p.line, '{')
	for i, c := range slices.Sorted(maps.Keys(r.RevenueByCountry)) {
		if p.json {
			p.number(i == 0, c, r.RevenueByCountry[c])
			continue
		}
		if i > 0 {
			p.line = append(p.line, ' ')
		}
		p.line = strconv.AppendInt(append(append(p.line, c...), ':'), r.RevenueByCountry[c], 10)
	}
	p.line = append(p.line, '}')
	return p.end()
}

func (p *rowPrinter) order(r *CustomerOrder) []byte {
	p.begin(ordersByCustomerTable)
	p.text(true, "customer", r.Customer)
	p.text(false, "time", r.Time.UTC().Format(timeForm))
	p.text(false, "id", r.ID)
	p.values()
	p.text(true, "product", r.Product)
	p.number(false, "quantity", r.Quantity)
	p.number(false, "price_cents", r.PriceCents)
	p.optional("customer_name", r.Name)
	p.optional("country", r.Country)
	return p.end()
}

func (p *rowPrinter) begin(table string) {
	p.line = p.line[:0]
	if p.json {
		p.line = append(append(append(p.line, `{"table":"`...), table...), `","key":{`...)
	} else {
		p.line = fmt.Appendf(p.line, "%-18s ", table)
	}
}

func (p *rowPrinter) values() {
	if p.json {
		p.line = append(p.line, `},"values":{`...)
	} else {
		p.line = append(p.line, " |"...)
	}
}

func (p *rowPrinter) end() []byte {
	if p.json {
		p.line = append(p.line, "}}"...)
	}
	p.line = append(p.line, '\n')
	return p.line
}

func (p *rowPrinter) name(first bool, name string) {
	if p.json {
		if !first {
			p.line = append(p.line, ',')
		}
		p.line = append(append(append(p.line, '"'), name...), `":`...)
		return
	}
	p.line = append(append(append(p.line, ' '), name...), '=')
}

func (p *rowPrinter) number(first bool, name string, n int64) {
	p.name(first, name)
	p.line = strconv.AppendInt(p.line, n, 10)
}

func (p *rowPrinter) text(first bool, name, s string) {
	p.name(first, name)
	if !p.json {
		p.line = append(p.line, s...)
		return
	}
	p.quoted(s)
}

func (p *rowPrinter) quoted(s string) {
	b, err := json.Marshal(s)
	if err != nil { // no string fails
		b = []byte(`""`)
	}
	p.line = append(p.line, b...)
}

func (p *rowPrinter) optional(name string, s *string) {
	p.name(false, name)
	switch {
	case s == nil && p.json:
		p.line = append(p.line, "null"...)
	case s == nil:
		p.line = append(p.line, '-')
	default:
		p.quoted(*s)
	}
}
