package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors/syslog"
)

func TestTheSourceIsTheWordAfterTheLastFrom(t *testing.T) {
	tests := []struct{ line, source, user string }{
		{"Invalid user bob from 1.2.3.4", "1.2.3.4", "bob"},
		{"Invalid user bob from 1.2.3.4 port 22", "1.2.3.4", "bob"},
		{"Invalid user from from 1.2.3.4", "1.2.3.4", "from"},
		{"Invalid user a from b from 1.2.3.4", "1.2.3.4", "a"},
		{"Failed password for invalid user x from 1.2.3.4 port 1 ssh2", "1.2.3.4", "x"},
		{"Invalid user bob from  1.2.3.4", "1.2.3.4", "bob"},
		{"Invalid user bob from ", "", "bob"},
		{"Invalid user bob", "", "bob"},
		{"Invalid user  from 1.2.3.4", "1.2.3.4", ""},
		{"from 1.2.3.4", "", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		line := []byte(tt.line)
		if s, u := sourceOf(line), userOf(line); string(s) != tt.source || string(u) != tt.user {
			t.Errorf("%q: source %q, user %q; want %q, %q", tt.line, s, u, tt.source, tt.user)
		}
	}
}

func TestAttemptsKeepBoundedSetsAndSurviveEncoding(t *testing.T) {
	a := newAttempts()
	for i := range 100 {
		line := fmt.Sprintf("Invalid user user%d from 10.0.0.%d", i%3, i)
		a = addAttempt("", syslog.NewMessage([]byte(line)), a)
	}
	if a.Count != 100 || len(a.Users) != 3 || len(a.Addresses) != maxNames {
		t.Fatalf("%+v", a)
	}
	for _, want := range []Attempts{a, {}, {Count: 1 << 40, Users: []string{""}}} {
		b, err := attemptsSerde{}.Append([]byte("x"), want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := attemptsSerde{}.Decode(b[1:])
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
		for n := 1; n < len(b); n++ {
			if _, err := (attemptsSerde{}).Decode(b[1:n]); err == nil {
				t.Errorf("%d of %d bytes decode", n-1, len(b)-1)
			}
		}
	}
	own := attemptsSerde{}.Own(a)
	a.Users[0] = "changed"
	if own.Users[0] != "user0" {
		t.Error("Own shares its lists")
	}
}

func FuzzAttempts(f *testing.F) {
	b, _ := attemptsSerde{}.Append(nil, Attempts{Count: 7, Users: []string{"a"}, Addresses: []string{"b", "c"}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := attemptsSerde{}.Decode(b)
		if err != nil {
			return
		}
		again, _ := attemptsSerde{}.Append(nil, a)
		if got, err := (attemptsSerde{}).Decode(again); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("%+v became %+v, %v", a, got, err)
		}
	})
}

func anAlert() Alert {
	start := time.Date(2015, 12, 10, 7, 13, 0, 0, time.UTC)
	return Alert{Kind: "final", WindowStart: start, WindowEnd: start.Add(time.Minute), Key: "LabSZ", Count: 7,
		Users: []string{"admin", "\x1b[31mroot"}, Addresses: []string{"1.2.3.4"}}
}

func TestAlertsAsJSON(t *testing.T) {
	a := anAlert()
	const want = `{"kind":"final","window_start":"2015-12-10T07:13:00Z","window_end":"2015-12-10T07:14:00Z","key":"LabSZ","count":7}` + "\n"
	if got := string(appendJSON([]byte("-"), a)); got != "-"+want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	a.Key = "<a&b>"
	if got := string(appendJSON(nil, a)); !strings.Contains(got, `"key":"<a&b>"`) {
		t.Errorf("got %s", got)
	}
}

func TestAlertsForPeople(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	got := string(appendText(nil, anAlert(), config{match: "Invalid user", window: time.Minute, by: "host", tz: berlin}))
	const want = "2015-12-10 08:13:00  LabSZ              7 x \"Invalid user\" in 1m0s  users admin, ?[31mroot  from 1.2.3.4\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestSorterOrdersMoreThanItKeeps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, limit := range []int{1 << 30, 5000, 1} {
		dir := t.TempDir()
		s := sorter{dir: dir, limit: limit}
		var all []sortable
		for i := range 500 {
			l := sortable{start: rng.Int64N(20) - 10, key: fmt.Sprint("k", rng.IntN(5)), line: fmt.Sprintln("line", i)}
			all = append(all, l)
			if err := s.add(l); err != nil {
				t.Fatal(err)
			}
		}
		if limit == 5000 && len(s.runs) < 2 {
			t.Fatalf("%d files: the test does not test", len(s.runs))
		}
		slices.SortStableFunc(all, func(a, b sortable) int {
			return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.key, b.key))
		})
		var want strings.Builder
		for _, l := range all {
			want.WriteString(l.line)
		}
		var got bytes.Buffer
		if err := s.write(&got); err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Errorf("limit %d: wrong order", limit)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("limit %d: %d files are left", limit, len(left))
		}
	}
}

func TestQuantiles(t *testing.T) {
	var l latencies
	if l.quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	for i := range 100 {
		l.times = append(l.times, time.Duration(100-i))
	}
	if p50, p99 := l.quantile(0.50), l.quantile(0.99); p50 != 51 || p99 != 100 {
		t.Errorf("p50 %d, p99 %d", p50, p99)
	}
}

func TestEveryGeneratedLineParses(t *testing.T) {
	p := syslog.NewParser(syslog.ParserConfig{Years: syslog.FixedYear, Year: 2026})
	s := &sender{rng: rand.New(rand.NewPCG(3, 4)), stamp: "Nov 21 12:00:00"}
	now := time.Now()
	matching := 0
	for range 20_000 {
		line := s.appendLine(nil, now)
		now = now.Add(time.Millisecond / 3)
		if got, err := p.Parse(line, now); err != nil || len(got.Host) == 0 {
			t.Fatalf("%q: %v", line, err)
		}
		if bytes.Contains(line, []byte("Invalid user")) {
			matching++
		}
	}
	if matching < 20 || matching > 2000 {
		t.Errorf("%d of 20,000 lines match", matching)
	}
}

func TestTopologies(t *testing.T) {
	for _, by := range []string{"host", "source"} {
		for _, emit := range []string{"breach", "final"} {
			c := config{by: by, emit: emit, match: "Invalid user", window: time.Minute, grace: time.Second, threshold: 5, partitions: 4}
			topo, err := buildTopology(c)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "topology-"+by+"-"+emit+".txt", topo.Describe())
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write what the goldens in testdata give now")

// golden compares with a file of testdata; -rewrite writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -rewrite writes it)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}
