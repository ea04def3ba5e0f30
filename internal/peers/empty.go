package peers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// EmptyCluster deletes all topics but the cluster's own, and all groups, of a
// Kafka or a `millstream serve` that a test has for itself. Groups must be without
// members.
func EmptyCluster(t testing.TB, seeds ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fatal := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("empty the cluster at %v: %s: %v", seeds, what, err)
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(10*time.Millisecond))
	fatal("open a client", err)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	brokers, err := adm.ListBrokers(ctx)
	fatal("list the brokers", err)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var left []string
		for _, broker := range brokers { // each hears of what is made, and of what is deleted, a little later
			req := kmsg.NewPtrMetadataRequest() // of all topics
			meta, err := req.RequestWith(ctx, cl.Broker(int(broker.NodeID)))
			fatal(fmt.Sprintf("ask broker %d what there is", broker.NodeID), err)
			left = append(left, userTopics(meta)...)
		}
		slices.Sort(left)
		left = slices.Compact(left)
		if len(left) == 0 {
			break
		}
		deleted, err := adm.DeleteTopics(ctx, left...)
		fatal("delete the topics", err)
		for _, topic := range deleted {
			if !errors.Is(topic.Err, kerr.UnknownTopicOrPartition) {
				fatal("delete topic "+topic.Topic, topic.Err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			fatal(fmt.Sprintf("there still are the topics %v", left), context.Cause(ctx))
		}
	}
	groups, err := adm.ListGroups(ctx)
	fatal("list the groups", err)
	if names := groups.Groups(); len(names) > 0 {
		deleted, err := adm.DeleteGroups(ctx, names...)
		fatal("delete the groups", errors.Join(err, deleted.Error()))
	}
}

// userTopics names the topics that are not the cluster's own.
func userTopics(meta *kmsg.MetadataResponse) (names []string) {
	for _, topic := range meta.Topics {
		if !topic.IsInternal {
			names = append(names, *topic.Topic)
		}
	}
	return names
}
