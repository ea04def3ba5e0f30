package syslog

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// judgeLikeTheLibrary holds the fast path against go-syslog: a line that scan
// takes and that has no control character parses there too, with the same parts.
func judgeLikeTheLibrary(t *testing.T, line []byte) {
	line = TrimEnd(line)
	l, ok := scan(line)
	if !ok || !dayExists(line[l.stamp:]) {
		return
	}
	var lib library
	b, _, err := lib.parse3164(line)
	if fine := visible(line[l.text:]); fine != (err == nil) {
		t.Fatalf("%q: the fast path says %v, the library %v", line, fine, err)
	}
	if err != nil {
		return
	}
	m := NewMessage(line)
	check := func(what, ours string, theirs *string) {
		if ours != deref(theirs) {
			t.Fatalf("%q: %s is %q, the library says %q", line, what, ours, deref(theirs))
		}
	}
	check("host", m.Hostname(), b.Hostname)
	check("app name", m.AppName(), b.Appname)
	check("process id", m.ProcID(), b.ProcID)
	check("text", string(m.Text()), b.Message)
	if p, _ := m.Priority(); p != int(*b.Priority) || m.Severity() != int(*b.Severity) || m.Facility() != int(*b.Facility) {
		t.Fatalf("%q: priority %d, the library says %d", line, p, *b.Priority)
	}
	p, q := NewParser(ParserConfig{Years: FixedYear, Year: 2016}), NewParser(ParserConfig{Years: FixedYear, Year: 2016})
	ours, err1 := p.Parse(line, november())
	theirs, err2 := q.parseSlow(line, november())
	if err1 != nil || err2 != nil || ours.TimeMS != theirs.TimeMS || ours.NoPriority != theirs.NoPriority || string(ours.Host) != string(theirs.Host) {
		t.Fatalf("%q: %+v %v, through the library %+v %v", line, ours, err1, theirs, err2)
	}
}

var seeds = []string{
	"<13>Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user x from 1.2.3.4",
	"Dec  1 06:55:46 LabSZ sshd[24200]: pam_unix(sshd:auth): check pass; user unknown ",
	"Dec 01 00:00:00 a.b-c_d/e CRON[ab cd]: (root) CMD (x[1]: y)",
	"Feb 29 23:59:59 10.0.0.1 kernel: [ 1.0] x\ty \xc3\xbc",
	"<0>Jan 31 12:34:56 h t: m", "<191>Jun 30 12:34:56 h t[]: m: n: o",
	"Dec 10 06:55:46 Lab[1]SZ sshd]x[1]: a\x01b", "Dec 10 06:55:46 LabSZ sshd[1]: \x7f", "Dec 10 06:55:46 h -x[-y]: - ",
	"Dec 10 06:55:46  h t: m", "Dec 10 06:55:46 h  t: m", "Dec 10 06:55:46 h t:  m", "Dec 10 06:55:46 h t: \nm\r",
	"<1>Dec 10 06:55:46 h t[1] : m", "Apr 31 06:55:46 h t: m", "Dec 10 06:55:46.5 h t: m",
}

func FuzzScanAgreesWithTheLibrary(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(judgeLikeTheLibrary)
}

// TestScanAgreesWithTheLibraryOnMutatedLines is the fuzz target's short form:
// seeds with bytes replaced, inserted and removed.
func TestScanAgreesWithTheLibraryOnMutatedLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(3164, 5424))
	alphabet := " :[]<>-.0123456789abcXYZ\t\n\r\x00\x1b\x7f\x80\xff" + strings.Repeat("x", 10)
	taken := 0
	for range 80_000 {
		line := []byte(seeds[rng.IntN(len(seeds))])
		for range 1 + rng.IntN(3) {
			at, c := rng.IntN(len(line)), alphabet[rng.IntN(len(alphabet))]
			if rng.IntN(2) == 0 { // the head is where the grammar is
				at = rng.IntN(min(len(line), 45))
			}
			switch rng.IntN(3) {
			case 0:
				line[at] = c
			case 1:
				line = append(line[:at], append([]byte{c}, line[at:]...)...)
			default:
				line = append(line[:at], line[at+1:]...)
			}
		}
		if _, ok := scan(TrimEnd(line)); ok {
			taken++
		}
		judgeLikeTheLibrary(t, line)
	}
	if taken < 10_000 {
		t.Fatalf("only %d of 80,000 lines took the fast path: the test says little", taken)
	}
}

func TestVisibleFindsEveryControlCharacter(t *testing.T) {
	for n := range 40 {
		for at := range n {
			for c := range 256 {
				line := []byte(strings.Repeat("\x80", n))
				line[at] = byte(c)
				if got, want := visible(line), visibleBytes(line); got != want {
					t.Fatalf("%q: %v, want %v", line, got, want)
				}
			}
		}
	}
}
