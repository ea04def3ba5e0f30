package main

import (
	"fmt"
	"maps"
	"testing"

	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/runtime/streamstest"
)

// TestEveryLineIsCountedOnceThroughCrashes drives the topology step by step and
// kills it after each number of steps: the counts are those of the lines sent,
// and go on from there.
func TestEveryLineIsCountedOnceThroughCrashes(t *testing.T) {
	topo, err := buildTopology()
	if err != nil {
		t.Fatal(err)
	}
	for crash := range 20 {
		d := streamstest.New(t, topo, streamstest.Options{CommitEvery: 2})
		in := streamstest.Input[string, syslog.Message](d, logsTopic)
		out := streamstest.Output[string, Counts](d, countsTopic)
		want := map[string]Counts{}
		send := func(lines int) {
			for i := range lines {
				host, severity := fmt.Sprint("web-", i%3), i%8
				line := fmt.Sprintf("<%d>Nov 21 10:00:00 %s app: line %d", 3*8+severity, host, i)
				in.Send(host, syslog.NewMessage([]byte(line)), d.Now())
				n := want[host]
				n[severity]++
				want[host] = n
			}
		}
		send(15)
		for range crash {
			d.Step()
		}
		at := d.Last()
		d.Crash()
		d.Restart()
		d.Run()
		if got := streamstest.Latest(out); !maps.Equal(got, want) {
			t.Fatalf("crash after %q: %v, want %v", at, got, want)
		}
		send(5)
		d.Run()
		if got := streamstest.Latest(out); !maps.Equal(got, want) {
			t.Fatalf("after the restart: %v, want %v", got, want)
		}
	}
}

// TestCountsByCommit shows what the topic has: a host's counts, once for each
// commit that changed them.
func TestCountsByCommit(t *testing.T) {
	topo, err := buildTopology()
	if err != nil {
		t.Fatal(err)
	}
	d := streamstest.New(t, topo, streamstest.Options{})
	in := streamstest.Input[string, syslog.Message](d, logsTopic)
	out := streamstest.Output[string, Counts](d, countsTopic)
	for _, line := range []string{"<27>db-1 app: an error", "<30>db-1 app: all is well", "no priority is a notice"} {
		in.Send("db-1", syslog.NewMessage([]byte(line)), d.Now())
	}
	d.Run()
	out.Expect(streamstest.KV("db-1", Counts{3: 1, 5: 1, 6: 1}))
	d.Crash()
	d.Restart()
	d.Run()
	out.ExpectNone()
}
