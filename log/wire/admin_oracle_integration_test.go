package wire

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// Every request of administration that a client may send, right or wrong, is
// sent to Apache Kafka and to us, and answered with the same codes and values.
// What differs on purpose says why in differs.

// oracleStep is one request; the answers of both sides must be the same.
type oracleStep struct {
	name string
	req  func() kmsg.Request
	// differs says why ours is another answer on purpose; "" if it is not.
	differs string
}

func at[R kmsg.Request](version int16, r R, f func(R)) func() kmsg.Request {
	return func() kmsg.Request {
		r.SetVersion(version)
		f(r)
		return r
	}
}

func TestIntegrationAdministrationIsAnsweredAsKafkaDoes(t *testing.T) {
	kafka := peers.StartKafkaBroker(t, "controller.quorum.append.linger.ms=0")
	ours := newTestServer(t, onDisk(t), func(b *broker.Config, _ *Config) {
		b.TopicDefaults = map[string]string{"retention.ms": "-1"} // as the broker beside it
	})
	theirs := dialTo(t, kafka.Addr())
	mine := ours.dial()
	for _, step := range oracleSteps() {
		req := step.req()
		want := withoutWords(t, theirs.do(req))
		got := withoutWords(t, mine.do(step.req()))
		// Kafka's brokers hear of changes a moment after they were acknowledged.
		for began := time.Now(); want != got && (reads(req) || early(want)) && time.Since(began) < 10*time.Second; {
			want = withoutWords(t, theirs.do(req))
		}
		switch {
		case want == got && step.differs != "":
			t.Errorf("%s: the answers are the same, although it should differ: %s", step.name, step.differs)
		case want != got && step.differs == "":
			t.Errorf("%s (%s v%d)\n kafka %s\n ours  %s", step.name, kmsg.NameForKey(req.Key()), req.GetVersion(), want, got)
		}
	}
}

// early says that Kafka's broker does not know the topic yet, or not that it leads
// the partition, as the answer of a request for one says; nothing was done.
func early(answer string) bool {
	return strings.Count(answer, `"ErrorCode":`) == 1 && notYet.MatchString(answer)
}

var notYet = regexp.MustCompile(`"ErrorCode":[356]\b`)

// reads says that a request changes nothing.
func reads(req kmsg.Request) bool {
	return strings.HasPrefix(kmsg.NameForKey(req.Key()), "Describe") || strings.HasPrefix(kmsg.NameForKey(req.Key()), "List")
}

func dialTo(t *testing.T, addr string) *rawConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(3 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{t: t, Conn: nc}
}

// withoutWords is an answer without what must differ: words, ids, places, clocks.
func withoutWords(t *testing.T, resp kmsg.Response) string {
	t.Helper()
	b, err := json.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	b, err = json.Marshal(strip(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func strip(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range []string{"ErrorMessage", "ThrottleMillis", "UnknownTags", "Dir", "TotalBytes", "UsableBytes", "Documentation",
			"ReplicaDirectoryID", "LogEndOffset", "HighWatermark", "LastFetchTimestamp", "LastCaughtUpTimestamp", "LeaderEpoch", "Nodes",
			"ClusterID", "Host", "Port", "Version", "EligibleLeaderReplicas", "LastKnownELR"} {
			delete(v, k)
		}
		if id, ok := v["TopicID"].([]any); ok {
			v["TopicID"] = slices.ContainsFunc(id, func(b any) bool { return b != 0.0 })
		}
		for k, e := range v {
			v[k] = strip(e)
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i := range v {
			v[i] = strip(v[i])
		}
		// The order of topics, configurations and partitions says nothing.
		slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	return v
}

// Names, types, values and sources of all configurations are Kafka's, but for
// those listed here.
func TestIntegrationConfigurationsAreKafkas(t *testing.T) {
	kafka := dialTo(t, peers.StartKafkaBroker(t, "").Addr())
	ours := newTestServer(t, onDisk(t), func(b *broker.Config, _ *Config) { b.TopicDefaults = map[string]string{"retention.ms": "-1"} }).dial()
	for _, c := range []*rawConn{kafka, ours} {
		c.do(create(4, false, newTopic("t", 1, 1))())
		known := settled(func() int16 {
			return c.do(describe(4, kmsg.ConfigResourceTypeTopic, "t")()).(*kmsg.DescribeConfigsResponse).Resources[0].ErrorCode
		}, codeUnknownTopicOrPartition)
		expectCode(t, "describe the topic", known, codeNone)
	}
	for _, res := range []struct {
		typ  kmsg.ConfigResourceType
		name string
		// other values on purpose; the rest may be configured by this test, or is ours.
		values []string
		extra  []string // that Kafka does not have
		all    bool     // Kafka has no others
	}{
		{kmsg.ConfigResourceTypeTopic, "t", []string{"file.delete.delay.ms", "min.insync.replicas"}, []string{"millstream.flush"}, true},
		{kmsg.ConfigResourceTypeGroupConfig, "g", nil, nil, true},
		{kmsg.ConfigResourceTypeBroker, "1", []string{
			"advertised.listeners", "auto.create.topics.enable", "broker.id", "default.replication.factor", "group.coordinator.rebalance.protocols", "group.initial.rebalance.delay.ms",
			"listener.security.protocol.map", "listeners", "log.cleaner.backoff.ms", "log.cleaner.dedupe.buffer.size", "log.dir", "log.dirs",
			"log.retention.check.interval.ms", "min.insync.replicas", "log.segment.delete.delay.ms", "node.id", "num.partitions", "offsets.topic.num.partitions",
			"offsets.topic.replication.factor", "process.roles", "sasl.enabled.mechanisms", "ssl.keystore.type", "ssl.truststore.type",
			"transaction.state.log.min.isr", "transaction.state.log.num.partitions", "transaction.state.log.replication.factor",
		}, []string{"allow.everyone.if.no.acl.found", "group.consumer.regex.refresh.interval.ms", "millstream.flush", "millstream.group.max.bytes", "millstream.groups.max.bytes", "super.users"}, false},
	} {
		theirs, mine := entries(kafka, res.typ, res.name), entries(ours, res.typ, res.name)
		for name, m := range mine {
			k, ok := theirs[name]
			if slices.Contains(res.extra, name) {
				if ok {
					t.Errorf("%s %s: is Kafka's as well", res.typ, name)
				}
				continue
			}
			if slices.Contains(res.values, name) {
				m.Value, m.Source, k.Value, k.Source = nil, 0, nil, 0
			}
			if strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl.") || strings.HasPrefix(name, "listener") {
				m.ReadOnly = k.ReadOnly // set where the server is started
			}
			if got, want := shown(m), shown(k); got != want {
				t.Errorf("%s %s: %s, Kafka's is %s", res.typ, name, got, want)
			}
		}
		for name := range theirs {
			if _, ok := mine[name]; !ok && res.all {
				t.Errorf("%s %s: is not here", res.typ, name)
			}
		}
	}
}

func shown(c kmsg.DescribeConfigsResponseResourceConfig) string {
	value := "null"
	if c.Value != nil {
		value = *c.Value
	}
	return fmt.Sprint(c.ConfigType, " ", value, " ", c.Source, " read-only ", c.ReadOnly, " sensitive ", c.IsSensitive)
}

func entries(c *rawConn, typ kmsg.ConfigResourceType, name string) map[string]kmsg.DescribeConfigsResponseResourceConfig {
	out := map[string]kmsg.DescribeConfigsResponseResourceConfig{}
	for _, e := range c.do(describe(4, typ, name)()).(*kmsg.DescribeConfigsResponse).Resources[0].Configs {
		out[e.Name] = e
	}
	return out
}

func oracleSteps() []oracleStep {
	return slices.Concat(oracleTopics(), oracleConfigs(), oracleResources(), oraclePartitions(), oracleCluster())
}

func create(version int16, validate bool, topics ...kmsg.CreateTopicsRequestTopic) func() kmsg.Request {
	return at(version, kmsg.NewPtrCreateTopicsRequest(), func(r *kmsg.CreateTopicsRequest) {
		r.Topics, r.ValidateOnly, r.TimeoutMillis = topics, validate, 10_000
	})
}

func newTopic(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		t.Configs = append(t.Configs, c)
	}
	return t
}

func assigned(name string, partitions int32, replicas int16, assignment map[int32][]int32) kmsg.CreateTopicsRequestTopic {
	t := newTopic(name, partitions, replicas)
	for _, n := range []int32{0, 1, 2} {
		if a, ok := assignment[n]; ok {
			t.ReplicaAssignment = append(t.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: n, Replicas: a})
		}
	}
	return t
}

func oracleTopics() []oracleStep {
	one := func(name string, partitions int32, replicas int16, configs ...string) func() kmsg.Request {
		return create(4, false, newTopic(name, partitions, replicas, configs...))
	}
	var steps []oracleStep
	for v := int16(2); v <= 7; v++ {
		steps = append(steps, oracleStep{name: "create", req: func() kmsg.Request { // what was made is listed whole from version 5: see the configurations
			r := create(min(v, 4), false, newTopic(fmt.Sprint("made-", v), 2, 1))()
			return r
		}})
	}
	return append(steps, []oracleStep{
		{name: "validate only", req: create(4, true, newTopic("unmade", 1, 1))},
		{name: "again", req: one("made-2", 1, 1)},
		{name: "again, validate only", req: create(4, true, newTopic("made-2", 1, 1))},
		{name: "same name twice", req: create(4, false, newTopic("twice", 1, 1), newTopic("twice", 1, 1), newTopic("once", 1, 1))},
		{name: "no name", req: one("", 1, 1)},
		{name: "dot", req: one(".", 1, 1)},
		{name: "dots", req: one("..", 1, 1)},
		{name: "characters", req: one("a b", 1, 1)},
		{name: "249", req: one(strings.Repeat("n", 249), 1, 1)},
		{name: "250", req: one(strings.Repeat("n", 250), 1, 1)},
		{name: "collides: first", req: one("a.b_c", 1, 1)},
		{name: "collides", req: one("a_b.c", 1, 1)},
		{name: "no partitions", req: one("p0", 0, 1)},
		{name: "-2 partitions", req: one("p-2", -2, 1)},
		{name: "no replicas", req: one("r0", 1, 0)},
		{name: "-2 replicas", req: one("r-2", 1, -2)},
		{name: "3 replicas", req: one("r3", 1, 3)},
		{name: "default replicas", req: one("rd", 1, -1)},
		{name: "a configuration", req: one("c1", 1, 1, "retention.ms", "1000", "cleanup.policy", "compact,delete")},
		{name: "unknown configuration", req: one("c2", 1, 1, "retention.msx", "1000")},
		{name: "bad number", req: one("c3", 1, 1, "retention.ms", "ten")},
		{name: "out of bounds", req: one("c4", 1, 1, "retention.ms", "-2")},
		{name: "small segments", req: one("c5", 1, 1, "segment.bytes", "1000")},
		{name: "bad word", req: one("c6", 1, 1, "cleanup.policy", "destroy")},
		{name: "bad compression", req: one("c7", 1, 1, "compression.type", "rar")},
		{name: "bad boolean", req: one("c8", 1, 1, "preallocate", "maybe")},
		{name: "bad ratio", req: one("c9", 1, 1, "min.cleanable.dirty.ratio", "1.5")},
		{name: "lags the wrong way round", req: one("c10", 1, 1, "min.compaction.lag.ms", "2000", "max.compaction.lag.ms", "1000")},
		{name: "no policy", req: one("c11", 1, 1, "cleanup.policy", "")},
		{name: "policy twice", req: one("c12", 1, 1, "cleanup.policy", "delete,delete")},
		{name: "gzip level 0", req: one("c13", 1, 1, "compression.gzip.level", "0")},
		{name: "gzip level -1", req: one("c14", 1, 1, "compression.gzip.level", "-1")},
		{name: "assigned", req: create(4, false, assigned("m1", -1, -1, map[int32][]int32{0: {1}, 1: {1}}))},
		{name: "assigned with a number", req: create(4, false, assigned("m2", 2, -1, map[int32][]int32{0: {1}, 1: {1}}))},
		{name: "assigned with a factor", req: create(4, false, assigned("m3", -1, 1, map[int32][]int32{0: {1}}))},
		{name: "assigned to a stranger", req: create(4, false, assigned("m4", -1, -1, map[int32][]int32{0: {7}}))},
		{name: "assigned to nobody", req: create(4, false, assigned("m5", -1, -1, map[int32][]int32{0: {}}))},
		{name: "assigned twice to one", req: create(4, false, assigned("m6", -1, -1, map[int32][]int32{0: {1, 1}}))},
		{name: "assigned with a hole", req: create(4, false, assigned("m7", -1, -1, map[int32][]int32{0: {1}, 2: {1}}))},
		{name: "null value", req: func() kmsg.Request {
			top := newTopic("n1", 1, 1)
			top.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
			return create(4, false, top)()
		}},
		{name: "delete", req: deleteNamed(5, "made-3")},
		{name: "delete again", req: deleteNamed(5, "made-3")},
		{name: "delete v1", req: deleteNamed(1, "made-4", "nothing")},
		{name: "delete twice", req: deleteNamed(5, "made-5", "made-5")},
		{name: "delete by an unknown id", req: deleteBy(kmsg.DeleteTopicsRequestTopic{TopicID: [16]byte{1, 2, 3}})},
		{name: "delete by nothing", req: deleteBy(kmsg.DeleteTopicsRequestTopic{})},
		{name: "delete by both", req: deleteBy(kmsg.DeleteTopicsRequestTopic{Topic: kmsg.StringPtr("made-5"), TopicID: [16]byte{1}})},
		{name: "delete v6 by name", req: deleteBy(kmsg.DeleteTopicsRequestTopic{Topic: kmsg.StringPtr("made-6")})},
		{name: "delete v6 by name, unknown", req: deleteBy(kmsg.DeleteTopicsRequestTopic{Topic: kmsg.StringPtr("made-6")})},
	}...)
}

func deleteNamed(version int16, names ...string) func() kmsg.Request {
	return at(version, kmsg.NewPtrDeleteTopicsRequest(), func(r *kmsg.DeleteTopicsRequest) { r.TopicNames, r.TimeoutMillis = names, 10_000 })
}

func deleteBy(t kmsg.DeleteTopicsRequestTopic) func() kmsg.Request {
	return at(6, kmsg.NewPtrDeleteTopicsRequest(), func(r *kmsg.DeleteTopicsRequest) {
		r.Topics, r.TimeoutMillis = []kmsg.DeleteTopicsRequestTopic{t}, 10_000
	})
}

type changeOf struct {
	op          kmsg.IncrementalAlterConfigOp
	name, value string
}

func alterIn(typ kmsg.ConfigResourceType, name string, validate bool, changes ...changeOf) func() kmsg.Request {
	return at(1, kmsg.NewPtrIncrementalAlterConfigsRequest(), func(r *kmsg.IncrementalAlterConfigsRequest) {
		r.ValidateOnly = validate
		res := kmsg.NewIncrementalAlterConfigsRequestResource()
		res.ResourceType, res.ResourceName = typ, name
		for _, c := range changes {
			k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			k.Name, k.Op = c.name, c.op
			if c.op != kmsg.IncrementalAlterConfigOpDelete {
				k.Value = &c.value
			}
			res.Configs = append(res.Configs, k)
		}
		r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{res}
	})
}

func replaceAll(version int16, typ kmsg.ConfigResourceType, name string, configs ...string) func() kmsg.Request {
	return at(version, kmsg.NewPtrAlterConfigsRequest(), func(r *kmsg.AlterConfigsRequest) {
		res := kmsg.NewAlterConfigsRequestResource()
		res.ResourceType, res.ResourceName = typ, name
		for i := 0; i < len(configs); i += 2 {
			res.Configs = append(res.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: configs[i], Value: &configs[i+1]})
		}
		r.Resources = []kmsg.AlterConfigsRequestResource{res}
	})
}

func describe(version int16, typ kmsg.ConfigResourceType, name string, only ...string) func() kmsg.Request {
	return at(version, kmsg.NewPtrDescribeConfigsRequest(), func(r *kmsg.DescribeConfigsRequest) {
		r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: typ, ResourceName: name, ConfigNames: only}}
	})
}

const (
	ofTopic   = kmsg.ConfigResourceTypeTopic
	ofBroker  = kmsg.ConfigResourceTypeBroker
	ofLogger  = kmsg.ConfigResourceTypeBrokerLogger
	ofMetrics = kmsg.ConfigResourceTypeClientMetrics
	ofGroup   = kmsg.ConfigResourceTypeGroupConfig
	opSet     = kmsg.IncrementalAlterConfigOpSet
	opDel     = kmsg.IncrementalAlterConfigOpDelete
	opAdd     = kmsg.IncrementalAlterConfigOpAppend
	opSub     = kmsg.IncrementalAlterConfigOpSubtract
)

func oracleConfigs() []oracleStep {
	three := []string{"retention.ms", "cleanup.policy", "segment.bytes"}
	s := []oracleStep{
		{name: "a topic", req: create(4, false, newTopic("conf", 1, 1))},
		{name: "set", req: alterIn(ofTopic, "conf", false, changeOf{opSet, "retention.ms", "5000"}, changeOf{opSet, "segment.bytes", "2097152"})},
		{name: "describe", req: describe(4, ofTopic, "conf", three...)},
		{name: "append", req: alterIn(ofTopic, "conf", false, changeOf{opAdd, "cleanup.policy", "compact"})},
		{name: "append again", req: alterIn(ofTopic, "conf", false, changeOf{opAdd, "cleanup.policy", "compact"})},
		{name: "describe appended", req: describe(4, ofTopic, "conf", three...)},
		{name: "subtract", req: alterIn(ofTopic, "conf", false, changeOf{opSub, "cleanup.policy", "delete"})},
		{name: "describe subtracted", req: describe(4, ofTopic, "conf", three...)},
		{name: "subtract what is not there", req: alterIn(ofTopic, "conf", false, changeOf{opSub, "cleanup.policy", "delete"})},
		{name: "delete", req: alterIn(ofTopic, "conf", false, changeOf{opDel, "retention.ms", ""}, changeOf{opDel, "cleanup.policy", ""})},
		{name: "describe deleted", req: describe(4, ofTopic, "conf", three...)},
		{name: "delete what is not set", req: alterIn(ofTopic, "conf", false, changeOf{opDel, "retention.bytes", ""})},
		{name: "delete what is not known", req: alterIn(ofTopic, "conf", false, changeOf{opDel, "retention.bytesx", ""})},
		{name: "append to a number", req: alterIn(ofTopic, "conf", false, changeOf{opAdd, "retention.ms", "1"})},
		{name: "unknown operation", req: alterIn(ofTopic, "conf", false, changeOf{9, "retention.ms", "1"}), differs: "INVALID_REQUEST, not an unknown server error"},
		{name: "unknown name", req: alterIn(ofTopic, "conf", false, changeOf{opSet, "retention.msx", "1"})},
		{name: "bad value", req: alterIn(ofTopic, "conf", false, changeOf{opSet, "retention.ms", "ten"})},
		{name: "one name twice", req: alterIn(ofTopic, "conf", false, changeOf{opSet, "retention.ms", "1"}, changeOf{opSet, "retention.ms", "2"})},
		{name: "validate only", req: alterIn(ofTopic, "conf", true, changeOf{opSet, "retention.ms", "1"})},
		{name: "describe after validation", req: describe(4, ofTopic, "conf", three...)},
		{name: "unknown topic", req: alterIn(ofTopic, "no such topic", false, changeOf{opSet, "retention.ms", "1"})},
		{name: "no topic", req: alterIn(ofTopic, "", false, changeOf{opSet, "retention.ms", "1"})},
		{name: "describe an unknown topic", req: describe(4, ofTopic, "nothing")},
		{name: "null value", req: func() kmsg.Request {
			r := alterIn(ofTopic, "conf", false, changeOf{opSet, "retention.ms", "1"})().(*kmsg.IncrementalAlterConfigsRequest)
			r.Resources[0].Configs[0].Value = nil
			return r
		}},
		{name: "unknown resource type", req: alterIn(3, "x", false, changeOf{opSet, "a", "1"})},
		{name: "describe an unknown resource type", req: describe(4, 3, "x")},
		{name: "one topic twice", req: func() kmsg.Request {
			r := alterIn(ofTopic, "conf", false, changeOf{opSet, "retention.ms", "1"})().(*kmsg.IncrementalAlterConfigsRequest)
			r.Resources = append(r.Resources, r.Resources[0])
			return r
		}},
	}
	for v := int16(0); v <= 2; v++ {
		s = append(s,
			oracleStep{name: "replace", req: replaceAll(v, ofTopic, "conf", "retention.ms", fmt.Sprint(7000+v))},
			oracleStep{name: "describe replaced", req: describe(4, ofTopic, "conf", three...)})
	}
	return append(s, []oracleStep{
		{name: "replace by nothing", req: replaceAll(2, ofTopic, "conf")},
		{name: "describe replaced by nothing", req: describe(4, ofTopic, "conf", three...)},
		{name: "replace with a bad value", req: replaceAll(2, ofTopic, "conf", "retention.ms", "ten")},
		{name: "replace with an unknown name", req: replaceAll(2, ofTopic, "conf", "retention.msx", "1")},
	}...)
}

func oracleResources() []oracleStep {
	return []oracleStep{
		{name: "broker: set for one", req: alterIn(ofBroker, "1", false, changeOf{opSet, "log.retention.bytes", "123456"})},
		{name: "broker: set for all", req: alterIn(ofBroker, "", false, changeOf{opSet, "log.retention.bytes", "654321"}, changeOf{opSet, "message.max.bytes", "2000000"})},
		{name: "broker: another", req: alterIn(ofBroker, "2", false, changeOf{opSet, "log.retention.bytes", "123456"})},
		{name: "broker: no number", req: alterIn(ofBroker, "x", false, changeOf{opSet, "log.retention.bytes", "123456"})},
		{name: "broker: needs a restart", req: alterIn(ofBroker, "1", false, changeOf{opSet, "num.partitions", "3"})},
		{name: "broker: bad value", req: alterIn(ofBroker, "1", false, changeOf{opSet, "log.retention.bytes", "many"})},
		{name: "broker: out of bounds", req: alterIn(ofBroker, "1", false, changeOf{opSet, "log.roll.jitter.ms", "-5"})},
		{name: "broker: bad word", req: alterIn(ofBroker, "1", false, changeOf{opSet, "compression.type", "rar"})},
		{name: "broker: unknown name", req: alterIn(ofBroker, "1", false, changeOf{opSet, "what.is.this", "1"})},
		{name: "broker: replace", req: replaceAll(2, ofBroker, "1", "log.retention.bytes", "111")},
		{name: "broker: describe", req: describe(4, ofBroker, "1", "log.retention.bytes", "message.max.bytes")},
		{name: "broker: describe the default", req: describe(4, ofBroker, "", "log.retention.bytes", "message.max.bytes")},
		{name: "broker: replace with a bad value", req: replaceAll(2, ofBroker, "1", "log.retention.bytes", "many")},
		{name: "broker: replace what needs a restart", req: replaceAll(2, ofBroker, "1", "num.partitions", "3")},
		{name: "broker: delete", req: alterIn(ofBroker, "1", false, changeOf{opDel, "what.is.this", ""})},
		{name: "broker: append", req: alterIn(ofBroker, "", false, changeOf{opAdd, "log.cleanup.policy", "compact"})},
		{name: "broker: append to a number", req: alterIn(ofBroker, "", false, changeOf{opAdd, "message.max.bytes", "1"})},
		{name: "broker: back", req: alterIn(ofBroker, "", false, changeOf{opDel, "log.cleanup.policy", ""})},
		{name: "describe of another broker", req: describe(4, ofBroker, "2", "num.partitions")},
		{name: "describe of no broker", req: describe(4, ofBroker, "x", "num.partitions")},

		{name: "logger: another broker", req: alterIn(ofLogger, "2", false, changeOf{opSet, "root", "INFO"})},
		{name: "logger: no broker", req: alterIn(ofLogger, "", false, changeOf{opSet, "root", "INFO"})},
		{name: "logger: level", req: alterIn(ofLogger, "1", false, changeOf{opSet, "root", "WARN"})},
		{name: "logger: bad level", req: alterIn(ofLogger, "1", false, changeOf{opSet, "root", "LOUD"})},
		{name: "logger: append", req: alterIn(ofLogger, "1", false, changeOf{opAdd, "root", "INFO"})},
		{name: "logger: unknown", req: alterIn(ofLogger, "1", false, changeOf{opSet, "no.such.logger", "INFO"})},
		{name: "logger: replace", req: replaceAll(2, ofLogger, "1", "root", "INFO")},
		{name: "logger: describe of another broker", req: describe(4, ofLogger, "2")},

		{name: "group: set", req: alterIn(ofGroup, "g", false, changeOf{opSet, "consumer.session.timeout.ms", "46000"})},
		{name: "group: describe", req: describe(4, ofGroup, "g", "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms")},
		{name: "group: out of bounds", req: alterIn(ofGroup, "g", false, changeOf{opSet, "consumer.session.timeout.ms", "1000"})},
		{name: "group: bad value", req: alterIn(ofGroup, "g", false, changeOf{opSet, "consumer.session.timeout.ms", "x"})},
		{name: "group: unknown name", req: alterIn(ofGroup, "g", false, changeOf{opSet, "consumer.x", "1"})},
		{name: "group: no name", req: alterIn(ofGroup, "", false, changeOf{opSet, "consumer.session.timeout.ms", "46000"})},
		{name: "group: describe of no name", req: describe(4, ofGroup, "")},
		{name: "group: describe of an unknown one", req: describe(4, ofGroup, "h", "consumer.session.timeout.ms")},

		{name: "metrics: set", req: alterIn(ofMetrics, "sub", false, changeOf{opSet, "interval.ms", "1000"}, changeOf{opSet, "metrics", "*"})},
		{name: "metrics: describe", req: describe(4, ofMetrics, "sub")},
		{name: "metrics: append", req: alterIn(ofMetrics, "sub", false, changeOf{opAdd, "metrics", "org.apache"}), differs: "metrics is a list"},
		{name: "metrics: bad interval", req: alterIn(ofMetrics, "sub", false, changeOf{opSet, "interval.ms", "1"})},
		{name: "metrics: unknown name", req: alterIn(ofMetrics, "sub", false, changeOf{opSet, "x", "1"})},
		{name: "metrics: no name", req: alterIn(ofMetrics, "", false, changeOf{opSet, "interval.ms", "1000"})},
		{name: "metrics: describe of an unknown one", req: describe(4, ofMetrics, "nothing")},
		{name: "metrics: describe of no name", req: describe(4, ofMetrics, "")},
		{name: "list v0", req: at(0, kmsg.NewPtrListConfigResourcesRequest(), func(*kmsg.ListConfigResourcesRequest) {})},
		{name: "list groups", req: at(1, kmsg.NewPtrListConfigResourcesRequest(), func(r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{32} })},
		{name: "list brokers", req: at(1, kmsg.NewPtrListConfigResourcesRequest(), func(r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{4, 8} })},
		{name: "list the unknown", req: at(1, kmsg.NewPtrListConfigResourcesRequest(), func(r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{3} })},
		{name: "metrics: delete all", req: alterIn(ofMetrics, "sub", false, changeOf{opDel, "interval.ms", ""}, changeOf{opDel, "metrics", ""})},
		{name: "metrics: list after", req: at(0, kmsg.NewPtrListConfigResourcesRequest(), func(*kmsg.ListConfigResourcesRequest) {})},
	}
}

func oraclePartitions() []oracleStep {
	grow := func(version int16, validate bool, topic string, count int32, assign ...[]int32) func() kmsg.Request {
		return at(version, kmsg.NewPtrCreatePartitionsRequest(), func(r *kmsg.CreatePartitionsRequest) {
			r.ValidateOnly, r.TimeoutMillis = validate, 10_000
			t := kmsg.NewCreatePartitionsRequestTopic()
			t.Topic, t.Count = topic, count
			for _, a := range assign {
				t.Assignment = append(t.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: a})
			}
			r.Topics = []kmsg.CreatePartitionsRequestTopic{t}
		})
	}
	records := func(version int16, topic string, partition int32, offset int64) func() kmsg.Request {
		return at(version, kmsg.NewPtrDeleteRecordsRequest(), func(r *kmsg.DeleteRecordsRequest) {
			r.TimeoutMillis = 10_000
			r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
		})
	}
	produce := func(topic string) func() kmsg.Request {
		return at(9, kmsg.NewPtrProduceRequest(), func(r *kmsg.ProduceRequest) {
			r.Acks, r.TimeoutMillis = -1, 10_000
			r.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: slices.Clone(oracleBatch)}}}}
		})
	}
	steps := []oracleStep{
		{name: "a topic that grows", req: create(4, false, newTopic("grow", 2, 1))},
		{name: "same", req: grow(3, false, "grow", 2)},
		{name: "fewer", req: grow(3, false, "grow", 1)},
		{name: "none", req: grow(3, false, "grow", 0)},
		{name: "-1", req: grow(3, false, "grow", -1)},
		{name: "validate only", req: grow(3, true, "grow", 3)},
		{name: "wrong number of assignments", req: grow(3, false, "grow", 4, []int32{1})},
		{name: "assigned to a stranger", req: grow(3, false, "grow", 3, []int32{7})},
		{name: "assigned to nobody", req: grow(3, false, "grow", 3, []int32{})},
		{name: "unknown", req: grow(3, false, "nothing", 3)},
		{name: "assigned", req: grow(3, false, "grow", 3, []int32{1})},
		{name: "v0", req: grow(0, false, "grow", 4)},
		{name: "v1", req: grow(1, false, "grow", 5)},
		{name: "v2", req: grow(2, false, "grow", 6)},
		{name: "twice", req: func() kmsg.Request {
			r := grow(3, false, "grow", 7)().(*kmsg.CreatePartitionsRequest)
			r.Topics = append(r.Topics, r.Topics[0])
			return r
		}},
		{name: "a topic with records", req: create(4, false, newTopic("recs", 1, 1), newTopic("compacted", 1, 1, "cleanup.policy", "compact"))},
	}
	for range 3 {
		steps = append(steps, oracleStep{name: "produce", req: produce("recs")})
	}
	return append(steps, []oracleStep{
		{name: "delete to 4", req: records(2, "recs", 0, 4)},
		{name: "delete to 2", req: records(1, "recs", 0, 2)},
		{name: "delete beyond", req: records(0, "recs", 0, 100)},
		{name: "delete to -2", req: records(2, "recs", 0, -2)},
		{name: "delete all", req: records(2, "recs", 0, -1)},
		{name: "delete of an unknown partition", req: records(2, "recs", 1, 0)},
		{name: "delete of an unknown topic", req: records(2, "nothing", 0, 0)},
		{name: "delete of a compacted topic", req: records(2, "compacted", 0, 0)},
	}...)
}

// oracleBatch has three records, with the time of no producer.
var oracleBatch = kafkaBatch("a", "b", "c")

func oracleCluster() []oracleStep {
	elect := func(version int16, typ int8, topic string, partitions ...int32) func() kmsg.Request {
		return at(version, kmsg.NewPtrElectLeadersRequest(), func(r *kmsg.ElectLeadersRequest) {
			r.ElectionType, r.TimeoutMillis = typ, 10_000
			if topic != "" {
				r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: partitions}}
			}
		})
	}
	move := func(topic string, partition int32, replicas []int32) func() kmsg.Request {
		return at(1, kmsg.NewPtrAlterPartitionAssignmentsRequest(), func(r *kmsg.AlterPartitionAssignmentsRequest) {
			r.TimeoutMillis = 10_000
			r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: partition, Replicas: replicas}}}}
		})
	}
	feature := func(version int16, name string, level int16, upgrade int8) func() kmsg.Request {
		return at(version, kmsg.NewPtrUpdateFeaturesRequest(), func(r *kmsg.UpdateFeaturesRequest) {
			r.TimeoutMillis, r.ValidateOnly = 10_000, version > 0
			r.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: name, MaxVersionLevel: level, UpgradeType: upgrade, AllowDowngrade: upgrade > 1}}
		})
	}
	described := func(limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, topics ...string) func() kmsg.Request {
		return at(0, kmsg.NewPtrDescribeTopicPartitionsRequest(), func(r *kmsg.DescribeTopicPartitionsRequest) {
			r.ResponsePartitionLimit, r.Cursor, r.Topics = limit, cursor, nil
			for _, t := range topics {
				r.Topics = append(r.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: t})
			}
		})
	}
	quorum := func(version int16, topic string, partition int32) func() kmsg.Request {
		return at(version, kmsg.NewPtrDescribeQuorumRequest(), func(r *kmsg.DescribeQuorumRequest) {
			r.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: topic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: partition}}}}
		})
	}
	dirs := func(version int16, topic string, partitions ...int32) func() kmsg.Request {
		return at(version, kmsg.NewPtrDescribeLogDirsRequest(), func(r *kmsg.DescribeLogDirsRequest) {
			r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: topic, Partitions: partitions}}
		})
	}
	cluster := func(version int16, endpoint int8) func() kmsg.Request {
		return at(version, kmsg.NewPtrDescribeClusterRequest(), func(r *kmsg.DescribeClusterRequest) {
			r.EndpointType, r.IncludeClusterAuthorizedOperations = endpoint, true
		})
	}
	var steps []oracleStep
	for v := int16(0); v <= 2; v++ {
		steps = append(steps,
			oracleStep{name: "elect", req: elect(v, 0, "grow", 0, 1)},
			oracleStep{name: "quorum", req: quorum(v, "__cluster_metadata", 0)},
			oracleStep{name: "cluster", req: cluster(v, 1)},
			oracleStep{name: "feature as it is", req: feature(v, "transaction.version", 2, 1)})
	}
	for v := int16(1); v <= 5; v++ {
		steps = append(steps, oracleStep{name: "log dirs", req: dirs(v, "grow", 0, 1, 9)})
	}
	return append(steps, []oracleStep{
		{name: "elect the unknown", req: elect(2, 0, "nothing", 0)},
		{name: "elect all", req: elect(2, 0, "")},
		{name: "elect how", req: elect(2, 7, "grow", 0)},
		{name: "elect uncleanly", req: elect(2, 1, "grow", 0)},
		{name: "move here", req: move("grow", 0, []int32{1})},
		{name: "move away", req: move("grow", 0, []int32{2})},
		{name: "move to more", req: move("grow", 0, []int32{1, 2})},
		{name: "move the unknown", req: move("nothing", 0, []int32{1})},
		{name: "move to nobody", req: move("grow", 0, []int32{})},
		{name: "cancel", req: move("grow", 0, nil)},
		{name: "list moves", req: at(0, kmsg.NewPtrListPartitionReassignmentsRequest(), func(r *kmsg.ListPartitionReassignmentsRequest) { r.TimeoutMillis = 10_000 })},
		{name: "quorum of another topic", req: quorum(2, "grow", 0)},
		{name: "quorum of another partition", req: quorum(2, "__cluster_metadata", 1)},
		{name: "controllers", req: cluster(1, 2)},
		{name: "who", req: cluster(1, 9)},
		{name: "unknown feature", req: feature(1, "nonsense", 1, 1)},
		{name: "unknown feature v2", req: feature(2, "nonsense", 1, 1)},
		{name: "feature too high", req: feature(1, "transaction.version", 99, 1)},
		{name: "group version", req: feature(1, "group.version", 1, 1)},
		{name: "describe topics", req: described(100, nil, "grow", "recs", "nothing", "a b")},
		{name: "describe few", req: described(2, nil, "grow", "recs")},
		{name: "describe from a cursor", req: described(3, &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "grow", Partition: 2}, "grow", "recs")},
		{name: "describe from a cursor between", req: described(1, &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "h", Partition: 2}, "grow", "recs")},
		{name: "describe from a bad cursor", req: described(1, &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "grow", Partition: -1}, "grow", "recs")},
		{name: "describe all from a cursor between", req: described(1, &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "h", Partition: 2})},
		{name: "describe all", req: described(100, nil)},
		{name: "describe without a limit", req: described(0, nil, "grow")},
		{name: "describe from the end of a topic", req: described(5, &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "grow", Partition: 6}, "grow", "recs")},
		{name: "move the log of the unknown", req: at(2, kmsg.NewPtrAlterReplicaLogDirsRequest(), func(r *kmsg.AlterReplicaLogDirsRequest) {
			r.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/no/such/dir", Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "grow", Partitions: []int32{0}}, {Topic: "nothing", Partitions: []int32{0}}}}}
		})},
	}...)
}

func kafkaBatch(values ...string) []byte {
	b := record.NewBuilder()
	for _, v := range values {
		b.Append(&record.View{Value: []byte(v), Timestamp: 1_700_000_000_000})
	}
	raw, err := b.Finish(record.None)
	if err != nil {
		panic(err)
	}
	return raw
}
