package syslog

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// The table of docs/connectors/syslog.md, line by line.
func TestDialects(t *testing.T) {
	const none = "" // no time in the line
	tests := []struct {
		name, line           string
		host, app, pid, text string
		time                 string
	}{
		{"RFC 3164", "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8", "mymachine", "su", "", "'su root' failed for lonvick on /dev/pts/8", "2026-10-11T22:14:15Z"},
		{"no priority", "Oct 11 22:14:15 mymachine su[12]: x", "mymachine", "su", "12", "x", "2026-10-11T22:14:15Z"},
		{"no host", "<34>Oct 11 22:14:15 su[12]: x", "", "su", "12", "x", "2026-10-11T22:14:15Z"},
		{"no tag", "<34>Oct 11 22:14:15 mymachine last message repeated 2 times", "mymachine", "", "", "last message repeated 2 times", "2026-10-11T22:14:15Z"},
		{"nothing but a priority", "<34>su: 'su root' failed", "", "su", "", "'su root' failed", none},
		{"no tag either", "<34>link is down", "", "", "", "link is down", none},
		{"IPv6 host", "<34>Oct 11 22:14:15 2001:db8::1 su: x", "2001:db8::1", "su", "", "x", "2026-10-11T22:14:15Z"},
		{"IPv6 host in brackets", "<34>Oct 11 22:14:15 [2001:db8::1] su: x", "2001:db8::1", "su", "", "x", "2026-10-11T22:14:15Z"},
		{"IPv6 host with a colon", "<34>Oct 11 22:14:15 2001:db8::1: x", "2001:db8::1", "", "", "x", "2026-10-11T22:14:15Z"},
		{"IPv6 host with a zone", "<34>Oct 11 22:14:15 fe80::1%eth0 su: x", "fe80::1%eth0", "su", "", "x", "2026-10-11T22:14:15Z"},
		{"a tag with colons is no host", "<34>Oct 11 22:14:15 a:b:c: x", "", "a", "", "a:b:c: x", "2026-10-11T22:14:15Z"},
		{"tabs", "<34>Oct 11 22:14:15\tmymachine\tsu:\tx\ty", "mymachine", "su", "", "x\ty", "2026-10-11T22:14:15Z"},
		{"ISO time, sub-seconds, offset", "<34>2026-10-11T22:14:15.123456+02:00 mymachine su: x", "mymachine", "su", "", "x", "2026-10-11T20:14:15.123Z"},
		{"ISO time, offset without a colon", "2026-10-11T22:14:15-0730 mymachine su: x", "mymachine", "su", "", "x", "2026-10-12T05:44:15Z"},
		{"ISO time with a blank and a comma", "<34>2026-10-11 22:14:15,250 mymachine su: x", "mymachine", "su", "", "x", "2026-10-11T22:14:15.25Z"},
		{"ISO time with slashes", "<34>2026/10/11 22:14:15 mymachine su: x", "mymachine", "su", "", "x", "2026-10-11T22:14:15Z"},
		{"nanoseconds", "<34>2026-10-11T22:14:15.123456789Z mymachine su: x", "mymachine", "su", "", "x", "2026-10-11T22:14:15.123Z"},
		{"year before the clock", "<34>Oct 11 2025 22:14:15 mymachine su: x", "mymachine", "su", "", "x", "2025-10-11T22:14:15Z"},
		{"year after the clock", "<34>Oct 11 22:14:15 2025 mymachine su: x", "mymachine", "su", "", "x", "2025-10-11T22:14:15Z"},
		{"weekday", "<34>Sat Oct 11 22:14:15 2025 mymachine su: x", "mymachine", "su", "", "x", "2025-10-11T22:14:15Z"},
		{"zone by name", "<34>Oct 11 22:14:15 CEST mymachine su[1]: x", "mymachine", "su", "1", "x", "2026-10-11T20:14:15Z"},
		{"Cisco IOS", "<189>45: *Mar  1 18:46:11.123: %SYS-5-CONFIG_I: Configured from console", "", "%SYS-5-CONFIG_I", "", "Configured from console", "2026-03-01T18:46:11.123Z"},
		{"Cisco IOS with a zone", "<189>45: .Mar  1 18:46:11.123 EST: %SYS-5-CONFIG_I: x", "", "%SYS-5-CONFIG_I", "", "x", "2026-03-01T23:46:11.123Z"},
		{"Cisco IOS with a zone that is its own", "<189>45: Mar  1 18:46:11 HOME: %SYS-5-CONFIG_I: x", "", "%SYS-5-CONFIG_I", "", "x", "2026-03-01T18:46:11Z"},
		{"Cisco IOS with a configured zone", "<189>45: Mar  1 18:46:11 XYZT: %SYS-5-CONFIG_I: x", "", "%SYS-5-CONFIG_I", "", "x", "2026-03-01T17:46:11Z"},
		{"Cisco IOS with year", "<189>45: Mar  1 2025 18:46:11 UTC: %SYS-5-CONFIG_I: x", "", "%SYS-5-CONFIG_I", "", "x", "2025-03-01T18:46:11Z"},
		{"Cisco IOS with origin", "<189>45: router1: *Mar  1 18:46:11.123: %SYS-5-CONFIG_I: x", "router1", "%SYS-5-CONFIG_I", "", "x", "2026-03-01T18:46:11.123Z"},
		{"Cisco ASA", "<166>Mar 01 2025 18:46:11 asa1 : %ASA-6-302013: Built", "asa1", "%ASA-6-302013", "", "Built", "2025-03-01T18:46:11Z"},
		{"Cisco ASA without host", "<166>Mar 01 2025 18:46:11: %ASA-6-302013: Built", "", "%ASA-6-302013", "", "Built", "2025-03-01T18:46:11Z"},
		{"Cisco ASA without time", "<166>%ASA-6-302013: Built", "", "%ASA-6-302013", "", "Built", none},
		{"Cisco ASA in EMBLEM format", "<166>:Mar 01 18:46:11 EST: %ASA-6-302013: Built", "", "%ASA-6-302013", "", "Built", "2026-03-01T23:46:11Z"},
		{"Cisco NX-OS", "<189>: 2025 Mar  1 18:46:11 UTC: %ETHPORT-5-IF_UP: x", "", "%ETHPORT-5-IF_UP", "", "x", "2025-03-01T18:46:11Z"},
		{"a tag and a time are no Cisco", "<13>app: 2025-03-01 18:46:11 started", "", "app", "", "2025-03-01 18:46:11 started", none},
		{"Meraki", "<134>1 1760220855.774247467 mx84 urls src=1", "mx84", "", "", "urls src=1", "2025-10-11T22:14:15.774Z"},
		{"CEF", "<134>Oct 11 22:14:15 fw1 CEF:0|V|P|1|id|name|5|src=1", "fw1", "CEF", "", "CEF:0|V|P|1|id|name|5|src=1", "2026-10-11T22:14:15Z"},
		{"CEF without host", "<134>Oct 11 22:14:15 CEF:0|V|P|1|id|name|5|src=1", "", "CEF", "", "CEF:0|V|P|1|id|name|5|src=1", "2026-10-11T22:14:15Z"},
		{"CEF and nothing else", "CEF:0|V|P|1|id|name|5|src=1", "", "CEF", "", "CEF:0|V|P|1|id|name|5|src=1", none},
		{"LEEF", "<134>Oct 11 22:14:15 fw1 LEEF:1.0|V|P|1|id|src=1\tdst=2", "fw1", "LEEF", "", "LEEF:1.0|V|P|1|id|src=1\tdst=2", "2026-10-11T22:14:15Z"},
		{"CEE", "<30>Oct 11 22:14:15 h app: @cee: {\"a\":1}", "h", "app", "", "@cee: {\"a\":1}", "2026-10-11T22:14:15Z"},
		{"CEE without host", "<30>Oct 11 22:14:15 @cee: {\"a\":1}", "", "@cee", "", "{\"a\":1}", "2026-10-11T22:14:15Z"},
		{"RFC 5424", `<165>1 2026-10-11T22:14:15.003Z host app 12 ID47 [a b="c"] hello`, "host", "app", "12", "hello", "2026-10-11T22:14:15.003Z"},
		{"RFC 5424 with BOM", "<165>1 2026-10-11T22:14:15.003Z host app 12 ID47 - \ufeffhällo", "host", "app", "12", "hällo", "2026-10-11T22:14:15.003Z"},
		{"RFC 5424 with nothing", "<165>1 - - - - - -", "", "", "", "", none},
		{"RFC 5424 with an IPv6 host", "<165>1 2026-10-11T22:14:15-03:00 2001:db8::1 app - - - x", "2001:db8::1", "app", "", "x", "2026-10-12T01:14:15Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := NewParser(ParserConfig{Years: FixedYear, Year: 2026, Zones: map[string]time.Duration{"XYZT": time.Hour}})
			got, err := p.Parse([]byte(tt.line), november())
			if err != nil {
				t.Fatal(err)
			}
			want := record.NoTimestamp
			if tt.time != none {
				at, err := time.Parse(time.RFC3339Nano, tt.time)
				if err != nil {
					t.Fatal(err)
				}
				want = at.UnixMilli()
			}
			m := NewMessage([]byte(tt.line))
			if string(got.Host) != tt.host || m.Hostname() != tt.host || m.AppName() != tt.app || m.ProcID() != tt.pid || string(m.Text()) != tt.text {
				t.Errorf("host %q and %q, app %q, pid %q, text %q", got.Host, m.Hostname(), m.AppName(), m.ProcID(), m.Text())
			}
			if got.TimeMS != want {
				t.Errorf("time %v, want %s", time.UnixMilli(got.TimeMS).UTC(), tt.time)
			}
			if got.NoPriority == strings.HasPrefix(tt.line, "<") {
				t.Errorf("no priority: %v", got.NoPriority)
			}
		})
	}
}

func TestLinesThatAreNone(t *testing.T) {
	for line, want := range map[string]error{
		"":                                     ErrEmptyLine,
		"<13>":                                 ErrEmptyLine,
		"<13> \t":                              ErrEmptyLine,
		"garbage":                              ErrNoTime,
		"<13>Oct 11 22:14:15 h p: \x1b[31m":    ErrControlChar,
		"<13>ab\x00cd":                         ErrControlChar,
		"<192>Oct 11 22:14:15 h p: x":          nil,
		"<>Oct 11 22:14:15 h p: x":             nil,
		"<13>Feb 30 22:14:15 h p: x":           nil,
		"<13>Oct 11 25:14:15 h p: x":           nil,
		"<13>Oct 11 22:14:15":                  nil,
		"<13>2025-02-29T22:14:15Z h p: x":      nil,
		"<13>*Mar 41 18:46:11.123: %A-5-B: x":  nil,
		"<13>1 2025-02-29T22:14:15Z h p - - -": nil,
		"<13>1 - h p":                          nil,
		"<13>1969-10-11T22:14:15Z h p: x":      ErrBefore1970,
		"<13>1 1969-10-11T22:14:15Z h p - - -": ErrBefore1970,
	} {
		_, err := NewParser(ParserConfig{Years: FixedYear, Year: 2025}).Parse([]byte(line), november())
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%q: error %v, want %v", line, err, want)
		}
	}
}

func TestAZoneOfTheConfigurationGoesFirst(t *testing.T) {
	p := NewParser(ParserConfig{Years: FixedYear, Year: 2026, Zones: map[string]time.Duration{"IST": 2 * time.Hour}})
	got, err := p.Parse([]byte("<189>45: Mar  1 18:46:11 IST: %SYS-5-CONFIG_I: x"), november())
	if at := time.UnixMilli(got.TimeMS).UTC(); err != nil || at.Hour() != 16 {
		t.Fatalf("%v %v, want Israel's 16:46:11", at, err)
	}
}

func TestALineWithoutATimeIsADeadLetterOfAFile(t *testing.T) {
	var b connectors.Batch
	NewParser(ParserConfig{}).Line([]byte("<34>link is down"), &b)
	if r := b.Records()[0]; r.DeadLetter != ErrNoTime.Error() {
		t.Fatalf("%+v", r)
	}
}

func TestCEF(t *testing.T) {
	m := NewMessage([]byte(`<134>Oct 11 22:14:15 fw1 CEF:0|Sec\|urity|threat manager|1.0|100|worm \\ stopped|10|src=10.0.0.1 act=blocked a \= msg=two words spt=1232 empty= last=x\ny`))
	c, ok := m.CEF()
	if !ok || string(c.DeviceVendor) != `Sec\|urity` || string(c.DeviceProduct) != "threat manager" || string(c.SignatureID) != "100" || string(c.Severity) != "10" {
		t.Fatalf("%+v %v", c, ok)
	}
	for key, want := range map[string]string{"src": "10.0.0.1", "act": "blocked a =", "msg": "two words", "spt": "1232", "empty": "", "last": "x\ny"} {
		if got, ok := c.Field(key); !ok || got != want {
			t.Errorf("%s is %q (%v), want %q", key, got, ok, want)
		}
	}
	if v, ok := c.Field("nope"); ok {
		t.Errorf("a field that is not there is %q", v)
	}
	for _, line := range []string{"<134>Oct 11 22:14:15 fw1 CEF:0|V|P", "<13>Oct 11 22:14:15 h p: x", ""} {
		if c, ok := NewMessage([]byte(line)).CEF(); ok {
			t.Errorf("%q is CEF: %+v", line, c)
		}
	}
}

func TestLEEF(t *testing.T) {
	for line, delimiter := range map[string]byte{
		"<13>Oct 11 22:14:15 h LEEF:1.0|V|P|1|id|src=10.0.0.1\tmsg=a b":  '\t',
		"<13>Oct 11 22:14:15 h LEEF:2.0|V|P|1|id|^|src=10.0.0.1^msg=a b": '^',
		"<13>LEEF:2.0|V|P|1|id|x5E|src=10.0.0.1^msg=a b":                 '^',
		"<13>LEEF:2.0|V|P|1|id|0x7c|src=10.0.0.1|msg=a b":                '|',
		"<13>LEEF:2.0|V|P|1|id||src=10.0.0.1\tmsg=a b":                   '\t',
	} {
		l, ok := NewMessage([]byte(line)).LEEF()
		if !ok || string(l.EventID) != "id" || l.Delimiter != delimiter {
			t.Errorf("%q: %+v %v", line, l, ok)
			continue
		}
		src, _ := l.Field("src")
		msg, _ := l.Field("msg")
		if src != "10.0.0.1" || msg != "a b" {
			t.Errorf("%q: src %q, msg %q", line, src, msg)
		}
	}
	if _, ok := NewMessage([]byte("<13>LEEF:1.0|V")).LEEF(); ok {
		t.Error("half a head is LEEF")
	}
}

func TestJSON(t *testing.T) {
	for line, want := range map[string]string{
		`<30>Oct 11 22:14:15 h app: @cee: {"a":1}`: `{"a":1}`,
		`<30>Oct 11 22:14:15 h @cee: {"a":1} `:     `{"a":1}`,
		`<30>Oct 11 22:14:15 h app: {"a":1}`:       `{"a":1}`,
		`<30>1 - h app - - - {"a":1}`:              `{"a":1}`,
		`<30>@cee:{"a":1}`:                         `{"a":1}`,
		`<30>Oct 11 22:14:15 h app: a {"a":1}`:     "",
	} {
		got, ok := NewMessage([]byte(line)).JSON()
		if ok != (want != "") || ok && string(got) != want {
			t.Errorf("%q: %q %v, want %q", line, got, ok, want)
		}
	}
}

func TestStructuredData(t *testing.T) {
	m := NewMessage([]byte(`<165>1 - h app 12 ID47 [x@1 a="1" b="q\"\]\\"][y a="2"] hello`))
	for _, tt := range []struct{ id, name, want string }{{"x@1", "a", "1"}, {"x@1", "b", `q"]\`}, {"y", "a", "2"}} {
		if got, ok := m.Param(tt.id, tt.name); !ok || got != tt.want {
			t.Errorf("%s of %s is %q (%v), want %q", tt.name, tt.id, got, ok, tt.want)
		}
	}
	if _, ok := m.Param("y", "b"); ok {
		t.Error("y has no b")
	}
	if m.MsgID() != "ID47" || string(m.StructuredData()) != `[x@1 a="1" b="q\"\]\\"][y a="2"]` {
		t.Errorf("%q %q", m.MsgID(), m.StructuredData())
	}
}

func TestParsingDialectsDoesNotAllocate(t *testing.T) {
	p := NewParser(ParserConfig{Years: FixedYear, Year: 2026})
	for _, line := range []string{
		`<165>1 2026-10-11T22:14:15.003Z host app 12 ID47 [a b="c"] hello`,
		"2026-10-11T22:14:15.123456+02:00 mymachine su[1]: x",
		"<34>Oct 11 22:14:15 2001:db8::1 su: x",
		"<189>45: *Mar  1 18:46:11.123 UTC: %SYS-5-CONFIG_I: x",
	} {
		b := []byte(line)
		if n := testing.AllocsPerRun(100, func() { p.Parse(b, time.Time{}) }); n != 0 {
			t.Errorf("%q: %v allocations, want 0", line, n)
		}
	}
}
