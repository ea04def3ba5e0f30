package syslog_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/syslog"
)

func Example() {
	src := syslog.New(syslog.Config{TCP: "127.0.0.1:0"})
	if err := src.Open(context.Background(), connectors.SourceContext{}, nil); err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()

	conn, err := net.Dial("tcp", src.TCPAddr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(conn, "<38>1 2026-11-21T12:00:00Z web-1 sshd 42 - - Invalid user x\n", "not syslog\n")
	conn.Close()

	for n := 0; n < 2; { // the engine does this
		var batch connectors.Batch
		if err := src.Read(context.Background(), &batch); err != nil {
			fmt.Println(err)
			return
		}
		for _, r := range batch.Records() {
			fmt.Printf("key %q, value %q, dead letter %q\n", r.Key, r.Value, r.DeadLetter)
			n++
		}
	}
	// Output:
	// key "web-1", value "<38>1 2026-11-21T12:00:00Z web-1 sshd 42 - - Invalid user x", dead letter ""
	// key "", value "not syslog", dead letter "the line has no time where one like \"Jan _2 15:04:05\" is expected, in column 1"
}

func ExampleParser_Parse() {
	p := syslog.NewParser(syslog.ParserConfig{Years: syslog.NearestYear})
	now := time.Date(2027, 1, 1, 0, 0, 5, 0, time.UTC)
	for _, line := range []string{
		"<34>Dec 31 23:59:59 mymachine su: 'su root' failed",
		"2026-12-31T23:59:59.5+01:00 mymachine su: x",
		"<189>45: router1: *Dec 31 23:59:59.123 UTC: %SYS-5-CONFIG_I: x",
	} {
		parsed, err := p.Parse([]byte(line), now)
		fmt.Println(string(parsed.Host), time.UnixMilli(parsed.TimeMS).UTC().Format(time.RFC3339Nano), parsed.NoPriority, err)
	}
	// Output:
	// mymachine 2026-12-31T23:59:59Z false <nil>
	// mymachine 2026-12-31T22:59:59.5Z true <nil>
	// router1 2026-12-31T23:59:59.123Z false <nil>
}

func ExampleMessage() {
	m := syslog.NewMessage([]byte("<38>Dec 10 06:55:46 web-1 sshd[24200]: Invalid user x from 203.0.113.7"))
	fmt.Println(m.Hostname(), m.AppName(), m.ProcID(), m.Severity(), string(m.Text()))
	// Output: web-1 sshd 24200 6 Invalid user x from 203.0.113.7
}

func ExampleMessage_CEF() {
	m := syslog.NewMessage([]byte("<134>Oct 11 22:14:15 fw1 CEF:0|Example|Firewall|1.0|100|connection refused|5|src=203.0.113.7 msg=no such rule"))
	c, ok := m.CEF()
	src, _ := c.Field("src")
	msg, _ := c.Field("msg")
	fmt.Println(ok, m.Hostname(), string(c.DeviceProduct), string(c.Name), src, msg)
	// Output: true fw1 Firewall connection refused 203.0.113.7 no such rule
}

func ExampleConfig_Validate() {
	err := syslog.Config{UDP: "localhost", MaxLine: -1}.Validate()
	fmt.Println(err)
	// Output:
	// syslog source: MaxLine is -1, it must be positive
	// syslog source: listener 1 (udp localhost): the address is not host:port: address localhost: missing port in address
}
