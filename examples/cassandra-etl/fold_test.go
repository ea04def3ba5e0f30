package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The expected tables, folded from the files by the rules of README.md with
// nothing of the program: other parsers, other data structures.

// want is what a fold over both files gives.
type want struct {
	tally  string
	orders []wantOrder
	sales  map[wantDay]*wantSales
}

type wantOrder struct {
	customer, id, product string
	ms, quantity, price   int64
	name, country         string // "" unknown
}

type wantDay struct{ product, day string }

type wantSales struct {
	orders, quantity, cents, unknown int64
	countries                        map[string]int64
}

type wantVersion struct {
	ms            int64
	name, country string
}

var (
	wantID   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	wantTime = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$`)
	wantInt  = regexp.MustCompile(`^-?(0|[1-9]\d*)$`)
	// A row of CSV: fields without quotes, or wholly in quotes.
	wantRow   = regexp.MustCompile(`^((?:"(?:[^"]|"")*"|[^",\n]*)(?:,(?:"(?:[^"]|"")*"|[^",\n]*))*)(\r?\n|$)`)
	wantField = regexp.MustCompile(`^(?:"((?:[^"]|"")*)"|([^",\n]*))(,|$)`)
)

func foldTime(s string) (int64, bool) {
	m := wantTime.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	t, err := time.Parse("2006-01-02T15:04:05Z07:00", m[1]+m[3])
	if err != nil {
		return 0, false
	}
	ms, _ := strconv.ParseInt((strings.TrimPrefix(m[2], ".") + "000")[:3], 10, 64)
	ms += t.Unix() * 1000
	return ms, ms >= 0 && ms < 253402300800000
}

// foldJSON decodes an object strictly: one value, no name twice.
func foldJSON(line string) (map[string]any, bool) {
	if !utf8.ValidString(line) {
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var o map[string]any
	if d.Decode(&o) != nil || o == nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	d = json.NewDecoder(strings.NewReader(line))
	names := map[string]bool{}
	depth, name := 0, true
	for {
		tok, err := d.Token()
		if err != nil {
			return o, true
		}
		switch tok := tok.(type) {
		case json.Delim:
			if depth += 1 - 2*strings.Count("]}", tok.String()); depth == 1 {
				name = true
			}
			continue
		case string:
			if depth == 1 && name {
				if names[tok] {
					return nil, false
				}
				names[tok], name = true, false
				continue
			}
		}
		if depth == 1 {
			name = true
		}
	}
}

func foldInt(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok || !wantInt.MatchString(n.String()) {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

func foldOrder(line string) (w wantOrder, ok bool) {
	o, ok := foldJSON(line)
	if !ok {
		return w, false
	}
	var fields [4]string
	for i, name := range []string{"id", "customer", "product", "time"} {
		if fields[i], ok = o[name].(string); !ok {
			return w, false
		}
		if name != "time" && !wantID.MatchString(fields[i]) {
			return w, false
		}
	}
	quantity, ok1 := foldInt(o["quantity"])
	price, ok2 := foldInt(o["price"])
	ms, ok3 := foldTime(fields[3])
	if !ok1 || !ok2 || !ok3 || quantity < 1 || quantity > 10_000 || price < 0 || price > 100_000_000 {
		return w, false
	}
	return wantOrder{id: fields[0], customer: fields[1], product: fields[2], ms: ms, quantity: quantity, price: price}, true
}

// foldCSV are the rows of a file, nil where a line is none.
func foldCSV(text string) (rows [][]string) {
	for text != "" {
		m := wantRow.FindStringSubmatch(text)
		if m == nil {
			_, text, _ = strings.Cut(text, "\n")
			rows = append(rows, nil)
			continue
		}
		text = text[len(m[0]):]
		row := strings.TrimSuffix(m[1], "\r")
		if row == "" {
			continue
		}
		fields := []string{}
		for more := true; more; {
			f := wantField.FindStringSubmatch(row)
			fields = append(fields, strings.ReplaceAll(strings.ReplaceAll(f[1], `""`, `"`), "\r\n", "\n")+f[2])
			row, more = row[len(f[0]):], f[3] == ","
		}
		rows = append(rows, fields)
	}
	return rows
}

// foldCustomers is every customer's history and how many rows are bad.
func foldCustomers(text string) (histories map[string][]wantVersion, bad int) {
	histories = map[string][]wantVersion{}
	var at map[string]int
	var width int
	for _, row := range foldCSV(text) {
		if row != nil && at == nil {
			at, width = map[string]int{}, len(row)
			for i := len(row) - 1; i >= 0; i-- {
				at[row[i]] = i
			}
			continue
		}
		if row == nil || len(row) != width {
			bad++
			continue
		}
		id, v := row[at["id"]], wantVersion{name: row[at["name"]], country: row[at["country"]]}
		var ok bool
		v.ms, ok = foldTime(row[at["time"]])
		if !ok || !wantID.MatchString(id) || v.name == "" || len(v.name) > 200 || !utf8.ValidString(v.name) || !regexp.MustCompile(`^[A-Z]{2}$`).MatchString(v.country) {
			bad++
			continue
		}
		histories[id] = append(histories[id], v)
	}
	for _, h := range histories {
		sort.SliceStable(h, func(i, j int) bool { return h[i].ms < h[j].ms })
	}
	return histories, bad
}

// fold computes the tables from the files.
func fold(t *testing.T, ordersPath, customersPath string) *want {
	t.Helper()
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	}
	histories, badRows := foldCustomers(read(customersPath))
	w := &want{sales: map[wantDay]*wantSales{}}
	seen := map[string]bool{}
	lines, bad := 0, 0
	for _, line := range strings.Split(read(ordersPath), "\n") {
		if line = strings.Trim(line, " \t\r"); line == "" {
			continue
		}
		lines++
		o, ok := foldOrder(line)
		if !ok || seen[o.id] {
			bad++
			continue
		}
		seen[o.id] = true
		for _, v := range histories[o.customer] {
			if v.ms <= o.ms {
				o.name, o.country = v.name, v.country
			}
		}
		w.add(o)
	}
	w.tally = fmt.Sprintf("orders=%d bad=%d rows=%d dead_letters=%d", lines, bad, len(w.orders)+len(w.sales), bad+badRows)
	return w
}

// rows are the tables as the program prints them: table and key -> values, as
// canonical JSON.
func (w *want) rows(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for k, s := range w.sales {
		key := fmt.Sprintf(`daily_sales {"day":%q,"product":%q}`, k.day, k.product)
		rows[key] = canonical(t, map[string]any{"orders": s.orders, "quantity": s.quantity, "revenue_cents": s.cents,
			"unknown_customers": s.unknown, "revenue_by_country": s.countries})
	}
	for _, o := range w.orders {
		at := time.UnixMilli(o.ms).UTC().Format("2006-01-02T15:04:05.000Z")
		key := fmt.Sprintf(`orders_by_customer {"customer":%q,"id":%q,"time":%q}`, o.customer, o.id, at)
		values := map[string]any{"product": o.product, "quantity": o.quantity, "price_cents": o.price, "customer_name": nil, "country": nil}
		if o.country != "" {
			values["customer_name"], values["country"] = o.name, o.country
		}
		rows[key] = canonical(t, values)
	}
	return rows
}

func (w *want) add(o wantOrder) {
	w.orders = append(w.orders, o)
	k := wantDay{o.product, time.UnixMilli(o.ms).UTC().Format("2006-01-02")}
	s := w.sales[k]
	if s == nil {
		s = &wantSales{countries: map[string]int64{}}
		w.sales[k] = s
	}
	s.orders++
	s.quantity += o.quantity
	s.cents += o.quantity * o.price
	country := o.country
	if country == "" {
		s.unknown++
		country = "unknown"
	}
	s.countries[country] += o.quantity * o.price
}

func canonical(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// etl runs the program and returns its lines on stdout and its stderr.
func etl(t *testing.T, args ...string) (out []string, report string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), args, stdio{&stdout, &stderr}); code != 0 {
		t.Fatalf("cassandra-etl %q: exit code %d, %s", args, code, &stderr)
	}
	return strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n"), stderr.String()
}

// rowsOf parses the rows that the program printed, and checks that they are in
// order and none is there twice.
func rowsOf(t *testing.T, lines []string) map[string]string {
	t.Helper()
	rows := map[string]string{}
	last := ""
	for _, line := range lines {
		if line == "" {
			continue
		}
		var r struct {
			Table  string
			Key    map[string]string
			Values map[string]any
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		order := r.Table + "\x00" + r.Key["product"] + r.Key["customer"] + "\x00" + r.Key["day"] + r.Key["time"] + "\x00" + r.Key["id"]
		if order <= last {
			t.Fatalf("not in order, or twice: %s", line)
		}
		last = order
		rows[r.Table+" "+canonical(t, r.Key)] = canonical(t, r.Values)
	}
	return rows
}

// wantRows compares rows, and shows the first that differ.
func wantRows(t *testing.T, got, want map[string]string) {
	t.Helper()
	shown := 0
	for _, k := range sortedKeys(want, got) {
		if g, w := got[k], want[k]; g != w && shown < 5 {
			shown++
			t.Errorf("%s:\n got %s\nwant %s", k, g, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
}

func sortedKeys(maps ...map[string]string) (keys []string) {
	all := map[string]bool{}
	for _, m := range maps {
		for k := range m {
			all[k] = true
		}
	}
	for k := range all {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
