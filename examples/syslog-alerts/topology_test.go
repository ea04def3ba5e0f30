package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams/topology"
)

func program(t *testing.T, args ...string) (*topology.Topology, config) {
	t.Helper()
	c, err := parseFlags(append([]string{"-udp", ":0"}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	topo, err := buildTopology(c)
	if err != nil {
		t.Fatal(err)
	}
	return topo, c
}

// attack is a line of a host.
func attack(n int) syslog.Message {
	return syslog.NewMessage(fmt.Appendf(nil, "<38>1 - - sshd - - - Invalid user u%d from 192.0.2.%d", n, n%2))
}

// wantAlerts reads what is new in the alerts topic and compares it.
func wantAlerts(t *testing.T, out *streamstest.Out[string, Alert], want ...Alert) {
	t.Helper()
	got := out.ReadAll()
	if len(got) != len(want) {
		t.Fatalf("%d alerts %+v, want %+v", len(got), got, want)
	}
	for i, w := range want {
		g := got[i].Value
		if got[i].Key != w.Key || g.Kind != w.Kind || g.Key != w.Key || g.Count != w.Count || !g.WindowStart.Equal(w.WindowStart) || !g.WindowEnd.Equal(w.WindowStart.Add(time.Minute)) {
			t.Errorf("alert %+v, want %+v", g, w)
		}
		if g.Count != int64(len(g.Users)) && len(g.Users) != maxNames {
			t.Errorf("alert %+v: every line has another user", g)
		}
	}
}

// TestABreachIsSentOnceWhateverCrashes: at the line that reaches the threshold,
// per key and window, and a crash in between neither repeats nor forgets it.
func TestABreachIsSentOnceWhateverCrashes(t *testing.T) {
	for _, by := range []string{"host", "source"} {
		topo, c := program(t, "-by", by, "-threshold", "3")
		d := streamstest.New(t, topo, streamstest.Options{Partitions: 3, IdleAfter: idleAfter})
		in := streamstest.Input[string, syslog.Message](d, syslogTopic)
		out := streamstest.Output[string, Alert](d, alertsTopic)
		start := d.Now()
		key := map[string]string{"host": "web-1", "source": "192.0.2.1"}[by]
		line := func(n int) { in.Send("web-1", attack(2*n+1), d.Now()) }

		line(1)
		line(2)
		in.Send("web-1", syslog.NewMessage([]byte("session opened from 192.0.2.1")), d.Now())
		d.Run()
		out.ExpectNone()

		line(3)
		d.Process() // and does not commit
		d.Crash()
		d.Restart()
		d.Run()
		breach := Alert{Kind: "breach", Key: key, WindowStart: start, Count: c.threshold}
		wantAlerts(t, out, breach)

		line(4)
		d.Crash()
		d.Restart()
		d.Run()
		out.ExpectNone()

		d.Advance(time.Minute)
		for n := range 3 {
			line(n)
		}
		d.Run()
		breach.WindowStart = start.Add(time.Minute)
		wantAlerts(t, out, breach)
		if n := d.Totals().Late; n > 0 {
			t.Errorf("%d lines were late", n)
		}
	}
}

// TestAFinalAlertWaitsForTheEndOfItsWindow and its grace, which the clock brings
// where the lines fall silent.
func TestAFinalAlertWaitsForTheEndOfItsWindow(t *testing.T) {
	topo, _ := program(t, "-emit", "final", "-threshold", "3")
	d := streamstest.New(t, topo, streamstest.Options{IdleAfter: idleAfter})
	in := streamstest.Input[string, syslog.Message](d, syslogTopic)
	out := streamstest.Output[string, Alert](d, alertsTopic)
	start := d.Now()
	for n := range 4 {
		in.Send("web-1", attack(n), d.Now())
	}
	in.Send("web-2", attack(0), d.Now())
	d.Run()
	d.Advance(time.Minute)
	out.ExpectNone()
	in.Send("web-1", attack(4), start.Add(time.Second)) // within the grace
	d.Run()
	out.ExpectNone()
	d.Advance(2 * time.Minute) // the clock goes on from the last line's time
	wantAlerts(t, out, Alert{Kind: "final", Key: "web-1", WindowStart: start, Count: 5})
	in.Send("web-1", attack(5), start.Add(2*time.Second))
	d.Run()
	out.ExpectNone()
	if n := d.Totals().Late; n != 1 {
		t.Errorf("%d lines were late, want the one that came after the end", n)
	}
}

// TestTwoHoursOfAttacks runs the whole engine, killed every half an hour.
func TestTwoHoursOfAttacks(t *testing.T) {
	topo, c := program(t, "-by", "source", "-threshold", "3")
	streamstest.Run(t, topo, streamstest.Options{IdleAfter: idleAfter}, func(r *streamstest.Running) {
		in := streamstest.Input[string, syslog.Message](r, syslogTopic)
		out := streamstest.Output[string, Alert](r, alertsTopic)
		for attacker := range 12 {
			start := r.Now().Truncate(time.Minute)
			for range 4 {
				in.Send(fmt.Sprintf("web-%d", attacker%3), attack(2*attacker), start)
			}
			in.Send("web-9", attack(1), start)
			r.Wait()
			got := out.ReadAll()
			if len(got) != 1 || got[0].Value.Key != "192.0.2.0" || got[0].Value.Count != c.threshold || !got[0].Value.WindowStart.Equal(start) {
				t.Fatalf("attack %d: %+v, want one breach of 192.0.2.0", attacker, got)
			}
			if attacker%3 == 2 {
				r.Kill()
				r.Restart()
			}
			r.Advance(10 * time.Minute)
		}
		out.ExpectNone()
	})
}
