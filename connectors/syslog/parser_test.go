package syslog

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

var november = func() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func TestLinesParse(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, line string
		loc        *time.Location
		host, time string
		noPriority bool
		err        error
		says       string
	}{
		{name: "common", line: "<38>Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user x from 1.2.3.4", host: "LabSZ", time: "2015-12-10T06:55:46Z"},
		{name: "no priority", line: "Dec 10 06:55:46 LabSZ sshd[24200]: x", host: "LabSZ", time: "2015-12-10T06:55:46Z", noPriority: true},
		{name: "space padded day", line: "Dec  1 06:55:46 LabSZ sshd: x", host: "LabSZ", time: "2015-12-01T06:55:46Z", noPriority: true},
		{name: "zero padded day", line: "Dec 01 06:55:46 LabSZ sshd: x", host: "LabSZ", time: "2015-12-01T06:55:46Z", noPriority: true},
		{name: "no tag", line: "Dec 10 06:55:46 LabSZ last message repeated 2 times", host: "LabSZ", time: "2015-12-10T06:55:46Z", noPriority: true},
		{name: "no host", line: "Dec 10 06:55:46 sshd[1]: hello", time: "2015-12-10T06:55:46Z", noPriority: true},
		{name: "dash for host", line: "Dec 10 06:55:46 - sshd[1]: hello", time: "2015-12-10T06:55:46Z", noPriority: true},
		{name: "fraction", line: "Dec 10 06:55:46.250 LabSZ sshd[1]: x", host: "LabSZ", time: "2015-12-10T06:55:46.25Z", noPriority: true},
		{name: "summer time", line: "Jul 10 06:55:46 LabSZ sshd[1]: x", loc: berlin, host: "LabSZ", time: "2015-07-10T04:55:46Z", noPriority: true},
		{name: "winter time", line: "Dec 10 06:55:46 LabSZ sshd[1]: x", loc: berlin, host: "LabSZ", time: "2015-12-10T05:55:46Z", noPriority: true},
		{name: "RFC 3339 with fraction", line: "2024-12-10T06:55:46.123456+01:00 LabSZ sshd[1]: x", host: "LabSZ", time: "2024-12-10T05:55:46.123Z", noPriority: true},
		{name: "RFC 3339", line: "<13>2024-12-10T06:55:46Z LabSZ sshd[1]: x", host: "LabSZ", time: "2024-12-10T06:55:46Z"},
		{name: "RFC 5424", line: `<38>1 2003-10-11T22:14:15.003Z mymachine.example.com su 12 ID47 [a b="c"] 'su root' failed`, host: "mymachine.example.com", time: "2003-10-11T22:14:15.003Z"},
		{name: "RFC 5424 without time and host", line: "<38>1 - - su - - - x"},
		{name: "bytes that are no UTF-8", line: "Dec 10 06:55:46 LabSZ sshd[1]: caf\xe9\tx", host: "LabSZ", time: "2015-12-10T06:55:46Z", noPriority: true},

		{name: "empty", line: "", err: ErrEmptyLine},
		{name: "control character", line: "Dec 10 06:55:46 LabSZ sshd[1]: a\x1b[31m", err: ErrControlChar, says: "0x1b in column 33"},
		{name: "DEL", line: "Dec 10 06:55:46 LabSZ sshd[1]: aaaaaaaaaaaaaaaa\x7f", err: ErrControlChar},
		{name: "no date", line: "hello world", err: ErrNoTime, says: "in column 1"},
		{name: "no such day", line: "Feb 30 06:55:46 LabSZ sshd[1]: x", says: "out of range"},
		{name: "no such day of April", line: "Apr 31 06:55:46 LabSZ sshd[1]: x", says: "out of range"},
		{name: "no leap year", line: "Feb 29 06:55:46 LabSZ sshd[1]: x", says: "Feb 29 is no day of the year 2015"},
		{name: "priority too high", line: "<192>Dec 10 06:55:46 LabSZ sshd[1]: x", says: "priority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := NewParser(ParserConfig{Years: FixedYear, Year: 2015, Location: tt.loc})
			got, err := p.Parse([]byte(tt.line), november())
			if tt.err != nil || tt.says != "" {
				if err == nil || tt.err != nil && !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("error %v, want %v %q", err, tt.err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := record.NoTimestamp
			if tt.time != "" {
				at, _ := time.Parse(time.RFC3339Nano, tt.time)
				want = at.UnixMilli()
			}
			if string(got.Host) != tt.host || got.TimeMS != want || got.NoPriority != tt.noPriority {
				t.Errorf("host %q, time %v, no priority %v; want %q, %v, %v", got.Host, got.TimeMS, got.NoPriority, tt.host, want, tt.noPriority)
			}
			if (got.Host == nil) != (tt.host == "") {
				t.Errorf("a missing host must be nil")
			}
		})
	}
}

func TestYears(t *testing.T) {
	type step struct{ stamp, want string }
	tests := []struct {
		name  string
		cfg   ParserConfig
		steps []step
	}{
		{"follow the file over new year", ParserConfig{Year: 2015}, []step{
			{"Dec 30 23:59:59", "2015-12-30T23:59:59Z"}, {"Jan  1 00:00:01", "2016-01-01T00:00:01Z"}, {"Feb 29 00:00:00", "2016-02-29T00:00:00Z"},
			{"Dec 31 23:59:59", "2016-12-31T23:59:59Z"}, {"Jan  2 00:00:00", "2017-01-02T00:00:00Z"}}},
		{"a small step back stays in the year", ParserConfig{Year: 2015}, []step{
			{"Oct 20 00:00:00", "2015-10-20T00:00:00Z"}, {"Jan  1 00:00:00", "2015-01-01T00:00:00Z"}}},
		{"300 days to the second is no step", ParserConfig{Year: 2015}, []step{
			{"Oct 28 00:00:00", "2015-10-28T00:00:00Z"}, {"Jan  1 00:00:00", "2015-01-01T00:00:00Z"}}},
		{"one second more is one", ParserConfig{Year: 2015}, []step{
			{"Oct 28 00:00:01", "2015-10-28T00:00:01Z"}, {"Jan  1 00:00:00", "2016-01-01T00:00:00Z"}}},
		{"without a year it is the current one", ParserConfig{Now: november}, []step{{"Dec 10 00:00:00", "2026-12-10T00:00:00Z"}}},
		{"into a leap day", ParserConfig{Year: 2015}, []step{
			{"Dec 30 00:00:00", "2015-12-30T00:00:00Z"}, {"Feb 29 00:00:00", "2016-02-29T00:00:00Z"}}},
		{"fixed", ParserConfig{Years: FixedYear, Year: 2015}, []step{
			{"Dec 30 00:00:00", "2015-12-30T00:00:00Z"}, {"Jan  1 00:00:00", "2015-01-01T00:00:00Z"}}},
		{"nearest to when it came", ParserConfig{Years: NearestYear}, []step{
			{"Nov 21 12:00:00", "2026-11-21T12:00:00Z"}, {"Jan  1 00:00:00", "2027-01-01T00:00:00Z"}, {"Jul  1 00:00:00", "2026-07-01T00:00:00Z"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := NewParser(tt.cfg)
			for _, s := range tt.steps {
				q := NewParser(tt.cfg) // the state must carry the year to another parser
				if err := q.Restore(p.State()); err != nil {
					t.Fatal(err)
				}
				for who, parser := range map[string]*Parser{"restored": q, "running": p} {
					got, err := parser.Parse([]byte(s.stamp+" h p: x"), november())
					if err != nil {
						t.Fatal(err)
					}
					if at := time.UnixMilli(got.TimeMS).UTC().Format(time.RFC3339); at != s.want {
						t.Errorf("%s parser: %s is %s, want %s", who, s.stamp, at, s.want)
					}
				}
			}
		})
	}
}

func TestYearStateOfAnotherShapeIsRefused(t *testing.T) {
	if err := NewParser(ParserConfig{}).Restore([]byte("abc")); err == nil {
		t.Fatal("3 bytes were taken for a state of 10")
	}
}

func TestLineMakesRecordsAndDeadLetters(t *testing.T) {
	p := NewParser(ParserConfig{Years: FixedYear, Year: 2015})
	var b connectors.Batch
	p.Line([]byte("Dec 10 06:55:46 LabSZ sshd[1]: x\r"), &b)
	p.Line([]byte("<13>Dec 10 06:55:46 LabSZ sshd[1]: x"), &b)
	p.Line([]byte("nonsense\r"), &b)
	p.Line([]byte("<38>1 - host su - - - no time"), &b)
	got := b.Records()
	if r := got[0]; string(r.Key) != "LabSZ" || string(r.Value) != "Dec 10 06:55:46 LabSZ sshd[1]: x" || len(r.Headers) != 1 || r.Headers[0].Key != HeaderNoPriority || r.DeadLetter != "" || r.Partition != -1 {
		t.Errorf("line without priority: %+v", r)
	}
	if r := got[1]; len(r.Headers) != 0 || r.DeadLetter != "" {
		t.Errorf("line with priority: %+v", r)
	}
	if r := got[2]; r.DeadLetter == "" || string(r.Value) != "nonsense" {
		t.Errorf("bad line: %+v", r)
	}
	if r := got[3]; r.DeadLetter != ErrNoTime.Error() {
		t.Errorf("line without a time: %+v", r)
	}
}

func TestParsingTheCommonShapeDoesNotAllocate(t *testing.T) {
	p := NewParser(ParserConfig{Years: FixedYear, Year: 2015})
	line := []byte("Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user webmaster from 173.234.31.186")
	m := NewMessage(line)
	_ = m.Hostname()
	host := ""
	n := testing.AllocsPerRun(100, func() {
		if _, err := p.Parse(line, time.Time{}); err != nil || !m.Contains("Invalid user") || bytes.Contains(line, []byte("nope")) {
			t.Fatal("wrong result")
		}
		host = m.Hostname()
	})
	if n != 0 || host != "LabSZ" {
		t.Fatalf("%v allocations a line, want 0 (host %q)", n, host)
	}
}

func BenchmarkParse(b *testing.B) {
	line := []byte("Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user webmaster from 173.234.31.186")
	p := NewParser(ParserConfig{Years: FixedYear, Year: 2015})
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			p.Parse(line, time.Time{})
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			p.parseSlow(line, time.Time{})
		}
	})
}
