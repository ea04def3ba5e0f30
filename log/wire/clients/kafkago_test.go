package clients

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// kafkaGo is the client segmentio/kafka-go, in this process. It has no
// idempotent or transactional writer and no groups but the eager ones.
type kafkaGo struct {
	broker  string
	cl      *kafka.Client
	mu      sync.Mutex
	running map[string]*kafkaGoMember
}

var errLacks = errors.New("kafka-go has not got this")

func startKafkaGo(t testing.TB, broker string) client {
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafkaGo{
		broker:  broker,
		cl:      &kafka.Client{Addr: kafka.TCP(broker), Transport: transport, Timeout: patience},
		running: map[string]*kafkaGoMember{},
	}
}

func (k *kafkaGo) transact(transactArgs) ([]int64, error) { return nil, errLacks }
func (k *kafkaGo) fence(transactArgs) (string, error)     { return "", errLacks }
func (k *kafkaGo) relay(relayArgs) (relayed, error)       { return relayed{}, errLacks }

func (k *kafkaGo) produce(a produceArgs) ([]int64, error) {
	offsets := make([]int64, len(a.Records))
	transport := &kafka.Transport{} // of its own: a transport knows the topics of some seconds ago
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{
		Addr: kafka.TCP(k.broker), Topic: a.Topic, BatchTimeout: 5 * time.Millisecond, Transport: transport, BatchSize: len(a.Records),
		RequiredAcks: map[string]kafka.RequiredAcks{"0": kafka.RequireNone, "1": kafka.RequireOne, "all": kafka.RequireAll}[a.Acks],
		Compression:  map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}[a.Codec],
		Balancer: kafka.BalancerFunc(func(m kafka.Message, _ ...int) int {
			return int(a.Records[m.WriterData.(int)].Partition)
		}),
		Completion: func(done []kafka.Message, err error) {
			for _, m := range done { // one call per partition's batch, each with records of its own
				offsets[m.WriterData.(int)] = m.Offset
			}
		},
	}
	var messages []kafka.Message
	for i, r := range a.Records {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: time.UnixMilli(r.Time), WriterData: i}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		messages = append(messages, m)
	}
	ctx, cancel := soon()
	defer cancel()
	err := w.WriteMessages(ctx, messages...)
	return offsets, errors.Join(err, w.Close())
}

func kafkaGoDecode(m kafka.Message) record {
	d := record{Partition: int32(m.Partition), Offset: m.Offset, Time: m.Time.UnixMilli(), Key: m.Key, Value: m.Value, Headers: []header{}}
	for _, h := range m.Headers {
		d.Headers = append(d.Headers, header{h.Key, h.Value})
	}
	return d
}

func (k *kafkaGo) partitions(ctx context.Context, topic string) (int, error) {
	m, err := k.cl.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	return len(m.Topics[0].Partitions), m.Topics[0].Error
}

func (k *kafkaGo) read(a readArgs) ([]record, error) {
	ctx, cancel := soon()
	defer cancel()
	n, err := k.partitions(ctx, a.Topic)
	if err != nil {
		return nil, err
	}
	var all []record
	for p := range n {
		if all, err = k.readPartition(ctx, a, p, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readPartition reads until the record before the end; where that is a marker
// or aborted, which kafka-go does not show, until nothing has come for a while.
func (k *kafkaGo) readPartition(ctx context.Context, a readArgs, p int, all []record) ([]record, error) {
	end, err := k.offset(ctx, a.Topic, p, kafka.LastOffset)
	if err != nil {
		return nil, err
	}
	start, err := k.offset(ctx, a.Topic, p, kafka.FirstOffset)
	if err != nil || start == end {
		return all, err
	}
	level := kafka.ReadUncommitted
	if a.Isolation == "read_committed" {
		level = kafka.ReadCommitted
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{k.broker}, Topic: a.Topic, Partition: p, IsolationLevel: level, MaxBytes: 10 << 20, MaxWait: 300 * time.Millisecond})
	defer r.Close()
	if err := r.SetOffset(start); err != nil {
		return nil, err
	}
	for { // where a marker is last, only silence tells the end
		silence := 3 * time.Second
		if len(all) == 0 {
			silence = 10 * time.Second
		}
		quiet, cancel := context.WithTimeout(ctx, silence)
		m, err := r.ReadMessage(quiet)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, kafkaGoDecode(m))
		if m.Offset == end-1 {
			return all, nil
		}
	}
}

func (k *kafkaGo) offset(ctx context.Context, topic string, p int, at int64) (int64, error) {
	rs, err := k.cl.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {{Partition: p, Timestamp: at}}}})
	if err != nil {
		return 0, err
	}
	o := rs.Topics[topic][0]
	switch at {
	case kafka.FirstOffset:
		return o.FirstOffset, o.Error
	case kafka.LastOffset:
		return o.LastOffset, o.Error
	}
	for found := range o.Offsets {
		return found, o.Error
	}
	return -1, o.Error
}

// kafkaGoMember is a member of a group that commits what it has seen after each record.
type kafkaGoMember struct {
	group *kafka.ConsumerGroup
	stop  context.CancelFunc
	done  chan struct{}

	mu       sync.Mutex
	assigned []string
	seen     []record
	revoked  int
	fault    error
}

func (k *kafkaGo) join(a joinArgs) error {
	g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: a.Group, Brokers: []string{k.broker}, Topics: a.Topics, GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		HeartbeatInterval: 300 * time.Millisecond, SessionTimeout: 10 * time.Second, StartOffset: kafka.FirstOffset,
		Dialer: &kafka.Dialer{ClientID: a.Member, Timeout: 10 * time.Second},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &kafkaGoMember{group: g, stop: stop, done: make(chan struct{})}
	k.mu.Lock()
	k.running[a.Member] = m
	k.mu.Unlock()
	go m.run(ctx, k.broker)
	return nil
}

func (m *kafkaGoMember) run(ctx context.Context, broker string) {
	defer close(m.done)
	for {
		g, err := m.group.Next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, kafka.RebalanceInProgress) {
				m.fail(err)
			}
			if ctx.Err() != nil {
				return
			}
			continue
		}
		m.take(g)
		for topic, parts := range g.Assignments {
			for _, p := range parts {
				g.Start(func(ctx context.Context) { m.consume(ctx, g, broker, topic, p) })
			}
		}
		g.Start(func(ctx context.Context) { // it ends with the generation
			<-ctx.Done()
			m.mu.Lock()
			defer m.mu.Unlock()
			m.revoked += len(m.assigned)
			m.assigned = nil
		})
	}
}

func (m *kafkaGoMember) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = errors.Join(m.fault, err)
}

func (m *kafkaGoMember) take(g *kafka.Generation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.assigned = nil
	for topic, parts := range g.Assignments {
		for _, p := range parts {
			m.assigned = append(m.assigned, fmt.Sprintf("%s-%d", topic, p.ID))
		}
	}
	slices.Sort(m.assigned)
}

func (m *kafkaGoMember) consume(ctx context.Context, g *kafka.Generation, broker, topic string, p kafka.PartitionAssignment) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: topic, Partition: p.ID, MaxBytes: 10 << 20, MaxWait: 300 * time.Millisecond})
	defer r.Close()
	if err := r.SetOffset(p.Offset); err != nil {
		m.fail(err)
		return
	}
	for {
		msg, err := r.ReadMessage(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, kafka.ErrGenerationEnded) {
				m.fail(err)
			}
			return
		}
		if err := g.CommitOffsets(map[string]map[int]int64{topic: {p.ID: msg.Offset + 1}}); err != nil {
			m.fail(err)
			return
		}
		m.mu.Lock()
		m.seen = append(m.seen, kafkaGoDecode(msg))
		m.mu.Unlock()
	}
}

func (k *kafkaGo) members() (map[string]memberState, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[string]memberState{}
	for name, m := range k.running {
		m.mu.Lock()
		s := memberState{Assigned: slices.Clone(m.assigned), Seen: len(m.seen), Revoked: m.revoked}
		if m.fault != nil {
			s.Fault = m.fault.Error()
		}
		m.mu.Unlock()
		all[name] = s
	}
	return all, nil
}

func (k *kafkaGo) leave(member string) ([]record, error) {
	k.mu.Lock()
	m := k.running[member]
	delete(k.running, member)
	k.mu.Unlock()
	m.stop()
	err := m.group.Close()
	<-m.done
	return m.seen, errors.Join(m.fault, err)
}

func (k *kafkaGo) admin(op string, a adminArgs, result any) error {
	ctx, cancel := soon()
	defer cancel()
	answer, err := k.administer(ctx, op, a)
	if err != nil || result == nil {
		return err
	}
	return throughJSON(answer, result)
}

func (k *kafkaGo) administer(ctx context.Context, op string, a adminArgs) (any, error) {
	switch op {
	case "create":
		config := kafka.TopicConfig{Topic: a.Topic, NumPartitions: int(a.Partitions), ReplicationFactor: 1}
		for name, value := range a.Configs {
			config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: *value})
		}
		rs, err := k.cl.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
		if err != nil {
			return nil, err
		}
		return nil, rs.Errors[a.Topic]
	case "describe":
		return k.describe(ctx, a.Topic)
	case "alter":
		return nil, k.alter(ctx, a)
	case "grow":
		rs, err := k.cl.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: a.Topic, Count: a.Partitions}}})
		if err != nil {
			return nil, err
		}
		return nil, rs.Errors[a.Topic]
	case "drop":
		rs, err := k.cl.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{a.Topic}})
		if err != nil {
			return nil, err
		}
		return nil, rs.Errors[a.Topic]
	case "topics":
		m, err := k.cl.Metadata(ctx, &kafka.MetadataRequest{})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, t := range m.Topics {
			names = append(names, t.Name)
		}
		return names, nil
	case "offset":
		return k.offset(ctx, a.Topic, int(a.Partition), a.At)
	default:
		return k.administerGroup(ctx, op, a)
	}
}

func (k *kafkaGo) describe(ctx context.Context, topic string) (any, error) {
	n, err := k.partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	rs, err := k.cl.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}}})
	if err != nil {
		return nil, err
	}
	configs := map[string]string{}
	for _, e := range rs.Resources[0].ConfigEntries {
		if e.ConfigSource == 1 { // the topic's own
			configs[e.ConfigName] = e.ConfigValue
		}
	}
	return map[string]any{"partitions": n, "configs": configs}, rs.Resources[0].Error
}

func (k *kafkaGo) alter(ctx context.Context, a adminArgs) error {
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: a.Topic}
	for _, name := range slices.Sorted(maps.Keys(a.Configs)) {
		c := kafka.IncrementalAlterConfigsRequestConfig{Name: name, ConfigOperation: kafka.ConfigOperationDelete}
		if v := a.Configs[name]; v != nil {
			c.Value, c.ConfigOperation = *v, kafka.ConfigOperationSet
		}
		resource.Configs = append(resource.Configs, c)
	}
	rs, err := k.cl.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{resource}})
	if err != nil {
		return err
	}
	return rs.Resources[0].Error
}

func (k *kafkaGo) administerGroup(ctx context.Context, op string, a adminArgs) (any, error) {
	switch op {
	case "groups":
		rs, err := k.cl.ListGroups(ctx, &kafka.ListGroupsRequest{})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, g := range rs.Groups {
			names = append(names, g.GroupID)
		}
		return names, rs.Error
	case "group":
		rs, err := k.cl.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{a.Group}})
		if err != nil {
			return nil, err
		}
		return map[string]any{"state": rs.Groups[0].GroupState, "members": len(rs.Groups[0].Members)}, rs.Groups[0].Error
	case "committed":
		n, err := k.partitions(ctx, a.Topic)
		if err != nil {
			return nil, err
		}
		ask := map[string][]int{a.Topic: nil}
		for p := range n {
			ask[a.Topic] = append(ask[a.Topic], p)
		}
		rs, err := k.cl.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: a.Group, Topics: ask})
		if err != nil {
			return nil, err
		}
		offsets := map[string]int64{}
		for _, p := range rs.Topics[a.Topic] {
			if p.CommittedOffset >= 0 {
				offsets[fmt.Sprintf("%s-%d", a.Topic, p.Partition)] = p.CommittedOffset
			}
		}
		return offsets, rs.Error
	case "forget":
		rs, err := k.cl.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{a.Group}})
		if err != nil {
			return nil, err
		}
		return nil, rs.Errors[a.Group]
	}
	return nil, fmt.Errorf("%s: %w", op, errLacks)
}
