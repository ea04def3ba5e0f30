package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// files writes both files and returns the arguments that name them.
func files(t *testing.T, orders, customers string) []string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"-orders", filepath.Join(dir, "orders.jsonl"), "-customers", filepath.Join(dir, "customers.csv")}
	for i, text := range []string{orders, customers} {
		if err := os.WriteFile(args[2*i+1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return args
}

// generated writes generated files and returns the arguments that name them.
func generated(t *testing.T, n int, seed uint64) []string {
	t.Helper()
	dir := t.TempDir()
	etl(t, "-generate", dir, "-orders-count", strconv.Itoa(n), "-seed", strconv.FormatUint(seed, 10))
	return []string{"-orders", filepath.Join(dir, "orders.jsonl"), "-customers", filepath.Join(dir, "customers.csv")}
}

// compare runs the program over files and holds what it prints against the fold.
func compare(t *testing.T, args []string, more ...string) *want {
	t.Helper()
	w := fold(t, args[1], args[3])
	out, report := etl(t, slices.Concat(args, []string{"-out", "rows", "-o", "json"}, more)...)
	wantRows(t, rowsOf(t, out), w.rows(t))
	if got := lastLine(report); got != w.tally {
		t.Errorf("tally %q, want %q", got, w.tally)
	}
	return w
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

const handOrders = `{"id":"a1","customer":"c1","product":"tea","quantity":2,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"a2","customer":"c1","product":"tea","quantity":1,"price":250,"time":"2026-03-01T09:59:59.999Z"}
{"id":"a3","customer":"c1","product":"tea","quantity":1,"price":250,"time":"2026-03-01T10:00:00.0009Z"}
{"id":"a4","customer":"c1","product":"tea","quantity":1,"price":300,"time":"2026-03-03T00:30:00+02:00"}
{"id":"a5","customer":"nobody","product":"tea","quantity":3,"price":100,"time":"2026-03-01T12:00:00Z"}
{"id":"a1","customer":"c1","product":"tea","quantity":2,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"a1","customer":"c2","product":"cocoa","quantity":9,"price":1,"time":"2026-03-09T10:00:00Z"}
{"id":"a6","customer":"c2","product":"tea","quantity":0,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"a6","customer":"c2","product":"tea","quantity":4,"price":0,"time":"2026-02-28T23:59:59-00:01"}
{"id":"b1","customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-02-29T10:00:00Z"}
{"id":"b2","customer":"c2","product":"tea","quantity":1.0,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"b3","customer":"c2","product":"tea","quantity":1e1,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"b4","customer":"c2","product":"tea","quantity":true,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"b5","customer":"c2","product":"tea","quantity":1,"price":"250","time":"2026-03-01T10:00:00Z"}
{"id":"b6","customer":"c2","product":"tea","quantity":1,"price":250}
{"id":"b7","customer":null,"product":"tea","quantity":1,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"b8","Customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"b 9","customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"c1","id":"c1","customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-03-01T10:00:00Z"}
{"id":"c2","customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-03-01T10:00:00Z"} trailing
{"id":"c3","customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-03-01 10:00:00"}
{"id":"c4","customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-03-01T10:00:00"}
{"id":"c5","customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-03-01T24:00:00Z"}
{"id":"c6","customer":"c2","product":"tea","quantity":1,"price":250,"time":"1969-12-31T23:59:59Z"}
{"id":"c7","customer":"c2","product":"tea","quantity":99999999999999999999,"price":250,"time":"2026-03-01T10:00:00Z"}
[1,2]
null
"text"

   
{"id":"d1","customer":"c2","product":"tea","quantity":1,"price":250,"time":"2026-03-05T10:00:00Z","note":{"a":[1,{"id":"x"}]},"id2":"d1"}
{"time":"2026-03-05T10:00:01Z","price":250,"quantity":1,"product":"tea","customer":"c2","id":"d2"}
{"id":"d3","customer":"c3","product":"tea","quantity":1,"price":250,"time":"2026-03-05T10:00:00Z"}
{"id":"d4","customer":"c4","product":"tea","quantity":1,"price":250,"time":"2026-03-05T10:00:00Z"}
{"id":"d5","customer":"c5","product":"tea","quantity":1,"price":250,"time":"2026-03-05T10:00:00Z"}
{"id":"d6","customer":"c6","product":"tea","quantity":1,"price":250,"time":"2026-03-05T10:00:00Z"}
{"id":"e1","customer":"c1","product":"tea","quantity":1,"price":250,"time":"2026-03-01T10:00:00Z"`

const handCustomers = `id,name,country,time
c1,Anna,DE,2026-03-01T10:00:00Z
c1,Anna,FR,2026-02-01T00:00:00Z
c1,Anna Late,AT,2026-03-02T22:30:00Z
c1,Anna Later,IT,2026-03-02T22:30:00Z
c2,"Meyer, ""Bob""",SE,2026-03-05T12:00:01+02:00
c2,Bob,NO,2026-01-01T00:00:00Z
c3,"two
lines",DE,2026-01-01T00:00:00Z
c4,"not closed,DE,2026-01-01T00:00:00Z
c5,Carl "C" Jones,DE,2026-01-01T00:00:00Z
c5,Carl,DE,2026-01-01T00:00:00Z,more
c5,Carl,de,2026-01-01T00:00:00Z
c5,,DE,2026-01-01T00:00:00Z
c5,Carl,DE,yesterday
c5,"Carl" x,DE,2026-01-01T00:00:00Z

c6,Zoë,ZZ,2026-03-05T10:00:00Z`

func TestRowsAreTheFoldOverFilesMadeByHand(t *testing.T) {
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	shuffled := func(s string) string { // the header stays; quoted newlines are not torn, as rows are reversed whole
		head, rest, _ := strings.Cut(s, "\n")
		rest = strings.ReplaceAll(rest, "two\nlines", "two\x00lines")
		rows := strings.Split(strings.ReplaceAll(rest, "c1,Anna Late,AT,2026-03-02T22:30:00Z\n", ""), "\n")
		slices.Reverse(rows)
		return strings.ReplaceAll(head+"\n"+strings.Join(rows, "\n"), "\x00", "\n")
	}
	tests := []struct{ name, orders, customers string }{
		{"as they are", handOrders, handCustomers},
		{"CRLF", crlf(handOrders), crlf(handCustomers)},
		{"newline at the end", handOrders + "\n", handCustomers + "\n"},
		{"byte order marks", "\xef\xbb\xbf" + handOrders, "\xef\xbb\xbf" + handCustomers},
		{"customers in another order", handOrders, shuffled(handCustomers)},
		{"columns in another order, and more of them", handOrders, "time,x,country,name,id\n2026-01-01T00:00:00Z,,DE,Anna,c1\n2026-01-01T00:00:00Z,DE,Anna,c1\n"},
		{"no orders", "", handCustomers},
		{"no customers", handOrders, ""},
		{"only a header", handOrders, "id,name,country,time"},
		{"nothing", "", ""},
		{"only bad rows", "x\ny\n", "id,name,country,time\nx\n"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := files(t, tt.orders, tt.customers)
			compare(t, args, "-partitions", strconv.Itoa(1+2*(i%2)))
		})
	}
}

// TestHandMadeRowsAreJudgedAsTheREADMESays keeps the fold honest: what becomes of
// the rows above, said by hand.
func TestHandMadeRowsAreJudgedAsTheREADMESays(t *testing.T) {
	args := files(t, handOrders, handCustomers)
	w := fold(t, args[1], args[3])
	rows := w.rows(t)
	if want := "orders=35 bad=23 rows=15 dead_letters=30"; w.tally != want {
		t.Errorf("tally %s, want %s", w.tally, want)
	}
	for key, want := range map[string]string{
		`daily_sales {"day":"2026-03-01","product":"tea"}`:                                 `{"orders":5,"quantity":11,"revenue_by_country":{"DE":750,"FR":250,"NO":0,"unknown":300},"revenue_cents":1300,"unknown_customers":1}`,
		`daily_sales {"day":"2026-03-02","product":"tea"}`:                                 `{"orders":1,"quantity":1,"revenue_by_country":{"IT":300},"revenue_cents":300,"unknown_customers":0}`,
		`orders_by_customer {"customer":"c2","id":"d1","time":"2026-03-05T10:00:00.000Z"}`: `{"country":"NO","customer_name":"Bob","price_cents":250,"product":"tea","quantity":1}`,
		`orders_by_customer {"customer":"c2","id":"d2","time":"2026-03-05T10:00:01.000Z"}`: `{"country":"SE","customer_name":"Meyer, \"Bob\"","price_cents":250,"product":"tea","quantity":1}`,
		`orders_by_customer {"customer":"c3","id":"d3","time":"2026-03-05T10:00:00.000Z"}`: `{"country":"DE","customer_name":"two\nlines","price_cents":250,"product":"tea","quantity":1}`,
		`orders_by_customer {"customer":"c4","id":"d4","time":"2026-03-05T10:00:00.000Z"}`: `{"country":null,"customer_name":null,"price_cents":250,"product":"tea","quantity":1}`,
		`orders_by_customer {"customer":"c6","id":"d6","time":"2026-03-05T10:00:00.000Z"}`: `{"country":"ZZ","customer_name":"Zoë","price_cents":250,"product":"tea","quantity":1}`,
	} {
		if rows[key] != want {
			t.Errorf("%s:\n got %s\nwant %s", key, rows[key], want)
		}
	}
}

func TestRowsAreTheFoldWhateverPartitionsAndWorkers(t *testing.T) {
	args := generated(t, 8_000, 3)
	compare(t, args, "-partitions", "1", "-workers", "1")
	compare(t, args, "-partitions", "7", "-workers", "2")
}

func TestTheSummaryEndsWithTheTally(t *testing.T) {
	args := generated(t, 3000, 5)
	w := fold(t, args[1], args[3])
	out, _ := etl(t, args...)
	if got := out[len(out)-1]; got != w.tally {
		t.Errorf("last line %q, want %q", got, w.tally)
	}
	out, _ = etl(t, "-orders-count", "3000", "-seed", "5")
	if got := out[len(out)-1]; got != w.tally {
		t.Errorf("last line without files %q, want %q", got, w.tally)
	}
}

func TestGeneratedFilesDependOnSeedAndCountAlone(t *testing.T) {
	read := func(args []string) string {
		var all []byte
		for _, i := range []int{1, 3} {
			b, err := os.ReadFile(args[i])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		return string(all)
	}
	once, again := read(generated(t, 2000, 9)), read(generated(t, 2000, 9))
	if once != again {
		t.Error("two runs with one seed differ")
	}
	if once == read(generated(t, 2000, 10)) {
		t.Error("two seeds give the same")
	}
	args := generated(t, 20_000, 1)
	w := fold(t, args[1], args[3])
	days, products := map[string]bool{}, map[string]bool{}
	for k := range w.sales {
		days[k.day], products[k.product] = true, true
	}
	if len(days) < 30 || len(products) < 100 {
		t.Errorf("%d days and %d products, want at least 30 and 100", len(days), len(products))
	}
}

func TestADirectoryGoesOn(t *testing.T) {
	args := files(t, "", "")
	all := generated(t, 4000, 11)
	text := [2][]byte{}
	for i, from := range []string{all[1], all[3]} {
		var err error
		if text[i], err = os.ReadFile(from); err != nil {
			t.Fatal(err)
		}
	}
	write := func(orders, customers []byte) {
		os.WriteFile(args[1], orders, 0o600)
		os.WriteFile(args[3], customers, 0o600)
	}
	dir := filepath.Join(t.TempDir(), "d")
	half := bytes.LastIndexByte(text[0][:len(text[0])/2], '\n') + 1
	write(text[0][:half], text[1])
	compare(t, args, "-dir", dir)
	compare(t, args, "-dir", dir) // nothing new
	write(text[0], text[1])
	compare(t, args, "-dir", dir) // the rest
	out, _ := etl(t, append(args, "-dir", dir)...)
	if w := fold(t, args[1], args[3]); out[len(out)-1] != w.tally {
		t.Errorf("summary %q, want %q", out[len(out)-1], w.tally)
	}

	var stderr bytes.Buffer
	if code := run(t.Context(), append(args, "-dir", dir, "-partitions", "5"), stdio{&bytes.Buffer{}, &stderr}); code != 1 || !strings.Contains(stderr.String(), "partitions") {
		t.Errorf("other flags over old state: exit code %d, %s", code, &stderr)
	}
	write([]byte("{}\n"), text[1])
	stderr.Reset()
	if code := run(t.Context(), append(args, "-dir", dir), stdio{&bytes.Buffer{}, &stderr}); code != 1 || !strings.Contains(stderr.String(), "orders.jsonl") {
		t.Errorf("another file: exit code %d, %s", code, &stderr)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-orders", "x"}, 2, "belong together"},
		{[]string{"-orders", "x", "-customers", "y"}, 1, "x: no such file"},
		{[]string{"-orders", "-", "-customers", "y"}, 2, "standard input"},
		{[]string{"-out", "all"}, 2, "rows or summary"},
		{[]string{"-o", "xml"}, 2, "text or json"},
		{[]string{"-partitions", "0"}, 2, "-partitions 0"},
		{[]string{"-generate", "d", "-dir", "e"}, 2, "-dir does not go with -generate"},
		{[]string{"-generate", ""}, 2, "name is empty"},
		{[]string{"-orders-count", "0"}, 2, "-orders-count 0"},
		{[]string{"-orders", "x", "-customers", "y", "-seed", "3"}, 2, "generated orders"},
		{[]string{"-dir", "d"}, 2, "-dir needs"},
		{[]string{"-cassandra", "a:b:c"}, 2, "expected HOST"},
		{[]string{"-keyspace", "k"}, 2, "are for -cassandra"},
		{[]string{"-cassandra", "h:1", "-keyspace", "1 2"}, 2, "-keyspace"},
		{[]string{"extra"}, 2, `"extra"`},
		{[]string{"-workers", "x"}, 2, "workers"},
		{[]string{"-h"}, 0, ""},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), tt.args, stdio{&bytes.Buffer{}, &stderr})
		if code != tt.code || !strings.Contains(stderr.String(), tt.says) || strings.Count(stderr.String(), "\n") > 1 {
			t.Errorf("%q: exit code %d, %q; want %d with %q on one line", tt.args, code, &stderr, tt.code, tt.says)
		}
	}
}
