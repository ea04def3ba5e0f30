package logclient_test

import (
	"context"
	"errors"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

type positions = map[record.TopicPartition]logclient.Position

func TestSoleMemberGetsEverythingOnce(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "a", 2)
		ensure(t, log, "b", 1)
		m, a := join(t, log, "app", "a", "b")
		have := map[record.TopicPartition]bool{}
		for _, tp := range a.Partitions {
			have[tp] = true
		}
		equal(t, "partitions", have, map[record.TopicPartition]bool{tp("a", 0): true, tp("a", 1): true, tp("b", 0): true})
		equal(t, "each once", len(a.Partitions), 3)
		equal(t, "the group", a.Generation.Group, "app")
		noError(t, m.Done(a))
		noError(t, m.Confirm(testContext(t)))
		ended, cancel := context.WithCancel(testContext(t))
		waiting := make(chan error)
		go func() {
			_, err := m.Next(ended)
			waiting <- err
		}()
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Fatalf("a second Next: %v, expected to wait until its context ends", err)
		}
		noError(t, m.Leave(testContext(t)))
		if err := m.Confirm(testContext(t)); logclient.Classify(err) != logclient.ClassRebalanced {
			t.Fatalf("who has left is confirmed: %v, expected ErrRebalanced", err)
		}
	})
}

func TestJoinNamesAMissingTopic(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		if _, err := log.Join(testContext(t), logclient.MemberConfig{Group: "app", Topics: []string{"none"}}); !errors.Is(err, logclient.ErrUnknownTopic) {
			t.Fatalf("got %v, expected ErrUnknownTopic", err)
		}
	})
}

func TestPositionsAreCommittedWithTheTransactionAndOnlyWithIt(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 3)
		ensure(t, log, "out", 1)
		load(t, log, tp("in", 0), "0", "1", "2", "3", "4", "5", "6", "7", "8")
		m, a := join(t, log, "app", "in")
		committed := func() positions { return must(m.Committed(ctx, all("in", 3)))(t) }
		equal(t, "before any commit", committed(), positions{})

		w, other := newWriter(t, log, "w"), newWriter(t, log, "other")
		write(t, w, tp("out", 0), "a")
		must(w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 3, Epoch: 0, Metadata: "so far"}}, a.Generation))(t)
		must(other.Commit(ctx, logclient.Positions{tp("in", 2): {Offset: 0, Epoch: record.NoLeaderEpoch}}, a.Generation))(t)
		expected := positions{
			tp("in", 0): {Offset: 3, Epoch: 0, Metadata: "so far"},
			tp("in", 2): {Offset: 0, Epoch: record.NoLeaderEpoch},
		}
		equal(t, "after two commits", committed(), expected)

		write(t, w, tp("out", 0), "b")
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := w.Commit(ended, logclient.Positions{tp("in", 0): {Offset: 4}}, a.Generation); err == nil {
			t.Fatal("a commit with an ended context")
		}
		noError(t, w.Abort(ctx))
		equal(t, "after an abort", committed(), expected)
		equal(t, "for who is no member", must(log.Committed(ctx, "app", all("in", 3)))(t), expected)
		equal(t, "for who is no member, of a group that nobody has seen", must(log.Committed(ctx, "none", all("in", 3)))(t), positions{})
		equal(t, "only what was asked for", must(m.Committed(ctx, []record.TopicPartition{tp("in", 2)}))(t), positions{tp("in", 2): expected[tp("in", 2)]})

		must(w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 9}}, a.Generation))(t)
		expected[tp("in", 0)] = logclient.Position{Offset: 9}
		equal(t, "the newest counts", committed(), expected)
		equal(t, "another group", must(func() (positions, error) {
			n, _ := join(t, log, "another", "in")
			return n.Committed(ctx, all("in", 3))
		}())(t), positions{})
		equal(t, "output", committedValues(t, log, tp("out", 0)), []string{"a"})
	})
}

func TestPositionsOfAnOldGenerationAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		ensure(t, log, "out", 1)
		load(t, log, tp("in", 0), "0", "1", "2", "3")
		m, a := join(t, log, "app", "in")
		w := newWriter(t, log, "w")
		g := a.Generation
		older, stranger := g, g
		older.ID--
		stranger.Member += "x"
		refused := func(what string, g logclient.Generation) {
			t.Helper()
			write(t, w, tp("out", 0), what)
			_, err := w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 1}}, g)
			if !errors.Is(err, logclient.ErrRebalanced) || logclient.Classify(err) != logclient.ClassRebalanced {
				t.Fatalf("%s: %v, expected ErrRebalanced", what, err)
			}
			noError(t, w.Abort(ctx))
		}
		refused("an older generation", older)
		refused("another member", stranger)
		equal(t, "nothing of it is committed", must(m.Committed(ctx, all("in", 1)))(t), positions{})

		write(t, w, tp("out", 0), "good")
		must(w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 2}}, g))(t)
		noError(t, m.Leave(ctx))
		refused("after Leave", g)

		m, a = join(t, log, "app", "in")
		if a.Generation == g {
			t.Fatalf("a new member has the generation of the one that left: %+v", g)
		}
		refused("the one that left, beside a new one", g)
		equal(t, "what was committed before", must(m.Committed(ctx, all("in", 1)))(t), positions{tp("in", 0): {Offset: 2}})
		must(w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 3}}, a.Generation))(t)
		equal(t, "output", committedValues(t, log, tp("out", 0)), []string{"good"})
		if _, err := w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 4}}, logclient.Generation{}); err == nil {
			t.Fatal("positions without a group were accepted")
		}
	})
}
