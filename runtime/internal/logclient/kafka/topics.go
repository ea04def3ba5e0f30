package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// topicCache remembers topics with their partitions' leaders.
type topicCache struct {
	cl      *kgo.Client
	denied  func(error, attempt) error // Log.denied
	silence *silence

	mu    sync.Mutex // guards what follows
	known map[string]*topic
	byID  map[[16]byte]string
}

// topic is what metadata says of it; it does not change once made.
type topic struct {
	name  string
	id    [16]byte
	parts []leader
	seen  time.Time // when metadata last had it
}

// hearsay is how much longer than others a broker may take to hear of a topic:
// what one has told of is not gone because the next one, or its leader, does not
// know it.
const hearsay = 5 * time.Second

// leader is who leads a partition, -1 if nobody does.
type leader struct {
	node  int32
	epoch record.LeaderEpoch
}

func newTopicCache(l *Log) *topicCache {
	return &topicCache{cl: l.cl, denied: l.denied, silence: l.silence, known: map[string]*topic{}, byID: map[[16]byte]string{}}
}

// get describes a topic from memory, asking if it is not known. A missing topic
// is kerr.UnknownTopicOrPartition.
func (c *topicCache) get(ctx context.Context, name string) (*topic, error) {
	c.mu.Lock()
	t := c.known[name]
	c.mu.Unlock()
	if t != nil {
		return t, nil
	}
	found, err := c.ask(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	if found[name] == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	return found[name], nil
}

// partitions is how many a topic has, from memory; 0 if it is not known.
func (c *topicCache) partitions(name string) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.known[name]; t != nil {
		return int32(len(t.parts))
	}
	return 0
}

// leads says whether a node leads any of the partitions, as far as is known; one
// of which nothing is known counts.
func (c *topicCache) leads(node int32, tps []record.TopicPartition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(tps, func(tp record.TopicPartition) bool {
		t := c.known[tp.Topic]
		return t == nil || int(tp.Partition) >= len(t.parts) || t.parts[tp.Partition].node == node
	})
}

// ask fetches topics from the cluster and remembers them; a missing one is not in
// the answer and forgotten. Each question may go to another broker, and one may
// have heard less than another.
func (c *topicCache) ask(ctx context.Context, names []string) (map[string]*topic, error) {
	found := map[string]*topic{}
	err := again(ctx, func() error {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = false
		req.Topics = []kmsg.MetadataRequestTopic{}
		for _, name := range names {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(name)
			req.Topics = append(req.Topics, t)
		}
		resp, err := req.RequestWith(ctx, c.cl)
		if err != nil {
			return err
		}
		c.silence.heardOf(len(resp.Brokers))
		for i := range resp.Topics {
			t := &resp.Topics[i]
			err := kerr.ErrorForCode(t.ErrorCode)
			switch {
			case errors.Is(err, kerr.UnknownTopicOrPartition):
				if known := c.forget(*t.Topic); known != nil {
					found[*t.Topic] = known
				}
			case err != nil && t.Topic != nil:
				return fmt.Errorf("topic %s: %w", *t.Topic, c.denied(err, attempt{op: "Describe", topic: *t.Topic}))
			case err != nil:
				return err
			default:
				found[*t.Topic] = c.remember(t)
			}
		}
		return nil
	})
	return found, err
}

func (c *topicCache) remember(m *kmsg.MetadataResponseTopic) *topic {
	t := &topic{name: *m.Topic, id: m.TopicID, parts: make([]leader, len(m.Partitions)), seen: time.Now()}
	for i := range t.parts {
		t.parts[i].node = -1
	}
	for _, p := range m.Partitions {
		if int(p.Partition) < len(t.parts) {
			t.parts[p.Partition] = leader{node: p.Leader, epoch: record.LeaderEpoch(p.LeaderEpoch)}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.known[t.name]; old != nil && old.id != t.id {
		delete(c.byID, old.id)
	} else if old != nil {
		for i := range min(len(t.parts), len(old.parts)) {
			if old.parts[i].epoch > t.parts[i].epoch {
				t.parts[i] = old.parts[i] // epochs never go back: this broker has not heard yet
			}
		}
	}
	c.known[t.name], c.byID[t.id] = t, t.name
	return t
}

// forget drops a topic that metadata does not have; one that was there a moment
// ago stays and is returned.
func (c *topicCache) forget(name string) *topic {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.known[name]
	switch {
	case t == nil:
		return nil
	case time.Since(t.seen) < hearsay:
		return t
	}
	delete(c.byID, t.id)
	delete(c.known, name)
	return nil
}

// name of a topic in an answer, which has its id or its name by version.
func (c *topicCache) name(name string, id [16]byte) string {
	if name != "" {
		return name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[id]
}

// Describe implements logclient.Log.
func (l *Log) Describe(ctx context.Context, topics []string) ([]logclient.TopicInfo, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	found, err := l.topics.ask(ctx, topics)
	if err != nil {
		return nil, l.failed(ctx, "describe topics", err)
	}
	return describe(topics, found), nil
}

func describe(names []string, found map[string]*topic) []logclient.TopicInfo {
	infos := make([]logclient.TopicInfo, len(names))
	for i, name := range names {
		infos[i].Name = name
		if t := found[name]; t != nil {
			infos[i].ID, infos[i].Partitions = t.id, int32(len(t.parts))
		}
	}
	return infos
}

// failed classifies an error of a call; a log that was closed meanwhile says so.
func (l *Log) failed(ctx context.Context, what string, err error) error {
	if closed := l.live(); closed != nil {
		return closed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classified(what, err)
}

// Ensure implements logclient.Log.
func (l *Log) Ensure(ctx context.Context, specs []logclient.TopicSpec) ([]logclient.TopicInfo, error) {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	infos, err := l.Describe(ctx, names)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	asked := map[string]bool{}
	for i, s := range specs {
		switch {
		case infos[i].Partitions == 0 && !asked[s.Name]:
			asked[s.Name] = true
			req.Topics = append(req.Topics, l.creation(s))
		case infos[i].Partitions == 0:
		case s.Partitions != 0 && s.Partitions != infos[i].Partitions:
			return nil, &logclient.TopicMismatchError{Topic: s.Name, Have: infos[i].Partitions, Expected: s.Partitions}
		}
	}
	if err := l.checkKept(ctx, specs, infos); err != nil {
		return nil, err
	}
	if err := l.follow(ctx, specs, infos); err != nil {
		return nil, err
	}
	if len(req.Topics) == 0 {
		return infos, nil
	}
	if err := l.create(ctx, req); err != nil {
		return nil, err
	}
	found, err := l.awaitLeaders(ctx, names)
	if err != nil {
		return nil, err
	}
	infos = describe(names, found)
	for i, s := range specs { // somebody else may have been faster
		if s.Partitions != 0 && s.Partitions != infos[i].Partitions {
			return nil, &logclient.TopicMismatchError{Topic: s.Name, Have: infos[i].Partitions, Expected: s.Partitions}
		}
	}
	return infos, nil
}

// follow alters topics that are there to what was asked for. Who may not alter
// them leaves them as they are: they work as well.
func (l *Log) follow(ctx context.Context, specs []logclient.TopicSpec, infos []logclient.TopicInfo) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for i, s := range specs {
		if !s.Follow || infos[i].Partitions == 0 || len(s.Configs) == 0 {
			continue
		}
		res := kmsg.NewIncrementalAlterConfigsRequestResource()
		res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, s.Name
		for _, k := range slices.Sorted(maps.Keys(s.Configs)) {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Op, c.Value = k, kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(s.Configs[k])
			res.Configs = append(res.Configs, c)
		}
		req.Resources = append(req.Resources, res)
	}
	if len(req.Resources) == 0 {
		return nil
	}
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return l.failed(ctx, "alter topics", err)
	}
	for _, res := range resp.Resources {
		err := kerr.ErrorForCode(res.ErrorCode)
		if err != nil && !errors.Is(err, kerr.TopicAuthorizationFailed) {
			return classified("alter topic "+res.ResourceName, err)
		}
	}
	return nil
}

func (l *Log) creation(s logclient.TopicSpec) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = s.Name, s.Partitions, l.cfg.ReplicationFactor
	if s.Partitions == 0 {
		t.NumPartitions = -1
	}
	for _, k := range slices.Sorted(maps.Keys(s.Configs)) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(s.Configs[k])
		t.Configs = append(t.Configs, c)
	}
	return t
}

func (l *Log) create(ctx context.Context, req *kmsg.CreateTopicsRequest) error {
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return l.failed(ctx, "create topics", err)
	}
	var forbidden []logclient.Right
	var refused error
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		switch {
		case err == nil || errors.Is(err, kerr.TopicAlreadyExists):
			continue
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			refused = err
			forbidden = append(forbidden, logclient.Right{Operation: "Create", Resource: "topic", Name: t.Topic})
			continue
		}
		if t.ErrorMessage != nil && *t.ErrorMessage != "" {
			err = fmt.Errorf("%w (%s)", err, *t.ErrorMessage)
		}
		return classified("create topic "+t.Topic, err)
	}
	if len(forbidden) > 0 {
		return classified("create topics", l.lacks(refused, forbidden...))
	}
	return nil
}

// awaitLeaders waits until new topics are known to the broker that answers, and
// each of their partitions is led. It returns that answer: the next broker that is
// asked may know less.
func (l *Log) awaitLeaders(ctx context.Context, names []string) (found map[string]*topic, err error) {
	err = again(ctx, func() (err error) {
		if found, err = l.topics.ask(ctx, names); err != nil {
			return err
		}
		for _, name := range names {
			if t := found[name]; t == nil || slices.ContainsFunc(t.parts, func(p leader) bool { return p.node < 0 }) {
				return kerr.LeaderNotAvailable
			}
		}
		return nil
	})
	if err != nil {
		return nil, l.failed(ctx, "wait for the leaders of new topics", err)
	}
	return found, nil
}

// maxMessageBytes asks for the size of the largest batch that a topic takes;
// Kafka's default where the client may not know.
func (l *Log) maxMessageBytes(ctx context.Context, name string) (int, error) {
	const byDefault = 1048588
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, name, []string{"max.message.bytes"}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return 0, l.failed(ctx, "ask for max.message.bytes of topic "+name, err)
	}
	for _, r := range resp.Resources {
		for _, c := range r.Configs {
			if c.Name == "max.message.bytes" && c.Value != nil {
				if n, err := strconv.Atoi(*c.Value); err == nil && n > 0 {
					return n, nil
				}
			}
		}
	}
	return byDefault, nil
}
