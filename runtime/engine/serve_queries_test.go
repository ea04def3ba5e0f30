package engine_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// visits is a value that is JSON.
type visits struct {
	Lines int64  `json:"lines"`
	Last  string `json:"last"`
}

// hostID is a key that is a number.
type hostID int32

// queried counts lines by host, by host and window, and by number.
func queried(t testing.TB) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("queried")
	lines := b.From[string, string]("lines")
	by := lines.GroupBy(func(_, v string) string { host, _, _ := strings.Cut(v, " "); return host })
	by.Aggregate(func() visits { return visits{} }, func(_ string, v string, a visits) visits {
		return visits{a.Lines + 1, max(a.Last, v)}
	}, streams.Store("hosts"))
	by.Windowed(streams.Tumbling(5 * time.Second).Retention(24 * time.Hour)).Count(streams.Store("windows"))
	lines.GroupBy(func(_, v string) hostID { return hostID(len(v)) }, streams.Named("by-length")).
		Count(streams.Store("lengths"))
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// answered is an answer to a request.
type answered struct {
	code               int
	Store, Error, Next string
	Key, Value         json.RawMessage
	Window             *struct{ Start, End time.Time }
	Entries            []struct {
		Key, Value json.RawMessage
		Window     *struct{ Start, End time.Time }
	}
	Tasks []struct {
		Task, Instance string
		StreamTimeMS   *int64 `json:"stream_time_ms"`
		Positions      []engine.InputOffset
	}
	header http.Header
	body   string
}

func askHTTP(t testing.TB, base, path string, params ...string) (a answered) {
	t.Helper()
	q := url.Values{}
	for i := 0; i < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	resp, err := http.Get(base + path + "?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		t.Fatalf("GET %s %q: %v: %s", path, params, err, b)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("GET %s: %s", path, kind)
	}
	a.code, a.header, a.body = resp.StatusCode, resp.Header, string(b)
	return a
}

func TestQueriesOverHTTP(t *testing.T) {
	in := lines(600, 3)
	want, windows, lengths := map[string]int64{}, map[string]int64{}, map[int]int64{}
	for _, l := range in {
		host, _, _ := strings.Cut(l.text, " ")
		want[host]++
		windows[fmt.Sprint(host, "@", l.at-l.at%5000)]++
		lengths[len(l.text)]++
	}
	e := run(t, newWorld(), queried(t), config(in, 3, 2))
	s := httptest.NewServer(e.StoresHandler())
	defer s.Close()

	for host, n := range want {
		a := askHTTP(t, s.URL, "/stores/hosts/get", "key", host)
		var v visits
		if err := json.Unmarshal(a.Value, &v); err != nil || a.code != 200 || v.Lines != n || string(a.Key) != fmt.Sprintf("%q", host) {
			t.Errorf("%s: %d %s, want %d lines", host, a.code, a.body, n)
		}
		if len(a.Tasks) != 1 || len(a.Tasks[0].Positions) != 1 || a.Tasks[0].Positions[0].Offset == 0 || a.Tasks[0].StreamTimeMS == nil {
			t.Errorf("%s: answered by %+v, want one task with its position and time", host, a.Tasks)
		}
		b := askHTTP(t, s.URL, "/stores/hosts/get", "key_base64", base64.URLEncoding.EncodeToString([]byte(host)))
		if string(b.Value) != string(a.Value) {
			t.Errorf("by the key's bytes %s, by its text %s", b.body, a.body)
		}
	}
	for length, n := range lengths {
		if a := askHTTP(t, s.URL, "/stores/lengths/get", "key", fmt.Sprint(length)); string(a.Value) != fmt.Sprint(n) || string(a.Key) != fmt.Sprint(length) {
			t.Errorf("length %d: %s, want %d", length, a.body, n)
		}
	}
	got := map[string]int64{}
	for _, entry := range askHTTP(t, s.URL, "/stores/windows/all", "limit", "10000").Entries {
		var host string
		var n int64
		json.Unmarshal(entry.Key, &host)
		json.Unmarshal(entry.Value, &n)
		got[fmt.Sprint(host, "@", entry.Window.Start.UnixMilli())] = n
		if entry.Window.End.Sub(entry.Window.Start) != 5*time.Second {
			t.Errorf("a window from %v to %v", entry.Window.Start, entry.Window.End)
		}
		at := entry.Window.Start.Add(1234 * time.Millisecond)
		if a := askHTTP(t, s.URL, "/stores/windows/get", "key", host, "time", at.Format(time.RFC3339Nano)); string(a.Value) != fmt.Sprint(n) {
			t.Errorf("%s at %v: %s, want %d", host, at, a.body, n)
		}
		f := askHTTP(t, s.URL, "/stores/windows/fetch", "key", host, "from", fmt.Sprint(entry.Window.Start.UnixMilli()), "to", entry.Window.End.Format(time.RFC3339))
		if len(f.Entries) != 1 || string(f.Entries[0].Value) != fmt.Sprint(n) || string(f.Entries[0].Key) != fmt.Sprintf("%q", host) {
			t.Errorf("fetch %s from %v: %s, want %d", host, entry.Window.Start, f.body, n)
		}
	}
	same(t, got, windows)
}

// Page by page, an answer is the same as in one piece, and bounded by its limit.
func TestLongAnswersContinue(t *testing.T) {
	in := lines(600, 3)
	e := run(t, newWorld(), queried(t), config(in, 3, 2))
	s := httptest.NewServer(e.StoresHandler())
	defer s.Close()
	for _, path := range []string{"/stores/windows/all", "/stores/hosts/range", "/stores/hosts/all"} {
		whole := askHTTP(t, s.URL, path, "limit", "100000")
		if whole.Next != "" || len(whole.Entries) < 4 || whole.code != 200 {
			t.Fatalf("%s: %d entries, next %q", path, len(whole.Entries), whole.Next)
		}
		var parts []string
		next, pages := "", 0
		for more := true; more; more = next != "" {
			page := askHTTP(t, s.URL, path, "limit", "3", "next", next)
			if len(page.Entries) > 3 || (len(page.Entries) < 3 && page.Next != "") {
				t.Errorf("%s: a page of %d with next %q", path, len(page.Entries), page.Next)
			}
			for _, entry := range page.Entries {
				parts = append(parts, fmt.Sprintf("%s %s", entry.Key, entry.Value))
			}
			next = page.Next
			pages++
		}
		if len(parts) != len(whole.Entries) || pages != (len(parts)+2)/3 {
			t.Fatalf("%s: %d entries in %d pages, %d in one piece", path, len(parts), pages, len(whole.Entries))
		}
		for i, entry := range whole.Entries {
			if parts[i] != fmt.Sprintf("%s %s", entry.Key, entry.Value) {
				t.Errorf("%s: entry %d is %s in pages, %s in one piece", path, i, parts[i], entry.Key)
			}
		}
	}
	a := askHTTP(t, s.URL, "/stores/hosts/range", "from", "h", "to", "host-2")
	for _, entry := range a.Entries {
		if k := string(entry.Key); k < `"h` || k >= `"host-2"` {
			t.Errorf("key %s is out of range", k)
		}
	}
}

func TestMistakesOverHTTPAreNamed(t *testing.T) {
	w := newWorld()
	e := run(t, w, queried(t), config(lines(50, 3), 3, 2))
	s := httptest.NewServer(e.StoresHandler())
	defer s.Close()
	for _, c := range []struct {
		path string
		code int
		says string
	}{
		{"/stores/host/get?key=a", 404, "there are hosts, lengths, windows"},
		{"/stores/hosts/get?key=nobody", 404, "no such key"},
		{"/stores/hosts/get", 400, "expected string"},
		{"/stores/lengths/get?key=many", 400, "expected engine_test.hostID, which is int32"},
		{"/stores/lengths/get?key=99999999999", 400, "out of range"},
		{"/stores/lengths/get?key_base64=!", 400, "key_base64"},
		{"/stores/hosts/get?key=a&key_base64=YQ", 400, "expected one of them"},
		{"/stores/hosts/get?kye=a", 400, `parameter "kye", expected key, key_base64`},
		{"/stores/hosts/get?key=a&key=b", 400, "2 times"},
		{"/stores/hosts/get?key=a&time=1", 400, `parameter "time"`},
		{"/stores/windows/get?key=a", 400, "time is missing"},
		{"/stores/windows/get?key=a&time=noon", 400, "expected a time such as"},
		{"/stores/windows/range", 400, "fetch"},
		{"/stores/hosts/fetch?key=a", 400, "has no windows"},
		{"/stores/hosts/all?limit=0", 400, "expected 1 to 100000"},
		{"/stores/hosts/all?limit=1000000", 400, "expected 1 to 100000"},
		{"/stores/hosts/all?next=xx", 400, "next"},
		{"/stores/hosts/put?key=a", 404, "get, range, fetch or all"},
		{"/storage", 404, "/stores"},
	} {
		path, query, _ := strings.Cut(c.path, "?")
		var params []string
		for _, p := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' }) {
			k, v, _ := strings.Cut(p, "=")
			params = append(params, k, v)
		}
		if a := askHTTP(t, s.URL, path, params...); a.code != c.code || !strings.Contains(a.Error, c.says) {
			t.Errorf("GET %s: %d %s, want %d with %q", c.path, a.code, a.body, c.code, c.says)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if a := askHTTP(t, s.URL, "/stores/hosts/get", "key", "a"); a.code != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("of a closed engine: %d %s", a.code, a.body)
	}
}

// What there is can be listed.
func TestStoresAreListedOverHTTP(t *testing.T) {
	e := run(t, newWorld(), queried(t), config(lines(50, 3), 3, 2))
	s := httptest.NewServer(e.StoresHandler())
	defer s.Close()
	resp, err := http.Get(s.URL + "/stores")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all struct {
		Application string
		Stores      []struct {
			Name, Kind string
			Key, Value struct{ Type, Serde string }
			Windows    *struct {
				SizeMS int64 `json:"size_ms"`
			}
			Tasks []struct{ ID, State string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, st := range all.Stores {
		got = append(got, fmt.Sprint(st.Name, " ", st.Kind, " ", st.Key.Type, " ", st.Value.Type, " ", st.Windows != nil, " ", len(st.Tasks), st.Tasks[0].State))
	}
	want := "hosts key-value string engine_test.visits false 3here, windows window string int64 true 3here, lengths key-value engine_test.hostID int64 false 3here"
	if all.Application != "queried" || strings.Join(got, ", ") != want {
		t.Errorf("%s: %s\nwant %s", all.Application, strings.Join(got, ", "), want)
	}
}
