package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

const (
	snapshotParts = 3
	busyWriters   = 3
)

// busy is a directory in which transactions are committed all the time: each
// writes its name into every partition of topic "a". It also has a topic whose
// segments are rolled, cleaned and deleted meanwhile.
type busy struct {
	t    *testing.T
	b    *Broker
	work chan struct{} // a token is one transaction
	dirt chan struct{} // a token is one cleaning
	wg   sync.WaitGroup
}

func newBusy(t *testing.T, dir string) *busy {
	t.Helper()
	u := &busy{t: t, b: opened(t, dir), work: make(chan struct{}), dirt: make(chan struct{}, 1)}
	configs := map[string]string{"segment.bytes": "20000"}
	for name, c := range map[string]map[string]string{"a": configs, "compacted": {"segment.bytes": "4000", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}} {
		if _, err := u.b.CreateTopic(TopicSpec{Name: name, Partitions: snapshotParts, Configs: c}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range busyWriters {
		u.wg.Go(func() { u.commits(fmt.Sprintf("tx%d", i)) })
	}
	u.wg.Go(u.cleans)
	return u
}

func opened(t *testing.T, dir string) *Broker {
	t.Helper()
	b, err := Open(Config{Dir: dir, Flush: FlushOS, MaintenanceInterval: -1, TickInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (u *busy) commits(id string) {
	p, err := u.b.NewProducer(ProducerConfig{TransactionalID: id})
	if err != nil {
		u.t.Error(err)
		return
	}
	defer p.Close()
	ctx := context.Background()
	n := 0
	for range u.work {
		n++
		for i := range snapshotParts {
			for _, topic := range []string{"a", "compacted"} {
				m := Message{Topic: topic, Partition: record.Partition(i), Key: []byte(fmt.Sprint(id, n%7)), Value: fmt.Appendf(nil, "%s-%d", id, n)}
				if err := p.Send(ctx, m, nil); err != nil {
					u.t.Error(err)
					return
				}
			}
		}
		if err := p.Commit(ctx); err != nil {
			u.t.Error(err)
			return
		}
	}
}

func (u *busy) cleans() {
	for range u.dirt {
		if err := u.b.RunCleaner(); err != nil {
			u.t.Error(err)
			return
		}
	}
}

// during keeps everybody at work while f runs, and some time before it.
func (u *busy) during(f func()) {
	for range 50 {
		u.work <- struct{}{}
	}
	u.dirt <- struct{}{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		select {
		case <-done:
			return
		case u.work <- struct{}{}:
		}
	}
}

func (u *busy) end() {
	close(u.work)
	close(u.dirt)
	u.wg.Wait()
	if err := u.b.Close(); err != nil {
		u.t.Error(err)
	}
}

// committedNames counts the transactions' names per partition of topic "a".
func committedNames(t *testing.T, b *Broker) []map[string]int {
	t.Helper()
	h := &harness{Broker: b, t: t}
	for i := range busyWriters { // what was open hides what follows it
		_, err := b.InitProducerID(fmt.Sprint("tx", i), 0, NoProducer)
		h.ok(err)
	}
	found := make([]map[string]int, snapshotParts)
	for i := range found {
		found[i] = map[string]int{}
		for _, kv := range h.values("a", i, true) {
			_, name, _ := strings.Cut(kv, "=")
			found[i][name]++
		}
	}
	return found
}

func TestASnapshotUnderLoadHoldsEveryTransactionWhollyOrNotAtAll(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "data")
	u := newBusy(t, dir)
	var seen int
	for i := range 4 {
		dest := filepath.Join(root, fmt.Sprint("snapshot", i))
		var sum SnapshotSummary
		var err error
		u.during(func() { sum, err = Snapshot(t.Context(), vfs.OS(), dir, dest, SnapshotOptions{}) })
		if err != nil {
			t.Fatal(err)
		}
		if !sum.Live {
			t.Fatal("the directory is in use: expected a live snapshot")
		}
		if err := os.CopyFS(dest+"-restored", os.DirFS(dest)); err != nil {
			t.Fatal(err)
		}
		dest += "-restored"
		b := opened(t, dest)
		names := committedNames(t, b)
		for p := 1; p < snapshotParts; p++ {
			if err := sameNames(names[0], names[p]); err != nil {
				t.Fatalf("snapshot %d: partitions 0 and %d: %v", i, p, err)
			}
		}
		if len(names[0]) < seen {
			t.Fatalf("snapshot %d holds %d transactions, the one before %d", i, len(names[0]), seen)
		}
		seen = len(names[0])
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = Verify(vfs.OS(), dest, VerifyOptions{}, func(f segment.Finding) { t.Errorf("snapshot %d, recovered: %+v", i, f) })
		if err != nil {
			t.Fatal(err)
		}
	}
	u.end()
	if seen == 0 {
		t.Fatal("no snapshot held a transaction: the test shows nothing")
	}
	b := opened(t, dir) // the copies' recovery left the directory as it was
	defer b.Close()
	if names := committedNames(t, b); len(names[0]) < seen {
		t.Fatalf("the directory holds %d transactions, a snapshot of it %d", len(names[0]), seen)
	}
}

func sameNames(a, b map[string]int) error {
	for name, n := range a {
		if n != 1 || b[name] != 1 {
			return fmt.Errorf("transaction %s is there %d times and %d times, expected once each", name, n, b[name])
		}
	}
	if len(a) != len(b) {
		return fmt.Errorf("%d transactions and %d", len(a), len(b))
	}
	return nil
}

func TestASnapshotOfAStoppedDirectoryIsClean(t *testing.T) {
	root := t.TempDir()
	dir, dest := filepath.Join(root, "data"), filepath.Join(root, "copy")
	b := opened(t, dir)
	if _, err := b.CreateTopic(TopicSpec{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	called := false
	sum, err := Snapshot(t.Context(), vfs.OS(), dir, dest, SnapshotOptions{Stopped: func() error {
		called = true
		_, err := Open(Config{Dir: dir})
		var locked *vfs.LockedError
		if !errors.As(err, &locked) || !strings.Contains(locked.Owner, "snapshot") {
			t.Errorf("nobody may start on the directory meanwhile, and the error must name the snapshot; found %v", err)
		}
		return nil
	}})
	if err != nil || sum.Live || !called {
		t.Fatalf("expected a snapshot of a stopped directory, found %+v, %v", sum, err)
	}
	v, err := Verify(vfs.OS(), dest, VerifyOptions{}, func(f segment.Finding) { t.Errorf("%+v", f) })
	if err != nil || !v.Clean {
		t.Fatalf("expected a clean copy, found %+v, %v", v, err)
	}
}

func TestASnapshotRefusesWhatItCannotDo(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "data")
	b := opened(t, dir)
	defer b.Close()
	full := filepath.Join(root, "full")
	if err := os.MkdirAll(filepath.Join(full, "something"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ dir, dest, want string }{
		"a full destination":      {dir, full, "is not empty"},
		"inside the directory":    {dir, filepath.Join(dir, "copy"), "is inside the data directory"},
		"not a data directory":    {full, filepath.Join(root, "copy"), "not a data directory"},
		"a directory not there":   {filepath.Join(root, "none"), filepath.Join(root, "copy"), "not a data directory"},
		"the directory on itself": {dir, dir, "is inside the data directory"},
	} {
		_, err := Snapshot(t.Context(), vfs.OS(), c.dir, c.dest, SnapshotOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: expected an error with %q, found %v", name, c.want, err)
		}
	}
}

func TestAGateThatStaysOccupiedEndsTheSnapshotAtItsTimeout(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "data")
	b := opened(t, dir)
	defer b.Close()
	g, err := vfs.OS().Gate(filepath.Join(dir, "GATE"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Enter(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Snapshot(ctx, vfs.OS(), dir, filepath.Join(root, "copy"), SnapshotOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("expected the end of the context, found %v", err)
	}
	g.Leave()
	if _, err := Snapshot(t.Context(), vfs.OS(), dir, filepath.Join(root, "copy"), SnapshotOptions{}); err != nil {
		t.Fatalf("expected a snapshot once nobody is inside, found %v", err)
	}
}
