package engine_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/kafka"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// The same program gives the same output wherever its log is.
func TestIntegrationSameOutputOnEveryLog(t *testing.T) {
	peers.NeedIntegration(t)
	in := lines(20_000, 11)
	want := fold(in)
	t.Run("Apache Kafka", func(t *testing.T) { sameOnCluster(t, peers.NeedKafkaBroker(t).Addr(), in, want) })
	t.Run("millstream serve", func(t *testing.T) { sameOnCluster(t, peers.NeedServe(t).Addr(), in, want) })
}

func sameOnCluster(t *testing.T, addr string, in []line, want map[string]int64) {
	cfg := config(in, 3, 2)
	cfg.Log, cfg.StateDir = "kafka://"+addr, t.TempDir()
	for range 2 { // the second run finds that everything is done
		e, err := engine.New(countProgram(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := errors.Join(e.Run(ctx), ctx.Err(), e.Close()); err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		clusterRead(t, addr, "out", func(k, v []byte) {
			if _, twice := got[string(k)]; twice {
				t.Errorf("window %s was emitted twice", k)
			}
			got[string(k)] = int64(binary.BigEndian.Uint64(v))
		})
		same(t, got, want)
	}
}

// clusterRead calls fn for every committed record of a topic.
func clusterRead(t *testing.T, addr, topic string, fn func(k, v []byte)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	log, err := kafka.Open(ctx, kafka.Config{Seeds: []string{addr}})
	fatal(err)
	defer log.Close()
	infos, err := log.Describe(ctx, []string{topic})
	fatal(err)
	var tps []record.TopicPartition
	from := map[record.TopicPartition]record.Offset{}
	for p := range infos[0].Partitions {
		tps = append(tps, record.TopicPartition{Topic: topic, Partition: record.Partition(p)})
		from[tps[p]] = 0
	}
	ends, err := log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtEnd})
	fatal(err)
	r, err := log.Reader(logclient.ReaderConfig{})
	fatal(err)
	defer r.Close()
	r.Assign(from)
	for i, tp := range tps {
		for from[tp] < ends[i].Offset {
			batches, err := r.Poll(ctx, 1<<20)
			fatal(err)
			for _, b := range batches {
				var v record.View
				for b.Next(&v) {
					fn(v.Key, v.Value)
				}
				fatal(b.Err())
				from[b.TopicPartition()] = b.NextOffset()
				b.Release()
			}
		}
	}
}

// clusterOrder is what the parent tells a child of the kill test on a cluster.
type clusterOrder struct {
	Broker, Dir string
	End         bool // run to the end of the input and write the state to state.json
}

const clusterEnv = "MILLSTREAM_CLUSTER_ORDER"

// TestClusterChild is the child's whole life; without an order it does nothing.
func TestClusterChild(t *testing.T) {
	text := os.Getenv(clusterEnv)
	if text == "" {
		return // only a child of the test below has an order
	}
	var o clusterOrder
	if err := errors.Join(json.Unmarshal([]byte(text), &o), o.live()); err != nil {
		t.Fatal(err)
	}
}

func (o *clusterOrder) live() error {
	topo, err := kill9Topology()
	if err != nil {
		return err
	}
	var e *engine.Engine
	cfg := engine.Config{Log: "kafka://" + o.Broker, StateDir: filepath.Join(o.Dir, "state"), Workers: 2, Partitions: kill9Partitions,
		CommitInterval: 20 * time.Millisecond, CheckpointInterval: 50 * time.Millisecond, Bounded: o.End}
	cfg.Hooks.Committed = func(_ string, _ time.Duration, err error) {
		if err == nil {
			fmt.Println("at", committedInput(e))
		}
	}
	if e, err = engine.New(topo, cfg); err != nil {
		return err
	}
	if err := e.Run(context.Background()); err != nil {
		return err
	}
	return errors.Join((&kill9Order{Dir: o.Dir}).writeState(e), e.Close())
}

// run starts a child and kills it once so many input records are committed, or
// lets it reach the end. It returns the last progress.
func (o *clusterOrder) run(t *testing.T, until int64) (at int64) {
	t.Helper()
	cmd := reexec(t, "TestClusterChild", clusterEnv, o)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() // where the test gives up
	killed := false
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "at %d", &at); err != nil {
			said.WriteString(lines.Text() + "\n")
		}
		if !o.End && at >= until && !killed {
			killed = true
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); !killed && (err != nil || !o.End) {
		t.Fatalf("a child ended by itself at %d: %v\n%s%s", at, err, said.String(), stderr.String())
	}
	return at
}

// A program on a cluster is killed again and again; its output and its state are
// those of the fold over the input.
func TestIntegrationKill9OnKafka(t *testing.T) {
	kill9OnCluster(t, peers.NeedKafkaBroker(t).Addr(), 3)
}

func TestIntegrationKill9OnServe(t *testing.T) {
	kill9OnCluster(t, peers.NeedServe(t).Addr(), 3)
}

func TestTortureKill9OnClusters(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	t.Run("Apache Kafka", func(t *testing.T) { kill9OnCluster(t, peers.NeedKafkaBroker(t).Addr(), 30) })
	t.Run("millstream serve", func(t *testing.T) { kill9OnCluster(t, peers.NeedServe(t).Addr(), 30) })
}

func kill9OnCluster(t *testing.T, addr string, kills int) {
	n := kill9RecordsPerLife * (kills + 2) // a life may read far before its kill comes
	clusterPreload(t, addr, n)
	o := clusterOrder{Broker: addr, Dir: t.TempDir()}
	for k := range kills {
		if at := o.run(t, int64(kill9RecordsPerLife*k+kill9RecordsPerLife/2)); at >= int64(n) {
			t.Fatalf("kill %d came after the last input offset: %d of %d records were committed", k, at, n)
		}
	}
	o.End = true
	o.run(t, 0)

	windows, keys := kill9Want(n, func(key string) int { return int(record.PartitionForKey([]byte(key), kill9Partitions)) })
	problem := func(format string, args ...any) { t.Errorf(format, args...) }
	closed, seen := map[string]int64{}, map[string]int64{}
	clusterRead(t, addr, "closed", func(k, v []byte) {
		at := fmt.Sprintf("%s@%d", k[:len(k)-8], int64(binary.BigEndian.Uint64(k[len(k)-8:])))
		if _, twice := closed[at]; twice {
			problem("window %s came out twice", at)
		}
		closed[at] = int64(binary.BigEndian.Uint64(v))
	})
	compareMaps(closed, windows, "result of window", problem)
	clusterRead(t, addr, "updates", func(k, v []byte) {
		seen[string(k)]++
		if got := int64(binary.BigEndian.Uint64(v)); got != seen[string(k)] {
			problem("update %d of %s says %d", seen[string(k)], k, got)
		}
	})
	compareMaps(seen, keys, "updates of", problem)
	text, err := os.ReadFile(filepath.Join(o.Dir, "state.json"))
	var s kill9State
	if err := errors.Join(err, json.Unmarshal(text, &s)); err != nil {
		t.Fatal(err)
	}
	compareMaps(s.Windows, windows, "stored window", problem)
	compareMaps(s.Keys, keys, "stored count of", problem)
	t.Logf("%d kills: %d records, %d windows, %d keys as the fold has them", kills, n, len(windows), len(keys))
}

// clusterPreload writes the input in transactions.
func clusterPreload(t *testing.T, addr string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	log, err := kafka.Open(ctx, kafka.Config{Seeds: []string{addr}})
	fatal(err)
	defer log.Close()
	var specs []logclient.TopicSpec
	for _, topic := range []string{"in", "closed", "updates"} {
		specs = append(specs, logclient.TopicSpec{Name: topic, Partitions: kill9Partitions, Configs: map[string]string{"retention.ms": "-1"}})
	}
	_, err = log.Ensure(ctx, specs)
	fatal(err)
	w, err := log.Writer(ctx, "preload", logclient.WriterConfig{})
	fatal(err)
	defer w.Close()
	for i := range n {
		key, value, ms := kill9Input(i)
		tp := record.TopicPartition{Topic: "in", Partition: record.PartitionForKey([]byte(key), kill9Partitions)}
		fatal(w.Append(tp, &record.View{Key: []byte(key), Value: []byte(value + padding), Timestamp: ms}))
		if i%10_000 == 9999 || i == n-1 {
			_, err := w.Commit(ctx, nil, logclient.Generation{})
			fatal(err)
		}
	}
}
