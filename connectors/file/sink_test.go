package file

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/log/record"
)

func sinkContext() connectors.SinkContext {
	return connectors.SinkContext{Partitions: 2, Topic: connectors.Topic{Name: "out", ID: [16]byte{7}}}
}

func openSink(t *testing.T, cfg SinkConfig) *Sink {
	t.Helper()
	s := NewSink(cfg)
	if err := s.Open(t.Context(), sinkContext()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// outRecords are the records [from, to) of a partition; offsets have gaps, as
// transactions leave them.
func outRecords(p record.Partition, from, to int) (rs []connectors.Record) {
	for i := from; i < to; i++ {
		rs = append(rs, connectors.Record{Topic: "out", Partition: p, View: record.View{Offset: record.Offset(i * 3), Value: fmt.Appendf(nil, "p%d-%d", p, i)}})
	}
	return rs
}

// finished is what the finished files hold, file by file in order of their names.
func finished(t *testing.T, dir, pattern string) (names, lines []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		names = append(names, filepath.Base(p))
		got, _, err := readAll(t, Config{Path: p}, nil)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, got...)
	}
	return names, lines
}

func values(rs []connectors.Record) (out []string) {
	for _, r := range rs {
		out = append(out, string(r.Value))
	}
	return out
}

func TestTheContractOfASink(t *testing.T) {
	connectortest.SinkSuite{
		Target: func(t testing.TB) connectortest.SinkTarget {
			dir := t.TempDir()
			return connectortest.SinkTarget{
				Sink: func(testing.TB) connectors.Sink { return NewSink(SinkConfig{Dir: dir, MaxAge: -1}) },
				Written: func(t testing.TB) (lines []string) {
					paths, _ := filepath.Glob(filepath.Join(dir, "*.log"))
					parts, _ := filepath.Glob(filepath.Join(dir, ".*.part"))
					for _, p := range append(paths, parts...) {
						b, err := os.ReadFile(p)
						if err != nil {
							t.Fatal(err)
						}
						lines = append(lines, strings.Fields(string(b))...)
					}
					return lines
				},
			}
		},
		Record: func(n int) (connectors.Record, string) {
			name := fmt.Sprintf("record-%d", n)
			return connectors.Record{View: record.View{Value: []byte(name)}}, name
		},
		Poison: func(int) connectors.Record { return connectors.Record{View: record.View{Value: []byte("two\nlines")}} },
	}.Run(t)
}

func TestFilesAreFinishedBySize(t *testing.T) {
	dir := t.TempDir()
	s := openSink(t, SinkConfig{Dir: dir, MaxBytes: 20})
	for i := range 10 {
		if err := s.Write(t.Context(), append(outRecords(0, i, i+1), outRecords(1, i, i+1)...)); err != nil {
			t.Fatal(err)
		}
	}
	names, lines := finished(t, dir, "out-0-*.log")
	if want := []string{"out-0-00000000000000000000.log", "out-0-00000000000000000012.log"}; !slices.Equal(names, want) {
		t.Errorf("finished files %q, want %q", names, want)
	}
	if want := values(outRecords(0, 0, 8)); !slices.Equal(lines, want) {
		t.Errorf("they hold %q, want %q", lines, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, lines = finished(t, dir, "out-*.log"); len(lines) != 20 {
		t.Errorf("%d lines after Close, want 20", len(lines))
	}
	if parts, _ := filepath.Glob(filepath.Join(dir, ".*.part")); len(parts) > 0 {
		t.Errorf("left over: %q", parts)
	}
}

func TestFilesAreFinishedByAge(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_800_000_000, 0)
	s := openSink(t, SinkConfig{Dir: dir, MaxAge: time.Minute, Now: func() time.Time { return now }})
	if err := s.Write(t.Context(), outRecords(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(59 * time.Second)
	s.finishOld()
	if names, _ := finished(t, dir, "out-*.log"); len(names) != 0 {
		t.Errorf("finished too early: %q", names)
	}
	now = now.Add(time.Second)
	s.finishOld() // what the timer calls
	if names, lines := finished(t, dir, "out-*.log"); len(names) != 1 || !slices.Equal(lines, []string{"p0-0"}) {
		t.Errorf("after a minute: %q with %q", names, lines)
	}
}

// TestEachRecordIsInFinishedFilesOnceWhateverCrashes writes, crashes at any
// moment with what a crash may leave, and goes on from an offset that may lie
// before what was acknowledged.
func TestEachRecordIsInFinishedFilesOnceWhateverCrashes(t *testing.T) {
	const records = 100
	for seed := range uint64(15) {
		rng := rand.New(rand.NewPCG(seed, 5))
		dir := t.TempDir()
		cfg := SinkConfig{Dir: dir, MaxBytes: 60 + rng.Int64N(200), MaxAge: -1, Compression: Compression(seed % 3)}
		committed, acknowledged := 0, 0
		for acknowledged < records {
			s := NewSink(cfg)
			if err := s.Open(t.Context(), sinkContext()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for at := committed; at < records && rng.IntN(4) > 0; {
				to := min(at+1+rng.IntN(12), records)
				if err := s.Write(t.Context(), outRecords(1, at, to)); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				at, acknowledged = to, max(acknowledged, to)
				if rng.IntN(3) == 0 {
					committed = at
				}
			}
			crash(t, s, dir, rng)
		}
		s := openSink(t, cfg)
		if err := errors.Join(s.Write(t.Context(), outRecords(1, committed, records)), s.Close()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		names, lines := finished(t, dir, "out-1-*")
		if want := values(outRecords(1, 0, records)); !slices.Equal(lines, want) {
			t.Fatalf("seed %d: %d lines in %d files, want each of %d once", seed, len(lines), len(names), len(want))
		}
	}
}

// crash leaves a sink without closing it, and the directory as a crash may: bytes
// that were being written, a journal entry torn, a file renamed that the journal
// does not know to be finished, a part file that no entry names.
func crash(t *testing.T, s *Sink, dir string, rng *rand.Rand) {
	t.Helper()
	add := func(path string, b []byte) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	p := s.parts[1]
	journal := p.journal.f.Name()
	switch open := p.file != nil; {
	case open && rng.IntN(3) == 0:
		add(p.file.Name(), []byte("half a rec"))
	case open && rng.IntN(2) == 0: // renamed, then the crash
		before, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.finish(), os.WriteFile(journal, before, 0o600)); err != nil {
			t.Fatal(err)
		}
	case !open && rng.IntN(2) == 0:
		add(p.partPath(999_999), []byte("never acknowledged\n"))
	}
	if rng.IntN(3) == 0 {
		add(journal, bytes.Repeat([]byte{0xff}, 1+rng.IntN(entryBytes)))
	}
	for _, p := range s.parts {
		p.close()
	}
	s.dir.Close()
	s.dir, s.parts = nil, nil
}

func TestAJournalBeginsAnewWhenItIsLong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j")
	j, err := openJournal(path, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for i := range 3 * journalMost / entryBytes {
		if err := j.append(entry{next: record.Offset(i), open: i%2 == 0}); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > journalMost+entryBytes {
		t.Errorf("%v, %v", info.Size(), err)
	}
	again, err := openJournal(path, [16]byte{1})
	if err != nil || again.last != j.last {
		t.Errorf("%+v, %v; want %+v", again, err, j.last)
	}
	again.close()
}

func TestWhatASinkRefuses(t *testing.T) {
	dir := t.TempDir()
	openSink(t, SinkConfig{Dir: dir}).Close()
	other := sinkContext()
	other.Topic.ID = [16]byte{8}
	if err := NewSink(SinkConfig{Dir: dir}).Open(t.Context(), other); !errors.Is(err, ErrOtherTopic) {
		t.Errorf("another topic's directory: %v", err)
	}
	if err := NewSink(SinkConfig{}).Open(t.Context(), sinkContext()); err == nil {
		t.Error("no directory was accepted")
	}
	file := filepath.Join(dir, "file")
	write(t, file, "")
	if err := NewSink(SinkConfig{Dir: file}).Open(t.Context(), sinkContext()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file in place of the directory: %v", err)
	}
	s := openSink(t, SinkConfig{Dir: dir})
	rs := outRecords(0, 0, 3)
	rs[1].Value = []byte("two\nlines")
	var bad *connectors.RecordError
	if err := s.Write(t.Context(), rs); !errors.As(err, &bad) || bad.Index != 1 || !errors.Is(err, ErrNewline) {
		t.Errorf("a value of two lines: %v", err)
	}
	if err := errors.Join(s.Write(t.Context(), rs[2:]), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, lines := finished(t, dir, "out-0-*"); !slices.Equal(lines, []string{"p0-0", "p0-2"}) {
		t.Errorf("the others: %q", lines)
	}
}

func TestFormats(t *testing.T) {
	r := &connectors.Record{View: record.View{Key: []byte("k"), Value: []byte("{\n \"a\": [1, 2]\n}")}}
	row := CSVValues([]string{"key", "value"}, func(r *connectors.Record) ([]string, error) {
		return []string{string(r.Key), string(r.Value)}, nil
	})
	for _, tt := range []struct {
		name   string
		format Format
		want   string
		err    error
	}{
		{"lines", Values{}, "", ErrNewline},
		{"JSON lines", JSONValues{}, "{\"a\":[1,2]}\n", nil},
		{"CSV", row, "key,value\nk,\"{\n \"\"a\"\": [1, 2]\n}\"\n", nil},
	} {
		got, err := tt.format.Append(tt.format.Begin(nil), r)
		if !errors.Is(err, tt.err) || err == nil && string(got) != tt.want {
			t.Errorf("%s: got %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
	if _, err := (JSONValues{}).Append(nil, &connectors.Record{View: record.View{Value: []byte("{")}}); !errors.Is(err, ErrNotJSON) {
		t.Errorf("half an object: %v", err)
	}
	if _, err := (Values{}).Append(nil, &connectors.Record{}); !errors.Is(err, ErrNull) {
		t.Errorf("null: %v", err)
	}
}
