package syslog

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millstream-io/millstream/log/record"
)

func deref(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// judgeLikeTheLibrary holds the scanners against go-syslog.
func judgeLikeTheLibrary(t *testing.T, line []byte) {
	t.Helper()
	line = TrimEnd(line)
	if len(line) == 0 {
		return
	}
	if is5424(line) {
		judge5424(t, line)
		return
	}
	judgeCommon(t, line)
	judge3164(t, line)
}

// judgeCommon: a line of the common shape parses the same way along all three paths.
func judgeCommon(t *testing.T, line []byte) {
	t.Helper()
	l, ok := scan(line)
	if !ok || !dayExists(line[l.stamp:]) {
		return
	}
	var lib library
	b, err := lib.parse3164(line)
	if fine := visible(line[l.text:]); fine != (err == nil) {
		t.Fatalf("%q: the fast path says %v, the library %v", line, fine, err)
	}
	if err != nil {
		return
	}
	m := NewMessage(line)
	d, ok := dissect(line)
	if !ok {
		t.Fatalf("%q: the fast path takes it, the slow one refuses", line)
	}
	check := func(what, ours, slow string, theirs *string) {
		t.Helper()
		if ours != deref(theirs) || slow != ours && !bytes.Contains(line, []byte("  ")) {
			t.Fatalf("%q: %s is %q, through the slow path %q, the library says %q", line, what, ours, slow, deref(theirs))
		}
	}
	check("host", m.Hostname(), string(line[d.hostFrom:d.hostTo]), b.Hostname)
	check("app name", m.AppName(), string(line[d.tagFrom:d.tagTo]), b.Appname)
	check("process id", m.ProcID(), string(line[d.pidFrom:d.pidTo]), b.ProcID)
	check("text", string(m.Text()), string(line[d.text:]), b.Message)
	if p, _ := m.Priority(); p != int(*b.Priority) || m.Severity() != int(*b.Severity) || m.Facility() != int(*b.Facility) || d.priority >= 0 && d.priority != p {
		t.Fatalf("%q: priority %d, the library says %d", line, p, *b.Priority)
	}
	p, q := NewParser(ParserConfig{Years: FixedYear, Year: 2016}), NewParser(ParserConfig{Years: FixedYear, Year: 2016})
	ours, err1 := p.Parse(line, november())
	slow, err2 := q.parseSlow(line, november())
	at := time.Date(2016, b.Timestamp.Month(), b.Timestamp.Day(), b.Timestamp.Hour(), b.Timestamp.Minute(), b.Timestamp.Second(), 0, time.UTC)
	if err1 != nil || err2 != nil || ours.TimeMS != at.UnixMilli() || slow.TimeMS != ours.TimeMS || ours.NoPriority != slow.NoPriority || string(ours.Host) != string(slow.Host) {
		t.Fatalf("%q: %+v %v, through the slow path %+v %v, the library says %v", line, ours, err1, slow, err2, at)
	}
}

// judge3164: what the library accepts we accept, with its time, and with its host
// but where the dialects know better.
func judge3164(t *testing.T, line []byte) {
	t.Helper()
	var lib library
	b, err := lib.parse3164(line)
	if err != nil || b.Timestamp == nil {
		return
	}
	d, ok := dissect(line)
	if !ok || !d.hasTime {
		t.Fatalf("%q: refused (or without a time), the library accepts it: %+v", line, b)
	}
	if d.when.hasYear != (b.Timestamp.Year() != 0) || d.when.hasZone && !d.when.hasYear {
		return // a year or a zone after the time, which the library takes for a host
	}
	if at := d.when.time(); !at.Equal(*b.Timestamp) && at.Nanosecond()/1000 == b.Timestamp.Nanosecond()/1000 {
		t.Fatalf("%q: time %v, the library says %v", line, at, b.Timestamp)
	}
	if host := string(line[d.hostFrom:d.hostTo]); host != deref(b.Hostname) && !knowsBetter(line, host, deref(b.Hostname)) {
		t.Fatalf("%q: host %q, the library says %q", line, host, deref(b.Hostname))
	}
}

// knowsBetter lists where our host is meant to differ from the library's.
func knowsBetter(line []byte, ours, theirs string) bool {
	switch {
	case isIPv6([]byte(ours)): // the library takes "2001:db8::1" for a tag
		return true
	case bytes.ContainsAny(line, "[:") && theirs == "" != (ours == ""): // words with a bracket or colon, at which the library's grammar is ambiguous
		return true
	}
	return bytes.ContainsAny(line, "\t\r\n") || bytes.Contains(line, []byte("  "))
}

// judge5424: the library's verdict and parts, but for finer fractions of seconds
// and for parameters that are no UTF-8, or elements that come twice.
func judge5424(t *testing.T, line []byte) {
	t.Helper()
	var lib library
	theirs, err := lib.parse5424(line)
	d, ok := dissect(line)
	if err != nil {
		if ok && d.rfc5424 && !fineFraction(line) && utf8.Valid(line[d.sdFrom:d.sdTo]) && !strings.Contains(err.Error(), "duplicate") {
			t.Fatalf("%q: accepted, the library says %v", line, err)
		}
		return
	}
	if !ok || !d.rfc5424 {
		t.Fatalf("%q: refused, the library accepts it", line)
	}
	check := func(what string, from, to int, theirs *string) {
		t.Helper()
		if got := string(line[from:to]); got != deref(theirs) {
			t.Fatalf("%q: %s is %q, the library says %q", line, what, got, deref(theirs))
		}
	}
	check("host", d.hostFrom, d.hostTo, theirs.Hostname)
	check("app name", d.tagFrom, d.tagTo, theirs.Appname)
	check("process id", d.pidFrom, d.pidTo, theirs.ProcID)
	check("message id", d.idFrom, d.idTo, theirs.MsgID)
	if got := string(line[d.text:]); got != strings.TrimPrefix(deref(theirs.Message), "\ufeff") {
		t.Fatalf("%q: text %q, the library says %q", line, got, deref(theirs.Message))
	}
	if d.hasTime != (theirs.Timestamp != nil) || d.hasTime && !d.when.time().Equal(*theirs.Timestamp) {
		t.Fatalf("%q: time %v, the library says %v", line, d.when.time(), theirs.Timestamp)
	}
	p := NewParser(ParserConfig{})
	got, err := p.Parse(line, november())
	want := record.NoTimestamp
	if theirs.Timestamp != nil {
		want = theirs.Timestamp.UnixMilli()
	}
	if want < 0 && want != record.NoTimestamp && errors.Is(err, ErrBefore1970) {
		return
	}
	if err != nil || got.TimeMS != want || string(got.Host) != deref(theirs.Hostname) || got.NoPriority {
		t.Fatalf("%q: %+v %v, the library says %v", line, got, err, want)
	}
	for id, params := range derefAll(theirs.StructuredData) {
		for name, value := range params {
			if got, ok := NewMessage(line).Param(id, name); !ok || got != value && strings.Count(string(line), name) == 1 {
				t.Fatalf("%q: parameter %s of %s is %q, the library says %q", line, name, id, got, value)
			}
		}
	}
}

func derefAll(p *map[string]map[string]string) map[string]map[string]string {
	if p == nil {
		return nil
	}
	return *p
}

// fineFraction: more than six digits, which the library refuses.
func fineFraction(line []byte) bool {
	_, rest, _ := bytes.Cut(line, []byte("."))
	_, n := number(rest, 9)
	return n > 6
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
	"2024-12-10T06:55:46.123456+01:00 LabSZ sshd[1]: x", "<13>2024-02-29T06:55:46Z LabSZ sshd: x",
}

var seeds5424 = []string{
	"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com su 12 ID47 [a b=\"c\"] 'su root' failed",
	"<13>1 - - - - - -", "<13>1 - h a p m - \ufeffhello", `<13>1 2024-02-29T23:59:59.999999-12:30 h a p m [x a="b\]\"\\"][y@1 c="d" e="ü"] hello`,
	"<0>1 2003-10-11T22:14:15+14:00 2001:db8::1 a p m - \x01x\xff\n", "<191>1 2003-12-31T00:00:00Z h - - - [z]",
}

var seedsDialects = []string{
	"Dec 10 06:55:46 2001:db8::1 sshd[1]: x", "Dec 10 06:55:46 LabSZ last message repeated 2 times", "Dec 10 06:55:46 sshd[1]: hello", "Dec 10 06:55:46 - t: x",
	"<189>123: *Mar  1 18:46:11.123 UTC: %SYS-5-CONFIG_I: x", "<189>45: router1: .Mar  1 2024 18:46:11 EST: %SYS-5-X: y", "<166>Mar 01 2024 18:46:11 asa1 : %ASA-6-302013: Built",
	"<13>2024 Mar  1 18:46:11 UTC: %X: y", "<134>Dec 10 06:55:46 host CEF:0|V|P|1|id|name|5|src=1", "<14>LEEF:2.0|V|P|1|id|^|a=b^c=d", "<13>Dec 10 06:55:46\thost\ttag: x",
	"<30>@cee: {\"a\":1}", "<134>1 1563249630.774247467 mx urls src=1", "Dec 10 06:55:46 [fe80::1%eth0] t: x", "<13>hello", "Fri Mar  1 18:46:11 2024 h t: x", "2024-12-10 06:55:46,123 h t: x",
}

func FuzzScannersAgreeWithTheLibrary(f *testing.F) {
	for _, list := range [][]string{seeds, seeds5424, seedsDialects} {
		for _, s := range list {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		judgeLikeTheLibrary(t, line)
		useAll(t, line)
	})
}

// useAll calls what a topology may call: none of it may panic, whatever the line.
func useAll(t *testing.T, line []byte) {
	m := NewMessage(line)
	m.Hostname()
	m.AppName()
	m.ProcID()
	m.MsgID()
	m.Timestamp()
	m.Param("x", "a")
	m.JSON()
	if c, ok := m.CEF(); ok {
		c.Field("src")
	}
	if l, ok := m.LEEF(); ok {
		l.Field("src")
	}
	if !bytes.HasSuffix(line, m.Text()) {
		t.Fatalf("%q: text %q", line, m.Text())
	}
}

// mutated is a seed with bytes replaced, inserted and removed.
func mutated(rng *rand.Rand, list []string) []byte {
	const alphabet = " :[]<>-.0123456789abcXYZ\t\n\r\x00\x1b\x7f\x80\xff=\"\\*+TZ" + "xxxxxxxxxx"
	line := []byte(list[rng.IntN(len(list))])
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
	return line
}

// TestScannersAgreeWithTheLibraryOnMutatedLines is the fuzz target's short form.
func TestScannersAgreeWithTheLibraryOnMutatedLines(t *testing.T) {
	for name, list := range map[string][]string{"common": seeds, "RFC 5424": seeds5424, "dialects": seedsDialects} {
		rng := rand.New(rand.NewPCG(3164, 5424))
		taken, fast := 0, 0
		for range 60_000 {
			line := mutated(rng, list)
			if _, ok := scan(TrimEnd(line)); ok {
				fast++
			}
			if _, ok := dissect(TrimEnd(line)); ok {
				taken++
			}
			judgeLikeTheLibrary(t, line)
			useAll(t, line)
		}
		t.Logf("%s: of 60,000 lines %d were accepted, %d on the fast path", name, taken, fast)
		if taken < 5_000 || name == "common" && fast < 5_000 {
			t.Fatalf("%s: only %d of 60,000 lines were accepted, %d on the fast path: the test says little", name, taken, fast)
		}
	}
}

// TestScannersAgreeWithTheLibraryOnRealLines takes sshd's lines where they are at hand.
func TestScannersAgreeWithTheLibraryOnRealLines(t *testing.T) {
	for _, line := range realLines(t) {
		judgeLikeTheLibrary(t, line)
		judge5424(t, append([]byte("<38>1 2015-12-10T06:55:46.5Z "), line[len("Dec 10 06:55:46 "):]...))
		if _, err := NewParser(ParserConfig{Years: FixedYear, Year: 2015}).Parse(line, november()); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
}

func realLines(t *testing.T) [][]byte {
	b, err := os.ReadFile("testdata/sshd.log")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(b), []byte("\n"))
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
