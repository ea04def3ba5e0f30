package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// served is a log on a server in the test's process.
func served(t *testing.T) *Log {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: "/data", FS: vfs.NewMem(), GroupInitialDelay: -1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.New(wire.Config{Broker: b, Listeners: []wire.Listener{{Addr: "127.0.0.1:0"}}})
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	l, err := Open(t.Context(), Config{Seeds: []string{s.Addrs()[0].String()}, InstanceID: "a", SessionTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := l.Close()
		cancel()
		if err := errors.Join(err, <-done, b.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// With both versions of the transaction protocol a commit that began with the
// generation before rides, in its transaction.
func TestCommitsRideInTransactionsOfBothVersions(t *testing.T) {
	for _, txn2 := range []bool{true, false} {
		t.Run(fmt.Sprint("version 2: ", txn2), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			l := served(t)
			if !l.txn2 {
				t.Fatal("the server has no transactions of version 2")
			}
			l.txn2 = txn2
			if _, err := l.Ensure(ctx, []logclient.TopicSpec{{Name: "in", Partitions: 1}, {Name: "out", Partitions: 1}}); err != nil {
				t.Fatal(err)
			}
			m, err := l.Join(ctx, logclient.MemberConfig{Group: "app", Topics: []string{"in"}})
			if err != nil {
				t.Fatal(err)
			}
			next := func() logclient.Assignment {
				t.Helper()
				a, err := m.Next(ctx)
				if err == nil {
					err = m.Done(a)
				}
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			old := next()
			w, err := l.Writer(ctx, "w", logclient.WriterConfig{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			out := record.TopicPartition{Topic: "out"}
			if err := w.Append(out, &record.View{Value: []byte("rides")}); err != nil {
				t.Fatal(err)
			}
			m.Rebalance()
			if now := next(); now.Generation.ID <= old.Generation.ID || now.Lost {
				t.Fatalf("after Rebalance: %+v, expected a generation after %d", now, old.Generation.ID)
			}
			in := record.TopicPartition{Topic: "in"}
			if _, err := w.Commit(ctx, logclient.Positions{in: {Offset: 0, Metadata: "rode"}}, old.Generation); err != nil {
				t.Fatal(err)
			}
			found, err := m.Committed(ctx, []record.TopicPartition{in})
			if err != nil || found[in].Metadata != "rode" {
				t.Fatalf("committed: %+v, %v", found, err)
			}
			stranger := old.Generation
			stranger.Member = "somebody else"
			if _, err := w.Commit(ctx, logclient.Positions{in: {Offset: 0}}, stranger); logclient.Classify(err) != logclient.ClassRebalanced {
				t.Fatalf("a commit of a stranger: %v, expected ErrRebalanced", err)
			}
		})
	}
}

// A rebalance between the results and the state of a writer without transactions
// stops neither: the member is asked about in the generation that there is then.
func TestStateWithoutTransactionsRidesOverARebalance(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := served(t)
	if _, err := l.Ensure(ctx, []logclient.TopicSpec{{Name: "in", Partitions: 1}, {Name: "changelog", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	m, err := l.Join(ctx, logclient.MemberConfig{Group: "app", Topics: []string{"in"}})
	if err != nil {
		t.Fatal(err)
	}
	next := func() logclient.Assignment {
		t.Helper()
		a, err := m.Next(ctx)
		if err == nil {
			err = m.Done(a)
		}
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	old := next()
	for what, c := range map[string]struct {
		change func(*logclient.Generation)
		want   logclient.Class
	}{
		"the generation before":          {func(*logclient.Generation) {}, logclient.ClassNone},
		"one before the member's first":  {func(g *logclient.Generation) { g.ID = old.Generation.ID - 1 }, logclient.ClassRebalanced},
		"a member that the group forgot": {func(g *logclient.Generation) { g.Member = "somebody else" }, logclient.ClassRebalanced},
	} {
		g := m.Generation()
		m.Rebalance()
		if now := next(); now.Generation.ID <= g.ID || now.Lost {
			t.Fatalf("after Rebalance: %+v, expected a generation after %d", now, g.ID)
		}
		c.change(&g)
		w, err := l.Writer(ctx, "w", logclient.WriterConfig{AtLeastOnce: true,
			Stage: func(string) logclient.Stage { return logclient.StageState }, Generation: func() logclient.Generation { return g }})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append(record.TopicPartition{Topic: "changelog"}, &record.View{Key: []byte("k"), Value: []byte(what)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(ctx, nil, logclient.Generation{}); logclient.Classify(err) != c.want {
			t.Errorf("%s: %v, expected %v", what, err, c.want)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}
