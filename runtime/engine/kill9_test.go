package engine_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

const kill9RecordsPerLife = 12_000

// padding makes records long enough for a life to read its input in many steps.
var padding = " " + strings.Repeat("x", 250)

// kill9Input is record i: its key, its value (the group that it is counted in)
// and its time: 1 ms a record, every 50th up to 2 s early, so that some are late.
func kill9Input(i int) (key, value string, ms int64) {
	ms = 1_700_000_000_000 + int64(i)
	if i%50 == 49 {
		ms -= int64(i*7919) % 2000
	}
	return fmt.Sprintf("key-%d", i%97), fmt.Sprintf("group-%d", i*7%31), ms
}

// kill9Want is the fold over the input, in nothing of ours: per partition the
// greatest time so far decides what is late for its second.
func kill9Want(n int, partition func(key string) int) (windows, keys map[string]int64) {
	windows, keys = map[string]int64{}, map[string]int64{}
	latest := [kill9Partitions]int64{}
	for i := range n {
		key, value, ms := kill9Input(i)
		p := partition(key)
		latest[p] = max(latest[p], ms)
		keys[key]++
		if start := ms - ms%1000; latest[p] < start+1000+300 {
			windows[fmt.Sprintf("%s@%d", value, start)]++
		}
	}
	return windows, keys
}

func TestKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped with -short: the children are not instrumented; make test runs it")
	}
	kill9(t, 3)
}

func TestIntegrationKill9(t *testing.T) {
	peers.NeedIntegration(t)
	kill9(t, 10)
}

func TestTortureKill9(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	hits := kill9(t, 100)
	for _, what := range []string{"open transaction", "unfinished checkpoint", "segment roll"} {
		if hits[what] < 5 {
			t.Errorf("only %d of 100 kills hit an %s, want at least 5", hits[what], what)
		}
	}
}

// kill9 kills the child as often, between the first and the last input offset,
// lets a last one end, and compares output and state with the fold.
func kill9(t *testing.T, kills int) (hits map[string]int) {
	t.Helper()
	hits, problems := kill9Rounds(t, t.TempDir(), kills)
	for _, p := range problems {
		t.Error(p)
	}
	t.Logf("%d kills: %d hit an open transaction, %d an unfinished checkpoint, %d a segment roll",
		kills, hits["open transaction"], hits["unfinished checkpoint"], hits["segment roll"])
	return hits
}

func kill9Rounds(t *testing.T, dir string, kills int) (hits map[string]int, problems []string) {
	t.Helper()
	n := kill9RecordsPerLife * (kills + 2)
	kill9Preload(t, dir, n)
	rnd := rand.New(rand.NewSource(int64(kills)))
	hits = map[string]int{}
	last := int64(0)
	for k := range kills {
		o := kill9Order{Dir: dir, Arm: int64(kill9RecordsPerLife*k) + rnd.Int63n(kill9RecordsPerLife)}
		switch k % 4 {
		case 1:
			o.Die, o.Nth = "checkpoint", 1+rnd.Intn(40)
		case 2:
			o.Die, o.Nth = "roll", 1+rnd.Intn(6)
		}
		at, died := kill9Life(t, o)
		if at >= int64(n) {
			t.Fatalf("kill %d came after the last input offset: %d of %d records were committed", k, at, n)
		}
		last = at
		if died && o.Die == "checkpoint" {
			hits["unfinished checkpoint"]++
		}
		if died && o.Die == "roll" {
			hits["segment roll"]++
		}
		if openTransaction(t, filepath.Join(dir, "log")) {
			hits["open transaction"]++
		}
	}
	if last == 0 {
		t.Fatal("no life committed anything")
	}
	kill9Life(t, kill9Order{Dir: dir, End: true})
	return hits, kill9Compare(t, dir, n)
}

func kill9Preload(t *testing.T, dir string, n int) {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: filepath.Join(dir, "log"), MaintenanceInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"in", "closed", "updates"} {
		if _, err := b.CreateTopic(broker.TopicSpec{Name: topic, Partitions: kill9Partitions,
			Configs: map[string]string{"retention.ms": "-1"}}); err != nil {
			t.Fatal(err)
		}
	}
	builders := [kill9Partitions]*record.Builder{}
	for p := range builders {
		builders[p] = record.NewBuilder()
	}
	flush := func(p int) {
		if builders[p].Count() == 0 {
			return
		}
		data, err := builders[p].Finish(record.None)
		if err != nil {
			t.Fatal(err)
		}
		part, err := b.Partition(record.TopicPartition{Topic: "in", Partition: record.Partition(p)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Produce(data, broker.AcksLeader); err != nil {
			t.Fatal(err)
		}
		builders[p].Reset()
	}
	for i := range n {
		key, value, ms := kill9Input(i)
		p := int(record.PartitionForKey([]byte(key), kill9Partitions))
		builders[p].Append(&record.View{Key: []byte(key), Value: []byte(value + padding), Timestamp: ms})
		if builders[p].Count() == 500 {
			flush(p)
		}
	}
	for p := range builders {
		flush(p)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// kill9Life runs one child. It is killed once o.Arm records are committed,
// unless it dies by its own hand or shall reach the end. It returns the last
// progress and whether the child died by its own hand.
func kill9Life(t *testing.T, o kill9Order) (at int64, died bool) {
	t.Helper()
	cmd := reexec(t, "TestKill9Child", kill9Env, o)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if line == "dying" {
			died = true
		} else if _, err := fmt.Sscanf(line, "at %d", &at); err != nil {
			said.WriteString(line + "\n")
		}
		// A child that waits for a moment that does not come is killed anyway.
		overdue := o.Die == "" || at >= o.Arm+3*kill9RecordsPerLife/4
		if !o.End && at >= o.Arm && overdue && !died {
			cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	switch {
	case o.End && err != nil:
		t.Fatalf("the last child failed: %v\n%s%s", err, said.String(), stderr.String())
	case !o.End && cmd.ProcessState.ExitCode() != -1:
		t.Fatalf("a child ended by itself at %d: %v\n%s%s", at, err, said.String(), stderr.String())
	}
	return at, died
}

// openTransaction looks, without opening the broker, whether the last state of
// any transactional id in __transaction_state is ongoing or being decided.
func openTransaction(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "__transaction_state-*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]int8{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		it := record.NewIterator(data, record.ReadOptions{})
		var v record.View
		for it.Next(&v) {
			var key kmsg.TxnMetadataKey
			var value kmsg.TxnMetadataValue
			if key.ReadFrom(v.Key) == nil && value.ReadFrom(v.Value) == nil {
				states[key.TransactionalID] = int8(value.State)
			}
		}
		it.Release() // a torn tail is what a kill leaves
	}
	for _, s := range states {
		if s == 1 || s == 2 || s == 3 { // Ongoing, PrepareCommit, PrepareAbort
			return true
		}
	}
	return false
}

func kill9Compare(t *testing.T, dir string, n int) (problems []string) {
	t.Helper()
	windows, keys := kill9Want(n, func(key string) int { return int(record.PartitionForKey([]byte(key), kill9Partitions)) })
	if len(windows) == 0 || len(keys) == 0 {
		t.Fatal("the fold is empty")
	}
	problem := func(format string, args ...any) {
		if len(problems) < 10 {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	b, err := broker.Open(broker.Config{Dir: filepath.Join(dir, "log"), MaintenanceInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	closed := map[string]int64{}
	kill9Read(t, b, "closed", func(k, v []byte) {
		at := fmt.Sprintf("%s@%d", k[:len(k)-8], int64(binary.BigEndian.Uint64(k[len(k)-8:])))
		if _, twice := closed[at]; twice {
			problem("window %s came out twice", at)
		}
		closed[at] = int64(binary.BigEndian.Uint64(v))
	})
	compareMaps(closed, windows, "result of window", problem)
	seen := map[string]int64{}
	kill9Read(t, b, "updates", func(k, v []byte) {
		seen[string(k)]++
		if got := int64(binary.BigEndian.Uint64(v)); got != seen[string(k)] {
			problem("update %d of %s says %d", seen[string(k)], k, got)
		}
	})
	compareMaps(seen, keys, "updates of", problem)
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s kill9State
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	compareMaps(s.Windows, windows, "stored window", problem)
	compareMaps(s.Keys, keys, "stored count of", problem)
	return problems
}

func compareMaps(got, want map[string]int64, what string, problem func(string, ...any)) {
	if maps.Equal(got, want) {
		return
	}
	for k, n := range want {
		if got[k] != n {
			problem("%s %s: got %d, want %d", what, k, got[k], n)
		}
	}
	for k, n := range got {
		if _, ok := want[k]; !ok {
			problem("%s %s: got %d, want none", what, k, n)
		}
	}
}

// kill9Read calls fn for every committed record of a topic.
func kill9Read(t *testing.T, b *broker.Broker, topic string, fn func(k, v []byte)) {
	t.Helper()
	for p := range kill9Partitions {
		part, err := b.Partition(record.TopicPartition{Topic: topic, Partition: record.Partition(p)})
		if err != nil {
			t.Fatal(err)
		}
		for from := part.Offsets().Start; from < part.Offsets().Stable; {
			c, err := part.Read(from, broker.ReadOptions{Committed: true})
			if err != nil {
				t.Fatal(err)
			}
			for {
				_, raw, ok := c.NextBatch()
				if !ok {
					break
				}
				it := record.NewIterator(raw, record.ReadOptions{})
				var v record.View
				for it.Next(&v) {
					if v.Offset >= c.From {
						fn(v.Key, v.Value)
					}
				}
				if err := it.Err(); err != nil {
					t.Fatal(err)
				}
				it.Release()
			}
			if err := c.Err(); err != nil {
				t.Fatal(err)
			}
			from = c.Next
			c.Release()
		}
	}
}
