package file

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millstream-io/millstream/connectors"
)

// rows reads CSV; a dead letter is "line N: value!reason".
func rows(t *testing.T, in io.Reader, cfg CSVConfig, maxLine int) (out []string, err error) {
	t.Helper()
	if cfg.Row == nil {
		cfg.Row = func(f []string, out *connectors.Batch) error {
			if f[0] == "refused" {
				return errors.New("said so")
			}
			Lines{}.Line([]byte(strings.Join(f, "|")), out)
			return nil
		}
	}
	s := New(Config{Path: "-", Stdin: in, Parser: NewCSV(cfg), MaxLine: maxLine})
	if err := s.Open(t.Context(), connectors.SourceContext{}, nil); err != nil {
		t.Fatal(err)
	}
	for {
		var b connectors.Batch
		err := s.Read(t.Context(), &b)
		for _, r := range b.Records() {
			line := string(r.Value)
			if r.DeadLetter != "" {
				line = fmt.Sprintf("line %s: %s!%s", r.Headers[1].Value, line, r.DeadLetter)
			}
			out = append(out, line)
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return out, err
		}
	}
}

func TestCSVRows(t *testing.T) {
	long := strings.Repeat("text, and more,\n", 5)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"rows", "a,b\n1,2\n3,4\n", []string{"1|2", "3|4"}},
		{"no newline at the end", "a,b\n1,2", []string{"1|2"}},
		{"CRLF, empty lines, a byte order mark", "\xef\xbb\xbfa,b\r\n\r\n1,2\r\n\n3,4\r\n", []string{"1|2", "3|4"}},
		{"quotes", "a,b\n\"1,\"\"x\"\"\",2\n\"\",\"y\"\n", []string{`1,"x"|2`, "|y"}},
		{"quoted newlines", "a,b\n\"1\n\n2\",3\n\"4\r\n5\",6\n7,\"\n\"", []string{"1\n\n2|3", "4\n5|6", "7|\n"}},
		{"field counts", "a,b\n1\n1,2,3\n\"x\ny\"\n1,2\n", []string{"line 2: 1!1 fields, the header has 2", "line 3: 1,2,3!3 fields, the header has 2",
			"line 4: \"x\ny\"!1 fields, the header has 2", "1|2"}},
		{"a row that Row refuses", "a,b\nrefused,2\n1,2\n", []string{"line 2: refused,2!said so", "1|2"}},
		{"a bare quote", "a,b\n1,x\"y\"\n1,2\n", []string{"line 2: 1,x\"y\"!" + errBareQuote.Error(), "1|2"}},
		{"text after a quote", "a,b\n\"1\"x,2\n1,2\n", []string{"line 2: \"1\"x,2!" + errAfter.Error(), "1|2"}},
		{"a quote never closed", "a,b\n\"1,2\n3,4\n5,6\n", []string{"line 2: \"1,2!" + errUnclosed.Error(), "3|4", "5|6"}},
		{"a quote closed by another row's", "a,b\n\"1,2\n\"3\",4\n5,6\n", []string{"line 2: \"1,2!" + errAfter.Error(), "3|4", "5|6"}},
		{"a quoted row beyond the limit", "a,b\n\"1\n" + long + "\",2\n3,4\n", []string{"line 2: " + ("\"1\n" + long)[:60] + "!" + ErrTooLong.Error() + " of 60 bytes: these are its first", "3|4"}},
		{"a quote never closed, far beyond the limit", "a,b\n\"1,2\n" + strings.Repeat("3,4\n", 100), append([]string{"line 2: \"1,2!" + errUnclosed.Error()}, slices.Repeat([]string{"3|4"}, 100)...)},
		{"a long line", "a,b\n" + strings.Repeat("x", 90) + ",2\n3,4\n", []string{"line 2: " + strings.Repeat("x", 60) + "!" + ErrTooLong.Error() + " of 60 bytes: these are its first", "3|4"}},
		{"only a header", "a,b\n", nil},
		{"empty", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, in := range map[string]io.Reader{"whole": strings.NewReader(tt.text), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.text))} {
				got, err := rows(t, in, CSVConfig{}, 60)
				if err != nil || !slices.Equal(got, tt.want) {
					t.Errorf("%s: got %q, %v; want %q", name, got, err, tt.want)
				}
			}
		})
	}
}

// A row in quotes that is longer than the buffer cannot be told from a quote that
// is never closed: its lines are read as rows, however they come in.
func TestACSVRowLongerThanTheBufferIsCutUp(t *testing.T) {
	const maxLine = 60
	lines := (readBytes+maxLine)/len("x,y\n") + 10
	text := "a,b\n\"1,2\n" + strings.Repeat("x,y\n", lines) + "\",2\n3,4\n"
	want := append([]string{fmt.Sprintf("line 2: \"1,2!%v within %d bytes: if the row is as long, raise MaxLine", errUnclosed, readBytes+maxLine)}, slices.Repeat([]string{"x|y"}, lines)...)
	want = append(want, fmt.Sprintf("line %d: \",2!%v", lines+3, errUnclosed), "3|4")
	for name, in := range map[string]io.Reader{"whole": strings.NewReader(text), "by halves": iotest.HalfReader(strings.NewReader(text))} {
		got, err := rows(t, in, CSVConfig{}, maxLine)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d rows, %v; want %d; the first is %q, the last two are %q", name, len(got), err, len(want), got[0], got[len(got)-2:])
		}
	}
	got, err := rows(t, strings.NewReader(text), CSVConfig{}, len(text))
	if err != nil || len(got) != 2 || got[1] != "3|4" {
		t.Errorf("with a longer MaxLine: %d rows, %v; want the two that there are", len(got), err)
	}
}

func TestCSVHeader(t *testing.T) {
	got, err := rows(t, strings.NewReader("c,a,x,b\n3,1,0,2\n"), CSVConfig{Columns: []string{"a", "b", "c"}}, 0)
	if err != nil || !slices.Equal(got, []string{"1|2|3"}) {
		t.Errorf("columns in another order: %q, %v", got, err)
	}
	_, err = rows(t, strings.NewReader("a,x\n1,2\n"), CSVConfig{Columns: []string{"a", "b", "c"}}, 0)
	if !errors.Is(err, ErrHeader) || !strings.Contains(err.Error(), "without b,c") {
		t.Errorf("a header without columns: %v", err)
	}
	got, err = rows(t, strings.NewReader("a;b\n1;2,3\n"), CSVConfig{Comma: ';'}, 0)
	if err != nil || !slices.Equal(got, []string{"1|2,3"}) {
		t.Errorf("semicolons: %q, %v", got, err)
	}
}

func TestEachCSVFileHasItsOwnHeaderAlsoAfterARestart(t *testing.T) {
	d := newDir(t)
	d.write("1.csv", "a,b\n1,2\n")()
	d.write("2.csv", "b,a\n2,1\n")()
	d.write("3.csv", "x,y\n2,1\n")()
	cfg := Config{Glob: d.file("*.csv"), Parser: NewCSV(CSVConfig{Columns: []string{"a", "b"}})}
	bad := "!" + ErrHeader.Error() + ": it has x,y, without a,b; the rest of the file is passed over"
	got, pos, err := readAll(t, cfg, nil)
	if want := []string{`{"a":"1","b":"2"}`, `{"b":"2","a":"1"}`, bad}; err != nil || len(got) != 3 || got[2] != want[2] {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
	for _, line := range got[:2] {
		var o map[string]string
		if err := json.Unmarshal([]byte(line), &o); err != nil || o["a"] != "1" || o["b"] != "2" {
			t.Errorf("%s: %v", line, err)
		}
	}
	d.add("2.csv", "4,3\n")()
	d.add("1.csv", "3,4\n")()
	cfg.Parser = NewCSV(CSVConfig{Columns: []string{"a", "b"}})
	got, _, err = readAll(t, cfg, pos)
	if err != nil || len(got) != 2 || got[0] != `{"a":"3","b":"4"}` || got[1] != `{"a":"3","b":"4"}` {
		t.Fatalf("after a restart: %q, %v", got, err)
	}
	if _, _, err := readAll(t, Config{Path: d.file("3.csv"), Parser: cfg.Parser}, nil); !errors.Is(err, ErrHeader) || !strings.Contains(err.Error(), "3.csv") {
		t.Errorf("one file with a wrong header: %v", err)
	}
}

func TestDeadLettersSayFileAndLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.json")
	write(t, path, "{\"a\":1}\nno\n\n{\"a\":1,\"a\":2}\n")
	parser := JSONLines(func(v map[string]int, line []byte, out *connectors.Batch) error {
		Lines{}.Line(line, out)
		return nil
	})
	s := New(Config{Path: path, Parser: parser})
	if err := s.Open(t.Context(), connectors.SourceContext{}, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b connectors.Batch
	if err := s.Read(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	r := b.Records()
	if len(r) != 3 || r[0].DeadLetter != "" || r[1].DeadLetter == "" || r[2].DeadLetter == "" {
		t.Fatalf("%d records: %+v", len(r), r)
	}
	for i, line := range map[int]string{1: "2", 2: "4"} {
		h := r[i].Headers
		if len(h) != 2 || h[0].Key != HeaderFile || string(h[0].Value) != path || h[1].Key != HeaderLine || string(h[1].Value) != line {
			t.Errorf("dead letter %d: headers %q", i, h)
		}
	}
}

// FuzzCSV holds the splitter against encoding/csv: what is well-formed for both
// gives the same fields, and no input loses bytes or hangs.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\"x\ny\",\"\"\"\"\r\n", "a\"b\n\"c", ",,\n\"a\"b,c\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := NewCSV(CSVConfig{})
		var got [][]string
		wellFormed := true
		for data := []byte(text); len(data) > 0; {
			n, take, bad := c.Split(data, true)
			if take <= 0 || take > len(data) || n > take {
				t.Fatalf("%q: length %d, take %d of %d", data, n, take, len(data))
			}
			if bad != nil {
				wellFormed = false
			} else if line := bytes.TrimRight(data[:n], "\r"); len(line) > 0 {
				fields, err := c.parse(line)
				if err != nil {
					t.Fatalf("%q was split off as a row: %v", line, err)
				}
				got = append(got, slices.Clone(fields))
			}
			data = data[take:]
		}
		if strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\r") {
			return // the two differ on a CR that ends no line
		}
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord = -1
		want, err := r.ReadAll()
		if (err == nil) != wellFormed {
			t.Fatalf("%q: encoding/csv says %v, the splitter that it is well-formed: %v", text, err, wellFormed)
		}
		if err == nil && !slices.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Fatalf("%q: got %q, want %q", text, got, want)
		}
	})
}

func TestANullLineIsNoZeroValue(t *testing.T) {
	var b connectors.Batch
	rows := 0
	JSONLines(func(struct{ A int }, []byte, *connectors.Batch) error { rows++; return nil }).Line([]byte(" null "), &b)
	if rows != 0 || b.Len() != 1 || b.Records()[0].DeadLetter == "" {
		t.Errorf("a struct: expected a dead letter, found %d rows and %+v", rows, b.Records())
	}
	JSONLines(func(p *int, _ []byte, _ *connectors.Batch) error { rows++; return nil }).Line([]byte("null"), &b)
	if rows != 1 {
		t.Errorf("a pointer: expected its null, found %d rows", rows)
	}
}
