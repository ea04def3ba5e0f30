package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A generated line and what is true of it, known from its making: the expected
// results are folded from these facts, with nothing of ours.
type fact struct {
	line   string
	at     time.Time
	host   string
	source string // "" if the line names none
	match  bool
	bad    bool
}

var firstLine = time.Date(2015, 2, 27, 22, 50, 0, 0, time.UTC)

// makeFacts makes lines from some hosts over some hours, disorder being how far
// back in time a line may stand.
func makeFacts(seed uint64, n int, disorder time.Duration) []fact {
	rng := rand.New(rand.NewPCG(seed, 99))
	at := firstLine
	facts := make([]fact, 0, n)
	for i := range n {
		if rng.IntN(3) == 0 {
			at = at.Add(time.Duration(rng.IntN(20)) * time.Second)
		}
		f := fact{at: at, host: fmt.Sprintf("host-%c", 'a'+rune(rng.IntN(8)*rng.IntN(3)/2))}
		if disorder > 0 && rng.IntN(4) == 0 {
			f.at = f.at.Add(-time.Duration(rng.Int64N(int64(disorder)))).Truncate(time.Second)
		}
		text := ""
		switch rng.IntN(8) {
		case 0, 1, 2:
			f.source = fmt.Sprintf("10.0.0.%d", rng.IntN(5))
			f.match, text = true, "Invalid user x from "+f.source
		case 3:
			f.source = fmt.Sprintf("10.0.0.%d", rng.IntN(5))
			f.match, text = true, "Failed password for invalid user a from b, Invalid user from "+f.source+" port 22 ssh2"
		case 4:
			f.match, text = true, "input_userauth_request: Invalid user"
		case 5:
			f.source, text = "10.0.0.1", "Accepted publickey for anna from 10.0.0.1"
		default:
			text = "pam_unix(sshd:auth): check pass; user unknown"
		}
		f.line = fmt.Sprintf("%s %s sshd[%d]: %s", f.at.Format(time.Stamp), f.host, i, text)
		if rng.IntN(3) == 0 {
			f.line = "<38>" + f.line
		}
		if rng.IntN(50) == 0 {
			f.bad, f.line = true, "not syslog: Invalid user x from 10.0.0.1"
		}
		facts = append(facts, f)
	}
	return facts
}

func fileOf(facts []fact, end string) string {
	var b strings.Builder
	for _, f := range facts {
		b.WriteString(f.line + end)
	}
	return b.String()
}

// fold is the expected output for facts in one sequence: stream time is the
// greatest time so far; a line is late if its window's end plus grace is not
// after it.
func fold(facts []fact, by string, window, grace time.Duration, threshold int, closedBefore time.Time) (out []string, bad, late int) {
	type slot struct {
		start int64
		key   string
	}
	counts := map[slot]int{}
	streamTime := closedBefore.Unix()
	size := int64(window / time.Second)
	for _, f := range facts {
		if f.bad {
			bad++
			continue
		}
		streamTime = max(streamTime, f.at.Unix())
		key := f.host
		if by == "source" {
			key = f.source
		}
		if !f.match || key == "" {
			continue
		}
		start := f.at.Unix() / size * size
		if start+size+int64(grace/time.Second) <= streamTime {
			late++
			continue
		}
		counts[slot{start, key}]++
	}
	var reached []slot
	for s, n := range counts {
		if n >= threshold {
			reached = append(reached, s)
		}
	}
	sort.Slice(reached, func(i, j int) bool {
		a, b := reached[i], reached[j]
		return a.start < b.start || a.start == b.start && a.key < b.key
	})
	iso := func(s int64) string { return time.Unix(s, 0).UTC().Format("2006-01-02T15:04:05Z") }
	for _, s := range reached {
		out = append(out, fmt.Sprintf(`{"kind":"final","window_start":"%s","window_end":"%s","key":"%s","count":%d}`,
			iso(s.start), iso(s.start+size), s.key, counts[s]))
	}
	return out, bad, late
}

// alerts runs the program on standard input or with more arguments, and returns
// its lines on stdout and all of stderr.
func alerts(t *testing.T, input string, args ...string) (out []string, report string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if !slices.Contains(args, "-input") {
		args = append(args, "-input", "-")
	}
	args = append(args, "-year", "2015", "-o", "json")
	if code := run(t.Context(), args, stdio{strings.NewReader(input), &stdout, &stderr}); code != 0 {
		t.Fatalf("%q: exit code %d, %s", args, code, &stderr)
	}
	for line := range strings.Lines(stdout.String()) {
		out = append(out, strings.TrimSuffix(line, "\n"))
	}
	return out, stderr.String()
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Fatalf("%d lines, want %d; missing %s", len(got), len(want), want[i])
		case i >= len(want):
			t.Fatalf("%d lines, want %d; too many: %s", len(got), len(want), got[i])
		case got[i] != want[i]:
			t.Fatalf("line %d is %s\nwant %s", i, got[i], want[i])
		}
	}
}

// TestInTimeOrderResultsDependOnTheFileAlone: not on partitions, nor workers,
// also through the repartitioning that -by source needs.
func TestInTimeOrderResultsDependOnTheFileAlone(t *testing.T) {
	facts := makeFacts(1, 4000, 0)
	for _, by := range []string{"host", "source"} {
		for _, o := range []struct {
			window    time.Duration
			threshold int
		}{{time.Minute, 3}, {7 * time.Minute, 10}} {
			want, bad, late := fold(facts, by, o.window, 0, o.threshold, time.Time{})
			if len(want) < 20 || bad == 0 || late != 0 {
				t.Fatalf("%d windows, %d bad, %d late: the test says little", len(want), bad, late)
			}
			for _, partitions := range []string{"1", "3", "12"} {
				for _, workers := range []string{"1", "2"} {
					if o.window > time.Minute && (partitions != "3" || workers != "2") {
						continue // every combination once is enough
					}
					t.Run(strings.Join([]string{by, o.window.String(), partitions, workers}, "/"), func(t *testing.T) {
						t.Parallel()
						got, report := alerts(t, fileOf(facts, "\r\n"), "-by", by, "-window", o.window.String(),
							"-threshold", strconv.Itoa(o.threshold), "-partitions", partitions, "-workers", workers)
						wantLines(t, got, want)
						wantReport(t, report, len(facts), bad, 0, len(want))
					})
				}
			}
		}
	}
}

// TestOutOfOrderOnePartitionJudgesLatenessInTheFilesOrder, whatever the workers.
func TestOutOfOrderOnePartitionJudgesLatenessInTheFilesOrder(t *testing.T) {
	facts := makeFacts(2, 4000, 4*time.Minute)
	for _, by := range []string{"host", "source"} {
		for _, grace := range []time.Duration{0, 90 * time.Second} {
			want, bad, late := fold(facts, by, time.Minute, grace, 3, time.Time{})
			if len(want) < 20 || late < 20 {
				t.Fatalf("%d windows, %d late: the test says little", len(want), late)
			}
			for _, workers := range []string{"1", "2"} {
				t.Run(strings.Join([]string{by, grace.String(), workers}, "/"), func(t *testing.T) {
					t.Parallel()
					got, report := alerts(t, fileOf(facts, "\n"), "-by", by, "-threshold", "3", "-grace", grace.String(), "-partitions", "1", "-workers", workers)
					wantLines(t, got, want)
					wantReport(t, report, len(facts), bad, late, len(want))
				})
			}
		}
	}
}

func wantReport(t *testing.T, report string, lines, bad, late, alerts int) {
	t.Helper()
	if want := fmt.Sprintf("%d lines in, %d bad, %d late, %d alerts\n", lines, bad, late, alerts); !strings.Contains(report, want) {
		t.Errorf("reported %q, want %q", report, want)
	}
}

func TestABreachIsPrintedOncePerKeyAndWindow(t *testing.T) {
	facts := makeFacts(3, 2000, 0)
	finals, _, _ := fold(facts, "host", time.Minute, 0, 3, time.Time{})
	got, _ := alerts(t, fileOf(facts, "\n"), "-threshold", "3", "-emit", "breach", "-partitions", "3")
	var want []string
	for _, line := range finals {
		head, _, _ := strings.Cut(line, `,"count":`)
		want = append(want, strings.Replace(head, "final", "breach", 1)+`,"count":3}`)
	}
	wantLines(t, got, want)
}

// TestADirectoryRemembersTheFile: the same file gives nothing new, a grown one
// goes on, what belongs to a closed window is late, another file is an error.
func TestADirectoryRemembersTheFile(t *testing.T) {
	dir := t.TempDir()
	path, data := filepath.Join(dir, "auth.log"), filepath.Join(dir, "data")
	facts := makeFacts(4, 3000, 0)
	half := len(facts) / 2
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := func() ([]string, string) {
		return alerts(t, "", "-input", path, "-dir", data, "-threshold", "3", "-partitions", "1")
	}
	want, _, _ := fold(facts[:half], "host", time.Minute, 0, 3, time.Time{})
	write(fileOf(facts[:half], "\n"))
	got, _ := again()
	wantLines(t, got, want)

	if got, _ := again(); len(got) != 0 {
		t.Fatalf("a second run over the same file prints %q", got)
	}

	var closed time.Time // the end of the window that holds the greatest time
	for _, f := range facts[:half] {
		if end := f.at.Truncate(time.Minute).Add(time.Minute); !f.bad && end.After(closed) {
			closed = end
		}
	}
	want, bad, late := fold(facts[half:], "host", time.Minute, 0, 3, closed)
	if late == 0 {
		t.Fatal("no line belongs to the closed window: the test says little")
	}
	write(fileOf(facts, "\n"))
	got, report := again()
	wantLines(t, got, want)
	wantReport(t, report, len(facts)-half, bad, late, len(want))

	for name, c := range map[string]struct{ text, says string }{
		"shorter":      {fileOf(facts[:half], "\n"), "shorter"},
		"another head": {"x" + fileOf(facts, "\n"), "begins differently"},
	} {
		write(c.text)
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"-input", path, "-dir", data, "-threshold", "3", "-partitions", "1", "-year", "2015"}, stdio{nil, &out, &errs})
		if code != 1 || !strings.Contains(errs.String(), c.says) || !strings.Contains(errs.String(), path) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: exit code %d, stderr %q", name, code, &errs)
		}
	}
	write(fileOf(facts, "\n"))
	for _, change := range []string{"-by source", "-match x", "-window 2m", "-threshold 4", "-grace 1s", "-emit breach", "-partitions 2", "-year 2016", "-tz Europe/Berlin"} {
		args := append([]string{"-input", path, "-dir", data, "-threshold", "3", "-partitions", "1", "-year", "2015"}, strings.Fields(change)...)
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, stdio{nil, &out, &errs}); code != 1 || strings.Count(errs.String(), "\n") != 1 || out.Len() > 0 {
			t.Errorf("%s over old state: exit code %d, stderr %q", change, code, &errs)
		}
	}
	if got, _ := alerts(t, "", "-input", path, "-dir", data, "-threshold", "3", "-partitions", "1", "-workers", "1"); len(got) != 0 {
		t.Errorf("-workers may change, and prints %q", got)
	}
}

// TestTheDemoAccountsForEveryLine runs a small one.
func TestTheDemoAccountsForEveryLine(t *testing.T) {
	var out, errs bytes.Buffer
	c, err := parseFlags([]string{"-demo", "-window", "1s", "-threshold", "2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := runDemo(t.Context(), c, stdio{nil, &out, &errs}, 20_000); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &errs)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	var in, n int
	var rate, p50, p99 float64
	if _, err := fmt.Sscanf(lines[len(lines)-1], "%d lines in, %d alerts out, %f records/s, p50 %f ms, p99 %f ms", &in, &n, &rate, &p50, &p99); err != nil || in < 20_000 || n == 0 || p50 <= 0 || p99 < p50 {
		t.Errorf("last line %q: %v", lines[len(lines)-1], err)
	}
}
