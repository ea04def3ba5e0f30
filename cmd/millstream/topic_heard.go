package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Brokers of a cluster hear of a topic that was made or deleted one after the other,
// and a moment after the controller has said that it is. Who makes a topic and uses it
// in the next line of a script should not meet one that has not.
const (
	hearsay      = 5 * time.Second // that is waited for at most
	hearsayAgain = 20 * time.Millisecond
)

// heard waits until every broker that answers knows the topics, or does not know them
// any more. That it does not come about is no error: the topics are made, or deleted.
func (c *client) heard(ctx context.Context, names []string, there bool) {
	if len(names) == 0 {
		return
	}
	brokers, err := c.admin.ListBrokers(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, hearsay)
	defer cancel()
	for _, b := range brokers {
		until(ctx, func() bool { return c.knows(ctx, b.NodeID, names, there) })
	}
}

// until asks again and again, until ctx ends.
func until(ctx context.Context, ok func() bool) {
	tick := time.NewTicker(hearsayAgain)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// knows asks one broker. One that does not answer, or may not tell, is not waited for.
func (c *client) knows(ctx context.Context, node int32, names []string, there bool) bool {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := c.Broker(int(node)).Request(ctx, req)
	if err != nil {
		return true
	}
	return allHeard(resp.(*kmsg.MetadataResponse).Topics, there)
}

// allHeard: a topic without a leader is neither of use yet nor gone.
func allHeard(topics []kmsg.MetadataResponseTopic, there bool) bool {
	for _, t := range topics {
		switch t.ErrorCode {
		case 0:
			if !there {
				return false
			}
		case kerr.UnknownTopicOrPartition.Code:
			if there {
				return false
			}
		case kerr.LeaderNotAvailable.Code:
			return false
		}
	}
	return true
}
