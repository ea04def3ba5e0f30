package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millstream-io/millstream/connectors"
)

// counting is a parser whose state is the number of lines it has seen.
type counting struct{ n int }

func (c *counting) Line(line []byte, out *connectors.Batch) { c.n++; Lines{}.Line(line, out) }
func (c *counting) State() []byte                           { return fmt.Append(nil, c.n) }
func (c *counting) Restore(b []byte) error                  { _, err := fmt.Sscan(string(b), &c.n); return err }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// readAll reads to the end of the file; dead letters carry a "!" and their reason.
func readAll(t *testing.T, cfg Config, pos []byte) (lines []string, next []byte, err error) {
	t.Helper()
	s := New(cfg)
	if err := s.Open(t.Context(), connectors.SourceContext{}, pos); err != nil {
		return nil, nil, err
	}
	defer s.Close()
	for {
		var b connectors.Batch
		err := s.Read(t.Context(), &b)
		for _, r := range b.Records() {
			line := string(r.Value)
			if r.DeadLetter != "" {
				line += "!" + r.DeadLetter
			}
			lines = append(lines, line)
		}
		if err == io.EOF {
			return lines, s.Position(), nil
		}
		if err != nil {
			return lines, nil, err
		}
	}
}

func TestLinesOfAFile(t *testing.T) {
	const tooLong = "!the line is longer than the limit of 40 bytes: these are its first"
	x := strings.Repeat("x", 100)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"lines", "a\nb\r\n\nc\n", []string{"a", "b", "", "c"}},
		{"without newline at the end", "a\nb", []string{"a", "b"}},
		{"too long", x + "\nb\n", []string{x[:40] + tooLong, "b"}},
		{"too long by one", x[:41] + "\nb\n", []string{x[:41][:40] + tooLong, "b"}},
		{"at the limit", x[:40] + "\nb\n", []string{x[:40], "b"}},
		{"too long at the end", "a\n" + x, []string{"a", x[:40] + tooLong}},
		{"far too long", strings.Repeat(x, 10_000) + "\nb\n", []string{x[:40] + tooLong, "b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "in")
			write(t, path, tt.text)
			got, _, err := readAll(t, Config{Path: path, MaxLine: 40}, nil)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("file: got %q, %v; want %q", got, err, tt.want)
			}
			if len(tt.text) > 1000 {
				return
			}
			in := iotest.OneByteReader(strings.NewReader(tt.text))
			got, pos, err := readAll(t, Config{Path: "-", Stdin: in, MaxLine: 40}, nil)
			if err != nil || pos != nil || !slices.Equal(got, tt.want) {
				t.Errorf("standard input, byte by byte: got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestAGrownFileGoesOn(t *testing.T) {
	big := strings.Repeat("0123456789\n", 200)
	tests := []struct {
		name, before, after string
		want                []string
	}{
		{"nothing new", "a\nb\n", "a\nb\n", nil},
		{"lines", "a\nb\n", "a\nb\nc\n", []string{"c"}},
		{"from empty", "", "a\n", []string{"a"}},
		{"beyond the first KiB", big, big + "c\n", []string{"c"}},
		{"only the newline was missing", "a\nb", "a\nb\nc\n", []string{"c"}},
		{"only CR and LF were missing", "a\nb", "a\nb\r\nc\n", []string{"c"}},
		{"still without newline", "a\nb", "a\nb", nil},
		{"the line itself goes on", "a\nb", "a\nbcd\ne\n", []string{"cd!" + ErrLateRest.Error(), "e"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "in")
			write(t, path, tt.before)
			first, pos, err := readAll(t, Config{Path: path, Parser: &counting{}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, tt.after)
			parser := &counting{}
			got, _, err := readAll(t, Config{Path: path, Parser: parser}, pos)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			good := slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, "!") })
			if parser.n != len(first)+len(good) {
				t.Errorf("the parser's state says %d lines, want %d and %d", parser.n, len(first), len(good))
			}
		})
	}
}

func TestPositionsResumeAfterEveryRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in")
	var text strings.Builder
	var want []string
	for i := range 60_000 {
		want = append(want, fmt.Sprintf("line %d %s", i, strings.Repeat("y", i%37)))
		fmt.Fprintln(&text, want[i])
	}
	write(t, path, text.String())
	var got []string
	var pos []byte
	for runs := 0; ; runs++ { // a new source after every read
		s := New(Config{Path: path})
		if err := s.Open(t.Context(), connectors.SourceContext{}, pos); err != nil {
			t.Fatal(err)
		}
		var b connectors.Batch
		err := s.Read(t.Context(), &b)
		for _, r := range b.Records() {
			got = append(got, string(r.Value))
		}
		pos = s.Position()
		s.Close()
		if err == io.EOF {
			if runs < 5 {
				t.Fatalf("only %d reads", runs)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
}

func TestAnotherFileIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in")
	write(t, path, "aaaa\nbbbb\n")
	_, pos, err := readAll(t, Config{Path: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		pos        []byte
		want       error
		says       string
	}{
		{"shorter", "aaaa\n", pos, ErrShorter, "5 bytes, 10 were read"},
		{"another head", "aaab\nbbbb\ncccc\n", pos, ErrOtherHead, "another directory"},
		{"another version", "aaaa\nbbbb\n", append([]byte{9}, pos[1:]...), nil, "version 9"},
		{"cut position", "aaaa\nbbbb\n", pos[:5], nil, "damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			write(t, path, tt.text)
			_, _, err := readAll(t, Config{Path: path}, tt.pos)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v, want %v with the path and %q", err, tt.want, tt.says)
			}
		})
	}
}

func TestOpenErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "missing"), dir} {
		if _, _, err := readAll(t, Config{Path: path}, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if _, _, err := readAll(t, Config{Path: "-", Stdin: strings.NewReader("")}, []byte("x")); err == nil {
		t.Error("standard input was resumed")
	}
}

func TestErrorsOfTheInputAreReturned(t *testing.T) {
	in := io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(errors.New("disk on fire")))
	got, _, err := readAll(t, Config{Path: "-", Stdin: in}, nil)
	if len(got) != 1 || err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Fatalf("got %q, %v", got, err)
	}
}

func FuzzPosition(f *testing.F) {
	t1 := &tracked{place: position{path: "a.log", head: 5, offset: 77, lines: 3, unterminated: true, state: []byte("state")}}
	t2 := &tracked{place: position{path: "b.gz", tooLong: true, complete: true, gaveUp: true}}
	f.Add(appendPositions(nil, []*tracked{t1, t2}))
	f.Add(version1(position{head: 5, offset: 77, unterminated: true, state: []byte("state")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		places, err := parsePositions(b)
		if err != nil {
			return
		}
		var files []*tracked
		for _, p := range places {
			files = append(files, &tracked{place: p})
		}
		again, err := parsePositions(appendPositions(nil, files))
		if err != nil || len(again) != len(places) {
			t.Fatalf("%x: %v, %d files became %d", b, err, len(places), len(again))
		}
		for i := range again {
			a, b := again[i], places[i]
			if a.path != b.path || a.flags() != b.flags() || a.head != b.head || a.hash != b.hash || a.offset != b.offset || a.lines != b.lines || string(a.state) != string(b.state) {
				t.Fatalf("%+v became %+v", b, a)
			}
		}
	})
}

// version1 is what earlier versions wrote.
func version1(p position) []byte {
	b := append([]byte{1, p.flags()}, byte(p.head>>8), byte(p.head))
	b = append(b, p.hash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.offset))
	return append(b, p.state...)
}
