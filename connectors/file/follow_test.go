package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/millstream-io/millstream/connectors"
)

// follower follows files in a test: each step happens when the source has read
// everything and waits; there is no other clock.
type follower struct {
	t     *testing.T
	cfg   Config
	lines []string
	pos   []byte
}

var errEnd = errors.New("end of the test's steps")

// run opens the source, does the steps one by one whenever it waits, lets it look
// `looks` more times, and closes it.
func (f *follower) run(looks int, steps ...func()) {
	f.t.Helper()
	f.cfg.Tail = true
	s := New(f.cfg)
	s.wait = func(context.Context, time.Duration) error {
		if len(steps) > 0 {
			steps[0]()
			steps = steps[1:]
			return nil
		}
		if looks--; looks < 0 {
			return errEnd
		}
		return nil
	}
	if err := s.Open(f.t.Context(), connectors.SourceContext{}, f.pos); err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	for {
		var b connectors.Batch
		err := s.Read(f.t.Context(), &b)
		for _, r := range b.Records() {
			line := string(r.Value)
			if r.DeadLetter != "" {
				line += "!" + r.DeadLetter
			}
			f.lines = append(f.lines, line)
		}
		f.pos = bytes.Clone(s.Position())
		if errors.Is(err, errEnd) {
			return
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *follower) want(lines ...string) {
	f.t.Helper()
	if !slices.Equal(f.lines, lines) {
		f.t.Errorf("got %q\nwant %q", f.lines, lines)
	}
}

// dir is a directory with what happens to files in it.
type dir struct {
	t    *testing.T
	path string
}

func newDir(t *testing.T) dir { return dir{t, t.TempDir()} }

func (d dir) file(name string) string { return filepath.Join(d.path, name) }

func (d dir) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d dir) write(name, text string) func() {
	return func() { d.must(os.WriteFile(d.file(name), []byte(text), 0o600)) }
}

func (d dir) add(name, text string) func() {
	return func() {
		f, err := os.OpenFile(d.file(name), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		d.must(err)
		_, err = f.WriteString(text)
		d.must(errors.Join(err, f.Close()))
	}
}

func (d dir) rename(from, to string) func() {
	return func() { d.must(os.Rename(d.file(from), d.file(to))) }
}
func (d dir) remove(name string) func() { return func() { d.must(os.Remove(d.file(name))) } }

func (d dir) copy(from, to string) func() {
	return func() {
		b, err := os.ReadFile(d.file(from))
		d.must(err)
		d.write(to, string(b))()
	}
}

func (d dir) truncate(name string) func() { return func() { d.must(os.Truncate(d.file(name), 0)) } }

func (d dir) gzip(name string) func() {
	return func() {
		b, err := os.ReadFile(d.file(name))
		d.must(err)
		d.write(name+".gz", string(gzipped(d.t, b)))()
		d.remove(name)()
	}
}

func all(steps ...func()) func() {
	return func() {
		for _, s := range steps {
			s()
		}
	}
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// TestAFollowedFileSurvivesRotation tells every way a log file is rotated, while
// the source looks on, and while it is away.
func TestAFollowedFileSurvivesRotation(t *testing.T) {
	long := strings.Repeat("a line as long as they are\n", 60) // beyond the head
	lines := func(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }
	for _, first := range []string{"one\ntwo\n", long} {
		tests := []struct {
			name string
			step func(d dir) func()
			want []string // after those of first
		}{
			{"grown", func(d dir) func() { return d.add("log", "three\n") }, []string{"three"}},
			{"renamed", func(d dir) func() {
				return all(d.add("log", "three\n"), d.rename("log", "log.1"), d.write("log", "four\n"))
			}, []string{"three", "four"}},
			{"renamed and compressed", func(d dir) func() {
				return all(d.add("log", "three\n"), d.rename("log", "log.1"), d.gzip("log.1"), d.write("log", "four\n"))
			}, []string{"three", "four"}},
			{"renamed with a date", func(d dir) func() {
				return all(d.add("log", "three\n"), d.rename("log", "log-20261121"), d.write("log", "four\n"))
			}, []string{"three", "four"}},
			{"renamed, the new one not there yet", func(d dir) func() {
				return all(d.add("log", "three\n"), d.rename("log", "log.1"))
			}, []string{"three"}},
			{"copied and truncated", func(d dir) func() {
				return all(d.add("log", "three\n"), d.copy("log", "log.1"), d.truncate("log"), d.add("log", "four\n"))
			}, []string{"three", "four"}},
			{"without a newline at its end", func(d dir) func() {
				return all(d.add("log", "three"), d.rename("log", "log.1"), d.write("log", "four\n"))
			}, []string{"three", "four"}},
			{"replaced by the same and more", func(d dir) func() {
				return all(d.write("new", first+"three\n"), d.rename("new", "log"))
			}, []string{"three"}},
		}
		for _, tt := range tests {
			name := fmt.Sprintf("%s, %d bytes", tt.name, len(first))
			t.Run(name+", while it looks on", func(t *testing.T) {
				d := newDir(t)
				d.write("log", first)()
				f := follower{t: t, cfg: Config{Path: d.file("log")}}
				f.run(6, tt.step(d))
				f.want(append(lines(first), tt.want...)...)
			})
			t.Run(name+", while it is away", func(t *testing.T) {
				d := newDir(t)
				d.write("log", first)()
				f := follower{t: t, cfg: Config{Path: d.file("log")}}
				f.run(0)
				tt.step(d)()
				f.run(6)
				f.want(append(lines(first), tt.want...)...)
				f.run(6) // and nothing twice
				f.want(append(lines(first), tt.want...)...)
			})
		}
	}
}

func TestFilesRotatedAwayWhileNobodyLookedAreRead(t *testing.T) {
	d := newDir(t)
	d.write("log", "one\n")()
	f := follower{t: t, cfg: Config{Path: d.file("log")}}
	f.run(0)
	old := time.Now().Add(-time.Hour)
	for i, text := range []string{"one\ntwo\n", "three\n", "four\n"} { // log.3 is the oldest
		name := fmt.Sprintf("log.%d", 3-i)
		d.write(name, text)()
		d.must(os.Chtimes(d.file(name), old, old.Add(time.Duration(i)*time.Minute)))
	}
	d.gzip("log.3")()
	d.must(os.Chtimes(d.file("log.3.gz"), old, old))
	d.write("log", "five\n")()
	d.write("log.lock", "not a log\n")()
	f.run(8)
	f.want("one", "two", "three", "four", "five")
}

func TestWhatIsWrittenToARenamedFileIsRead(t *testing.T) {
	d := newDir(t)
	d.write("log", "one\n")()
	d.must(os.Mkdir(d.file("old"), 0o700))
	f := follower{t: t, cfg: Config{Path: d.file("log")}}
	f.run(6, d.rename("log", "old/log"), d.add("old/log", "two\n"), all(d.add("old/log", "three\n"), d.write("log", "four\n")))
	f.want("one", "two", "three", "four")
}

func TestATruncatedFileIsReadFromItsStart(t *testing.T) {
	d := newDir(t)
	d.write("log", "one\ntwo\n")()
	f := follower{t: t, cfg: Config{Path: d.file("log")}}
	f.run(4, all(d.truncate("log"), d.add("log", "new\n")))
	f.want("one", "two", "new")
}

func TestAFollowedFileIsWaitedFor(t *testing.T) {
	d := newDir(t)
	f := follower{t: t, cfg: Config{Path: d.file("log")}}
	f.run(2, func() {}, d.write("log", "one\n"))
	f.want("one")
}

func TestAPartialLineWaitsForItsEnd(t *testing.T) {
	d := newDir(t)
	d.write("log", "one\ntw")()
	cfg := Config{Path: d.file("log"), Poll: time.Second, PartialAfter: 5 * time.Second}
	f := follower{t: t, cfg: cfg}
	f.run(1, func() {}, func() {}, func() {})
	f.want("one") // 4 looks: it has not stood for 5 seconds yet
	f.run(1, d.add("log", "o\nthree"))
	f.want("one", "two")
	f.run(8)
	f.want("one", "two", "three") // it stood long enough
	f.run(1, d.add("log", "\nfour\n"))
	f.want("one", "two", "three", "four")
	f.run(8, d.add("log", "fi"), func() {}, func() {}, func() {}, func() {}, func() {}, func() {}, func() {}, d.add("log", "ve\n"))
	f.want("one", "two", "three", "four", "fi", "ve!"+ErrLateRest.Error())
}

func TestAGlobReadsItsFilesInOrderAndFindsNewOnes(t *testing.T) {
	d := newDir(t)
	d.write("b.log", "b1\nb2\n")()
	d.write("a.log", "a1\n")()
	d.write("c.txt", "not this\n")()
	d.must(os.Mkdir(d.file("x.log"), 0o700))
	got, pos, err := readAll(t, Config{Glob: d.file("*.log")}, nil)
	if err != nil || !slices.Equal(got, []string{"a1", "b1", "b2"}) {
		t.Fatalf("got %q, %v", got, err)
	}
	d.add("b.log", "b3\n")()
	d.write("aa.log", "aa1")()
	d.rename("a.log", "z.log")()
	got, pos, err = readAll(t, Config{Glob: d.file("*.log")}, pos)
	if err != nil || !slices.Equal(got, []string{"aa1", "b3"}) {
		t.Fatalf("grown: got %q, %v", got, err)
	}
	if got, _, err = readAll(t, Config{Glob: d.file("*.log")}, pos); err != nil || len(got) > 0 {
		t.Fatalf("nothing new: got %q, %v", got, err)
	}
	f := follower{t: t, cfg: Config{Glob: d.file("*.log")}, pos: pos}
	f.run(4, d.write("n.log", "n1\n"), d.add("z.log", "z2\n"), d.remove("b.log"), d.write("b.log", "another b\n"))
	f.want("n1", "z2", "another b")
}

func TestAGlobOverRotatedFilesReadsEachLineOnce(t *testing.T) {
	d := newDir(t)
	long := strings.Repeat("x", 1200) + "\n"
	d.write("log", "0"+long)()
	f := follower{t: t, cfg: Config{Glob: d.file("log*")}}
	want := []string{"0" + strings.TrimSpace(long)}
	var steps []func()
	for i := 1; i <= 4; i++ {
		text := fmt.Sprint(i) + long
		want = append(want, strings.TrimSpace(text))
		if i%2 == 1 { // rename, then compress
			steps = append(steps, all(d.rename("log", fmt.Sprintf("log.%d", 9-i)), d.write("log", text)), func() {}, d.gzip(fmt.Sprintf("log.%d", 9-i)))
		} else { // copytruncate
			steps = append(steps, d.copy("log", fmt.Sprintf("log.%d", 9-i)), all(d.truncate("log"), d.add("log", text)))
		}
	}
	f.run(6, steps...)
	f.want(want...)
	f.run(3)
	f.want(want...)
}

func TestCompressedFiles(t *testing.T) {
	var text strings.Builder
	var want []string
	for i := range 40_000 {
		want = append(want, fmt.Sprintf("line %d %s", i, strings.Repeat("z", i%31)))
		fmt.Fprintln(&text, want[i])
	}
	pack := map[string]func([]byte) []byte{
		"gzip": func(b []byte) []byte { return gzipped(t, b) },
		"zstd": func(b []byte) []byte { return zstded(t, b) },
	}
	for name, pack := range pack {
		t.Run(name, func(t *testing.T) {
			d := newDir(t)
			half := text.Len() / 2
			packed := append(pack([]byte(text.String()[:half])), pack([]byte(text.String()[half:]))...) // two members
			d.write("in", string(packed))()
			cfg := Config{Path: d.file("in")}
			var got []string
			var pos []byte
			for { // a new source after every read
				s := New(cfg)
				d.must(s.Open(t.Context(), connectors.SourceContext{}, pos))
				var b connectors.Batch
				err := s.Read(t.Context(), &b)
				for _, r := range b.Records() {
					got = append(got, string(r.Value))
				}
				pos = bytes.Clone(s.Position())
				done, total := s.Progress()
				d.must(s.Close())
				if err == io.EOF {
					if done != total || total != int64(len(packed)) {
						t.Errorf("progress %d of %d, want %d", done, total, len(packed))
					}
					break
				}
				d.must(err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d lines, want %d", len(got), len(want))
			}
			stdin, _, err := readAll(t, Config{Path: "-", Stdin: bytes.NewReader(packed)}, nil)
			if err != nil || !slices.Equal(stdin, want) {
				t.Errorf("standard input: %d lines, %v", len(stdin), err)
			}

			d.write("in", string(packed[:len(packed)-20]))()
			if _, _, err := readAll(t, cfg, nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), cfg.Path) {
				t.Errorf("cut: %v", err)
			}
			wrong := bytes.Clone(packed)
			wrong[len(wrong)/4] ^= 0xff
			d.write("in", string(wrong))()
			if _, _, err := readAll(t, cfg, nil); !errors.Is(err, ErrDamaged) {
				t.Errorf("flipped: %v", err)
			}

			// Of several files a damaged one is reported and the others are read.
			d.write("in.2", "good\n")()
			lines, pos, err := readAll(t, Config{Glob: cfg.Path + "*"}, nil)
			if err != nil || lines[len(lines)-1] != "good" || !strings.Contains(lines[len(lines)-2], "passed over") {
				t.Errorf("of a glob: %d lines, %v", len(lines), err)
			}
			if lines, _, err = readAll(t, Config{Glob: cfg.Path + "*"}, pos); err != nil || len(lines) != 0 {
				t.Errorf("again: %q, %v", lines, err)
			}
		})
	}
}

func TestACompressedFileThatGrowsIsReadOn(t *testing.T) {
	d := newDir(t)
	packed := gzipped(t, []byte(strings.Repeat("some line\n", 5)))
	d.write("log.gz", string(packed[:len(packed)-9]))()
	f := follower{t: t, cfg: Config{Path: d.file("log.gz")}}
	f.run(3, d.write("log.gz", string(packed)))
	f.want(slices.Repeat([]string{"some line"}, 5)...)
}

func TestPositionsOfVersion1GoOn(t *testing.T) {
	d := newDir(t)
	d.write("in", "one\ntwo\n")()
	c, err := openContent(d.file("in"))
	d.must(err)
	defer c.close()
	p := position{offset: 4, state: []byte("7")}
	p.head, p.hash, err = c.head(maxHead)
	d.must(err)
	parser := &counting{}
	got, _, err := readAll(t, Config{Path: d.file("in"), Parser: parser}, version1(p))
	if err != nil || !slices.Equal(got, []string{"two"}) || parser.n != 8 {
		t.Fatalf("got %q, %v, state %d", got, err, parser.n)
	}
}

func TestARestartInTheMiddleOfALongLine(t *testing.T) {
	d := newDir(t)
	d.write("in", "one\n"+strings.Repeat("x", 5*readBytes)+"\ntwo\n")()
	var got []string
	var pos []byte
	for { // a new source after every read
		s := New(Config{Path: d.file("in"), MaxLine: 10})
		d.must(s.Open(t.Context(), connectors.SourceContext{}, pos))
		var b connectors.Batch
		err := s.Read(t.Context(), &b)
		for _, r := range b.Records() {
			got = append(got, string(r.Value))
		}
		pos = bytes.Clone(s.Position())
		d.must(s.Close())
		if err == io.EOF {
			break
		}
		d.must(err)
	}
	if want := []string{"one", "xxxxxxxxxx", "two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOneOfPathAndGlobIsNeeded(t *testing.T) {
	for _, cfg := range []Config{{}, {Path: "a", Glob: "b"}, {Glob: "["}, {Glob: filepath.Join(t.TempDir(), "*")}} {
		if err := New(cfg).Open(t.Context(), connectors.SourceContext{}, nil); err == nil {
			t.Errorf("%+v was opened", cfg)
		}
	}
}
