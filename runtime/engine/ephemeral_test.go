package engine_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
)

// Sockets cannot replay, the syslog source can: what it read is in the log once,
// however often commits fail or end with an unknown outcome.
func TestWhatASocketSourceReadIsInTheLogOnceWhenCommitsFail(t *testing.T) {
	w := newWorld()
	src := syslog.New(syslog.Config{UDP: "127.0.0.1:0"})
	if err := src.Listen(); err != nil {
		t.Fatal(err)
	}
	e, err := engine.NewOn(countProgram(t), engine.Config{Workers: 1, Partitions: 2, CommitInterval: 2 * time.Millisecond,
		Sources: []engine.Source{{Name: "lines", Topic: "lines", Source: src, Retry: engine.Retry{First: time.Millisecond, Most: 2 * time.Millisecond}}}}, w.backing())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()

	conn, err := net.Dial("udp", src.UDPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	n := 0
	sendUntil := func(holds func(engine.SourceSnapshot) bool) {
		t.Helper()
		for !holds(e.State().Sources[0]) {
			select {
			case <-tick.C:
			case err := <-done:
				t.Fatalf("the run ended: %v", err)
			}
			for range 10 { // refused while the source is closed: then it was not read
				fmt.Fprintf(conn, "<38>Dec 10 06:55:46 web-%d sshd[1]: %d", n%5, n)
				n++
			}
		}
	}
	for i := range 6 {
		before := e.State().Sources[0]
		w.log.FailNextCommit("app-source-lines", []memlog.CommitFault{memlog.FailBefore, memlog.FailAfter, memlog.FailUnavailable}[i%3])
		sendUntil(func(s engine.SourceSnapshot) bool { return s.Errors > before.Errors })
		sendUntil(func(s engine.SourceSnapshot) bool { return s.Records > before.Records+100 && s.State == "running" })
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for p := range record.Partition(2) {
		for _, r := range w.log.Records(record.TopicPartition{Topic: "lines", Partition: p}) {
			if seen[string(r.Value)] {
				t.Errorf("%q is there twice", r.Value)
			}
			seen[string(r.Value)] = true
		}
	}
	if read := src.Stats().Lines; int64(len(seen)) != read || read == 0 {
		t.Errorf("%d lines are in the log, %d were read", len(seen), read)
	}
}
