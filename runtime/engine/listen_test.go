package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// shoutProgram writes every line in capitals.
func shoutProgram(t *testing.T) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("shout")
	b.From[string, string]("lines").MapValues(func(_, v string) string { return strings.ToUpper(v) }).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// TestKafkaClientsWriteTheInputAndReadTheOutputOfARunningProgram: a foreign
// client produces the input of an embedded program and consumes what it commits.
func TestKafkaClientsWriteTheInputAndReadTheOutputOfARunningProgram(t *testing.T) {
	e, err := engine.New(shoutProgram(t), engine.Config{
		Log: "embedded:" + t.TempDir(), InMemoryState: true, Partitions: 1, Flush: "os", CommitInterval: 5 * time.Millisecond,
		Listen: engine.Listen{Addr: "127.0.0.1:0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	addr := e.ListenAddrs()[0].String()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()

	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, word := range []string{"one", "two", "three"} {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "lines", Value: []byte(word)}).FirstErr(); err != nil {
			t.Fatalf("produce into the program's input: %v", err)
		}
	}
	var got []string
	for len(got) < 3 {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if want := "ONE TWO THREE"; strings.Join(got, " ") != want {
		t.Errorf("the client read %q, expected %q", got, want)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "lnies", Value: []byte("x")}).FirstErr(); err == nil {
		t.Error("a wrong topic name was made a topic; Listen.AutoCreate is off")
	}
	stop()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestListenRefusesWhatItCannotServe(t *testing.T) {
	topo := shoutProgram(t)
	for _, c := range []struct {
		name string
		cfg  engine.Config
		want string
	}{
		{"exposed", engine.Config{Listen: engine.Listen{Addr: "0.0.0.0:0", Advertised: "log.example.org:9092"}}, "Listen.Insecure"},
		{"no advertised address", engine.Config{Listen: engine.Listen{Addr: "0.0.0.0:0", Insecure: true}}, "which HOST:PORT to advertise"},
		{"no port", engine.Config{Listen: engine.Listen{Addr: "localhost"}}, "expected HOST:PORT"},
		{"protocol", engine.Config{Listen: engine.Listen{Addr: "HTTP://127.0.0.1:0"}}, `unknown protocol "HTTP"`},
		{"no certificate", engine.Config{Listen: engine.Listen{Addr: "SSL://127.0.0.1:0"}}, "no certificate file"},
		{"a cluster's log", engine.Config{Log: "kafka://127.0.0.1:9", Listen: engine.Listen{Addr: "127.0.0.1:0"}}, "Listen is for an embedded log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cfg.Log == "" {
				c.cfg.Log = "embedded:" + t.TempDir()
			}
			c.cfg.InMemoryState = true
			e, err := engine.New(topo, c.cfg)
			if err == nil {
				e.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New: %v; expected an error with %q", err, c.want)
			}
		})
	}
}
