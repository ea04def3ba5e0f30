package peers_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
)

type strike struct {
	name string
	do   func(*peers.KafkaBroker)
}

// The faults of runtime/engine kill a broker in `make integration`.
func TestTortureAKafkaClusterStandsEveryLossOfABroker(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	losses(t, strike{"stopped", (*peers.KafkaBroker).Stop}, strike{"paused", (*peers.KafkaBroker).Pause}, strike{"killed", (*peers.KafkaBroker).Kill})
}

// losses: any one broker may be lost: what was acknowledged by the others is
// there, and the broker comes back and catches up.
func losses(t *testing.T, strikes ...strike) {
	began := time.Now()
	c := peers.NeedKafkaCluster(t)
	t.Logf("up in %v", time.Since(began).Round(100*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Addrs(), ",")...), kgo.DefaultProduceTopic("kept"), kgo.ConsumeTopics("kept"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 3, -1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	written := 0
	write := func(n int) {
		t.Helper()
		for range n {
			if err := cl.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	for _, fault := range strikes {
		began := time.Now()
		write(10)
		b, err := c.TransactionCoordinator(ctx, "some-id")
		if err != nil {
			t.Fatal(err)
		}
		fault.do(b)
		write(10)
		other, err := c.TransactionCoordinator(ctx, "some-id")
		if err != nil {
			t.Fatal(err)
		}
		if other.ID() == b.ID() {
			t.Errorf("broker %d was %s and is still the coordinator", b.ID(), fault.name)
		}
		if err := c.Heal(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s and back in %v", fault.name, time.Since(began).Round(100*time.Millisecond))
	}
	for read := 0; read < written; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records read: %v", read, written, err)
		}
		read += fetches.NumRecords()
	}
}
