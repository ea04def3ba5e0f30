package broker

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/internal/config"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

var (
	allBrokers = Resource{Type: BrokerResource}
	thisBroker = Resource{Type: BrokerResource, Name: "1"}
)

func (h *harness) set(r Resource, pairs ...string) error {
	var changes []ConfigChange
	for i := 0; i < len(pairs); i += 2 {
		changes = append(changes, ConfigChange{Name: pairs[i], Value: pairs[i+1]})
	}
	return h.AlterConfig(r, changes, false)
}

func (h *harness) entry(r Resource, name string) ConfigEntry {
	h.t.Helper()
	entries, err := h.DescribeConfig(r)
	h.ok(err)
	for _, e := range entries {
		if e.Name == name {
			return e
		}
	}
	h.t.Fatalf("%v has no %s", r, name)
	return ConfigEntry{}
}

// What a topic has when nothing is set is what the definitions say.
func TestTheDefaultsInForceAreThoseThatAreShown(t *testing.T) {
	shown := map[string]string{}
	for _, d := range config.Topic.All() {
		if !d.Null {
			shown[d.Name] = d.Default
		}
	}
	got, err := resolveConfig("t", shown, defaultSettings(FlushCommit))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := resolveConfig("t", nil, defaultSettings(FlushCommit))
	got.levels, want.levels = nil, nil
	// Where zero stands for the default below, and for "no limit".
	want.log.RetentionBytes, want.log.SegmentBytes, want.log.IndexBytes, want.log.IndexIntervalBytes = -1, 1<<30, 10<<20, 4096
	want.log.SegmentAge, want.log.DeleteRetention = 7*24*time.Hour, 24*time.Hour
	want.maxLag = got.maxLag // both are for ever
	if got.maxLag < 100*365*24*time.Hour || !reflect.DeepEqual(got, want) {
		t.Errorf("by the definitions %+v, by nothing %+v", got, want)
	}
}

func TestABrokersDefaultsForTopicsApplyAtOnceAndAfterARestart(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1, "segment.ms", "1")
	h.topic("own", 1, "segment.ms", "1", "retention.ms", "-1")
	for _, name := range []string{"a", "own"} {
		h.put(name, 0, AcksAll, "1")
		h.now = h.now.Add(time.Second)
		h.put(name, 0, AcksAll, "2")
	}
	start := func(topic string) record.Offset { return h.part(topic, 0).Offsets().Start }
	h.now = h.now.Add(time.Minute)
	h.ok(h.RunRetention())
	if start("a") != 0 {
		t.Fatalf("7 days of retention removed records of a minute ago")
	}
	h.ok(h.set(allBrokers, "log.retention.ms", "30000"))
	h.ok(h.RunRetention())
	if start("a") != 2 || start("own") != 0 {
		t.Errorf("the default of all brokers: starts %d and %d, expected 2 and, by the topic's own, 0", start("a"), start("own"))
	}
	h.put("a", 0, AcksAll, "3")
	h.ok(h.set(thisBroker, "log.retention.ms", "-1"))
	h.reopen()
	h.now = h.now.Add(time.Hour)
	h.ok(h.RunRetention())
	if start("a") != 2 {
		t.Errorf("this broker's own is -1, but records were removed up to %d", start("a"))
	}
	topic := Resource{Type: TopicResource, Name: "a"}
	e := h.entry(topic, "retention.ms")
	if e.Value != "-1" || e.Source != DynamicBrokerConfig || len(e.Synonyms) < 3 || e.Synonyms[1] != (ConfigSynonym{"log.retention.ms", "30000", DynamicDefaultBrokerConfig}) {
		t.Errorf("retention.ms is described as %+v", e)
	}
	h.ok(h.AlterConfig(thisBroker, []ConfigChange{{Op: DeleteConfig, Name: "log.retention.ms"}}, false))
	if e := h.entry(topic, "retention.ms"); e.Value != "30000" || e.Source != DynamicDefaultBrokerConfig {
		t.Errorf("after the deletion retention.ms is described as %+v", e)
	}
	h.crash(0, "boot-2")
	if e := h.entry(topic, "retention.ms"); e.Value != "30000" {
		t.Errorf("after a power cut retention.ms is described as %+v", e)
	}
}

func TestATopicsConfigurationsTakeEffectWhileItRuns(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	topic := Resource{Type: TopicResource, Name: "a"}
	put := func(ms int64, values ...string) error {
		_, _, err := h.part("a", 0).AppendChecked(batch(NoProducer, 0, false, ms, values...))
		return err
	}
	now := h.now.UnixMilli()
	h.ok(put(now, "k=1"))
	h.ok(h.set(topic, "max.message.bytes", "80"))
	h.is(put(now, "k="+strings.Repeat("x", 100)), segment.ErrTooLarge)
	h.ok(h.set(topic, "max.message.bytes", "1000000", "message.timestamp.before.max.ms", "1000", "message.timestamp.after.max.ms", "5000"))
	h.is(put(now-1001, "k=1"), ErrTimestamp)
	h.is(put(now+5001, "k=1"), ErrTimestamp)
	h.ok(put(now-1000, "k=1"))
	h.ok(put(now+5000, "k=1"))
	for codec, name := range map[record.Codec]string{record.Gzip: "gzip", record.Snappy: "snappy", record.LZ4: "lz4", record.Zstd: "zstd", record.None: "uncompressed"} {
		h.ok(h.set(topic, "compression.type", name))
		h.ok(put(now, "k="+strings.Repeat("x", 1000)))
		if got := lastBatch(h, "a"); got.Codec() != codec {
			t.Errorf("compression.type=%s: stored as %s", name, got.Codec())
		}
	}
	h.ok(h.set(topic, "message.timestamp.type", "LogAppendTime"))
	h.now = h.now.Add(time.Minute)
	h.ok(put(5, "k=1")) // the producer's time does not count
	if got := lastBatch(h, "a"); got.MaxTimestamp != h.now.UnixMilli() {
		t.Errorf("LogAppendTime: stored with time %d, expected %d", got.MaxTimestamp, h.now.UnixMilli())
	}
	h.ok(h.set(topic, "cleanup.policy", "compact"))
	var refused *RecordError
	if err := put(now, "no key"); !errors.As(err, &refused) {
		t.Errorf("a compacted topic took a record without a key: %v", err)
	}
	_, err := h.part("a", 0).DeleteRecords(1)
	h.is(err, ErrPolicy)
	before := h.part("a", 0).Bytes()
	h.ok(h.CleanNow())
	if after := h.part("a", 0).Bytes(); after >= before {
		t.Errorf("%d bytes before cleaning, %d after: one key was written many times", before, after)
	}
}

func TestCompressionLevels(t *testing.T) {
	h := newHarness(t, nil)
	size := func(configs ...string) int {
		h.topic("t", 1, configs...)
		var values []string
		for i := range 3000 {
			values = append(values, strings.Repeat(string(rune('a'+i%7)), i%31)+strings.Repeat("word ", i%11))
		}
		h.put("t", 0, AcksLeader, values...)
		n := int(lastBatch(h, "t").Length)
		h.ok(h.DeleteTopic("t"))
		return n
	}
	for _, codec := range []string{"gzip", "lz4", "zstd"} {
		low, high := "1", map[string]string{"gzip": "9", "lz4": "17", "zstd": "22"}[codec]
		a, b := size("compression.type", codec, "compression."+codec+".level", low), size("compression.type", codec, "compression."+codec+".level", high)
		if b >= a {
			t.Errorf("%s: %d bytes at level %s, %d at level %s", codec, a, low, b, high)
		}
	}
}

// lastBatch is the header of the last batch of partition 0.
func lastBatch(h *harness, topic string) record.BatchHeader {
	h.t.Helper()
	p := h.part(topic, 0)
	c, err := p.Read(p.Offsets().End-1, ReadOptions{MaxBytes: 1 << 20})
	h.ok(err)
	defer c.Release()
	var last record.BatchHeader
	for {
		b, _, ok := c.NextBatch()
		if !ok {
			return last
		}
		last = b
	}
}

func TestFlushByMessagesAndByTime(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("count", 1, "flush.messages", "3")
	h.topic("time", 1, "flush.ms", "5000")
	durable := func(topic string) record.Offset { return h.part(topic, 0).Offsets().Durable }
	h.put("count", 0, AcksLeader, "1", "2")
	if durable("count") != 0 {
		t.Errorf("2 records were synced, although flush.messages is 3")
	}
	h.put("count", 0, AcksLeader, "3")
	if durable("count") != 3 {
		t.Errorf("flush.messages is 3: durable up to %d", durable("count"))
	}
	h.put("time", 0, AcksLeader, "1")
	h.ok(h.Tick())
	h.now = h.now.Add(4 * time.Second)
	h.ok(h.Tick())
	if durable("time") != 0 {
		t.Errorf("synced after 4 s, although flush.ms is 5 s")
	}
	h.now = h.now.Add(time.Second)
	h.ok(h.Tick())
	if durable("time") != 1 {
		t.Errorf("flush.ms has passed: durable up to %d", durable("time"))
	}
}

// Little of the log is dirty, but what is has been for too long.
func TestAnOldDirtyRecordIsCompactedHoweverLittleThereIs(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1, "cleanup.policy", "compact", "max.compaction.lag.ms", "60000", "min.cleanable.dirty.ratio", "1")
	h.put("a", 0, AcksAll, "k=1")
	h.put("a", 0, AcksAll, "k=2")
	bytes := h.part("a", 0).Bytes()
	h.now = h.now.Add(30 * time.Second)
	h.ok(h.RunRetention())
	h.ok(h.RunCleaner())
	if got := h.part("a", 0).Bytes(); got != bytes {
		t.Fatalf("cleaned after 30 s: %d bytes of %d", got, bytes)
	}
	h.now = h.now.Add(31 * time.Second)
	h.ok(h.RunRetention()) // closes the segment
	h.ok(h.RunCleaner())
	if got := h.part("a", 0).Bytes(); got >= bytes {
		t.Errorf("max.compaction.lag.ms has passed, but nothing was cleaned: %d bytes of %d", got, bytes)
	}
}

func TestRemovedSegmentsStayForFileDeleteDelay(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1, "file.delete.delay.ms", "60000", "segment.ms", "1", "retention.ms", "1000")
	h.put("a", 0, AcksAll, "1")
	h.now = h.now.Add(10 * time.Second)
	h.put("a", 0, AcksAll, "2")
	h.ok(h.RunRetention())
	there := func() error { _, err := h.fs.Stat("/data/a-0/00000000000000000000.log.deleted"); return err }
	h.ok(there())
	h.ok(h.RunRetention())
	h.now = h.now.Add(59 * time.Second)
	h.ok(h.RunRetention())
	h.ok(there())
	h.now = h.now.Add(2 * time.Second)
	h.ok(h.RunRetention())
	h.is(there(), fs.ErrNotExist)
}

func TestPartitionsAreAddedAndServe(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 2)
	h.put("a", 1, AcksAll, "kept")
	old, _ := h.TopicView("a")
	for n, want := range map[int32]error{2: ErrInvalidPartitions, 1: ErrInvalidPartitions, 0: ErrInvalidPartitions, -1: ErrInvalidPartitions, 1 << 30: ErrInvalidPartitions} {
		h.is(h.CreatePartitions("a", n, false), want)
	}
	h.is(h.CreatePartitions("b", 3, false), ErrUnknownTopic)
	h.ok(h.ensureInternal(offsetsTopic))
	h.is(h.CreatePartitions(offsetsTopic, 50, false), ErrInvalidTopic)
	h.ok(h.CreatePartitions("a", 4, true))
	if v, _ := h.TopicView("a"); len(v.Partitions) != 2 {
		t.Fatalf("validation alone made %d partitions", len(v.Partitions))
	}
	h.ok(h.CreatePartitions("a", 4, false))
	h.put("a", 3, AcksAll, "new")
	if len(old.Partitions) != 2 {
		t.Errorf("a view that was taken before has %d partitions", len(old.Partitions))
	}
	h.crash(0, "boot-2")
	if got, _ := h.Topic("a"); got.Partitions != 4 || h.part("a", 3).Offsets().End != 1 || h.part("a", 1).Offsets().End != 1 {
		t.Errorf("after a power cut: %+v, ends %d and %d", got, h.part("a", 1).Offsets().End, h.part("a", 3).Offsets().End)
	}
	h.ok(h.DeleteTopic("a"))
	_, err := h.fs.Stat("/data/a-3")
	h.is(err, fs.ErrNotExist)
}

// While the new directories are made, everything can fail.
func TestPartitionsThatCannotBeMadeLeaveTheTopicAsItWas(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.put("a", 0, AcksAll, "kept")
	h.ok(h.fs.MkdirAll("/data/a-2"))
	h.is(h.CreatePartitions("a", 3, false), ErrInvalidTopic) // somebody's directory is in the way
	h.ok(h.fs.RemoveAll("/data/a-2"))
	h.reopen()
	if got, _ := h.Topic("a"); got.Partitions != 1 || h.part("a", 0).Offsets().End != 1 {
		t.Errorf("found %+v with %d records", got, h.part("a", 0).Offsets().End)
	}
	h.ok(h.CreatePartitions("a", 3, false))
}

func TestNamesOfClientsTopicsAreHeldToKafkasRules(t *testing.T) {
	h := newHarness(t, nil)
	create := func(name string, configs ...string) error {
		spec := TopicSpec{Name: name, Strict: true, ValidateOnly: true, Configs: map[string]string{}}
		for i := 0; i < len(configs); i += 2 {
			spec.Configs[configs[i]] = configs[i+1]
		}
		_, err := h.CreateTopic(spec)
		return err
	}
	h.topic("a.b", 1)
	h.ok(create(strings.Repeat("x", 249)))
	for _, name := range []string{"", ".", "..", "a b", "ä", "a/b", strings.Repeat("x", 250), "a_b", "__consumer_offsets"} {
		h.is(create(name), ErrInvalidTopic)
	}
	h.is(create("a.b"), ErrTopicExists)
	h.is(create("c", "segment.bytes", "1000"), ErrInvalidConfig)
	h.is(create("c", "segment.byte", "2000000"), ErrInvalidConfig)
	h.is(create("c", "min.compaction.lag.ms", "2", "max.compaction.lag.ms", "1"), ErrInvalidConfig)
	if _, ok := h.Topic("c"); ok {
		t.Error("validation made a topic")
	}
}

func TestAFailedWriteOfTheMetadataChangesNothing(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.faults.SetRules(vfs.Rule{Ops: vfs.OpCreate, Name: "millstream.metadata.tmp", Err: syscall.EIO})
	for what, err := range map[string]error{
		"topic":  h.set(Resource{Type: TopicResource, Name: "a"}, "retention.ms", "5"),
		"broker": h.set(allBrokers, "log.retention.ms", "5"),
		"group":  h.set(Resource{Type: GroupResource, Name: "g"}, "consumer.session.timeout.ms", "50000"),
		"growth": h.CreatePartitions("a", 2, false),
	} {
		if !errors.Is(err, ErrStorage) {
			t.Errorf("%s: expected a storage error, found %v", what, err)
		}
	}
	h.faults.SetRules()
	if e := h.entry(Resource{Type: TopicResource, Name: "a"}, "retention.ms"); e.Value != "604800000" {
		t.Errorf("retention.ms is %+v", e)
	}
	if got := h.GroupConfig("g", "consumer.session.timeout.ms"); got != "45000" {
		t.Errorf("the group's session timeout is %s", got)
	}
	if v, _ := h.TopicView("a"); len(v.Partitions) != 1 {
		t.Errorf("%d partitions", len(v.Partitions))
	}
	h.ok(h.CreatePartitions("a", 2, false))
}

func TestTheMetadataFileHasTheLeastVersionThatHasItAll(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	version := func() string {
		b, err := readFile(h.fs, "/data/"+metadataFile)
		h.ok(err)
		return strings.Fields(string(b))[1]
	}
	if v := version(); v != "version=1" {
		t.Errorf("a file with topics alone has %s", v)
	}
	h.ok(h.set(allBrokers, "log.retention.ms", "5"))
	if v := version(); v != "version=2" {
		t.Errorf("a file with configurations of brokers has %s", v)
	}
	h.ok(h.AlterConfig(allBrokers, []ConfigChange{{Op: DeleteConfig, Name: "log.retention.ms"}}, false))
	if v := version(); v != "version=1" {
		t.Errorf("when they are gone, it has %s", v)
	}
	h.ok(h.CreatePartitions("a", 2, false))
	if v := version(); v != "version=1" {
		t.Errorf("when the topic has grown, it has %s", v)
	}
}

func TestConfigurationsOfGroupsAndBrokersAreChecked(t *testing.T) {
	h := newHarness(t, nil)
	group := Resource{Type: GroupResource, Name: "g"}
	for _, c := range []struct {
		r           Resource
		name, value string
		want        error
	}{
		{group, "consumer.session.timeout.ms", "1000", ErrInvalidConfig},
		{group, "consumer.session.timeout.m", "50000", ErrInvalidConfig},
		{Resource{Type: GroupResource}, "consumer.session.timeout.ms", "50000", ErrInvalidRequest},
		{thisBroker, "num.partitions", "4", ErrInvalidRequest},
		{thisBroker, "log.retention.ms", "ten", ErrInvalidRequest},
		{Resource{Type: BrokerResource, Name: "2"}, "log.retention.ms", "10", ErrInvalidRequest},
		{Resource{Type: 3, Name: "x"}, "a", "b", ErrInvalidRequest},
		{Resource{Type: BrokerLoggerResource, Name: "1"}, "root", "LOUD", ErrInvalidConfig},
		{Resource{Type: BrokerLoggerResource, Name: "1"}, "nobody", "INFO", ErrInvalidConfig},
	} {
		if err := h.set(c.r, c.name, c.value); !errors.Is(err, c.want) {
			t.Errorf("%v %s=%s: expected %v, found %v", c.r, c.name, c.value, c.want, err)
		}
	}
	h.ok(h.set(group, "consumer.session.timeout.ms", "50000"))
	h.ok(h.set(Resource{Type: ClientMetricsResource, Name: "sub"}, "metrics", "*"))
	h.reopen()
	if got := h.GroupConfig("g", "consumer.session.timeout.ms"); got != "50000" {
		t.Errorf("after a restart the session timeout is %s", got)
	}
	if got := h.ConfigResources(GroupResource, ClientMetricsResource); !reflect.DeepEqual(got, []Resource{{ClientMetricsResource, "sub"}, group}) && !reflect.DeepEqual(got, []Resource{group, {ClientMetricsResource, "sub"}}) {
		t.Errorf("resources with configurations: %v", got)
	}
}

func TestLevelsOfLoggersChangeWhileTheyRun(t *testing.T) {
	h := newHarness(t, nil)
	l := h.Logger("log.wire", slog.New(slog.NewTextHandler(&h.logs, nil)))
	says := func(word string) bool {
		l.Debug(word)
		return strings.Contains(h.logs.String(), word)
	}
	if says("first") {
		t.Error("debug is on from the start")
	}
	r := Resource{Type: BrokerLoggerResource, Name: "1"}
	h.ok(h.set(r, "log.wire", "DEBUG"))
	if !says("second") {
		t.Error("debug was set and is off")
	}
	h.ok(h.AlterConfig(r, []ConfigChange{{Op: DeleteConfig, Name: "log.wire"}}, false))
	if says("third") {
		t.Error("the level was deleted and is still debug")
	}
	h.ok(h.set(r, "root", "ERROR"))
	if l.Enabled(context.Background(), slog.LevelWarn) || h.entry(r, "log.wire").Value != "ERROR" {
		t.Error("the root's level does not hold for a logger without its own")
	}
}

func TestParseConfigReadsKafkasNames(t *testing.T) {
	cfg, ignored, err := ParseConfig(map[string]string{
		"num.partitions": "3", "log.dirs": "/x", "log.retention.hours": "2", "offsets.retention.minutes": "5",
		"transaction.max.timeout.ms": "60000", "listeners": "PLAINTEXT://127.0.0.1:9092", "controller.quorum.voters": "1@x:1",
		"listener.name.external.ssl.keystore.location": "k.pem",
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DefaultPartitions != 3 || cfg.Dir != "/x" || cfg.OffsetsRetention != 5*time.Minute || cfg.MaxTransactionTimeout != time.Minute {
		t.Errorf("read %+v", cfg)
	}
	if !reflect.DeepEqual(ignored, []string{"controller.quorum.voters"}) || cfg.Property("listeners") != "PLAINTEXT://127.0.0.1:9092" || cfg.Property("num.io.threads") != "8" {
		t.Errorf("ignored %v, listeners %q", ignored, cfg.Property("listeners"))
	}
	h := newHarness(t, func(c *Config) { c.Properties = cfg.Properties })
	h.topic("a", 1)
	if e := h.entry(Resource{Type: TopicResource, Name: "a"}, "retention.ms"); e.Value != "7200000" || e.Source != StaticBrokerConfig {
		t.Errorf("2 hours of retention are %+v", e)
	}
	_, _, err = ParseConfig(map[string]string{"num.partition": "3", "num.partitions": "0", "log.dirs": "a,b", "default.replication.factor": "3", "compression.type": "rar"})
	for _, part := range []string{`"num.partition"`, `did you mean "num.partitions"?`, "Value must be at least 1", "one directory", "no more than 1", "rar"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("expected %q in: %v", part, err)
		}
	}
}

// A power cut at any moment while a topic grows leaves all of the growth or
// none, and what was there.
func TestACrashWhileATopicGrowsLeavesAllOfItOrNothing(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		h := newHarness(t, nil)
		h.topic("a", 2)
		h.put("a", 1, AcksAll, "kept")
		var clones []*vfs.Mem
		cut := func(vfs.Event) {
			clones = append(clones, h.fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent, Rand: rand.New(rand.NewPCG(1, uint64(len(clones))))}))
		}
		h.faults.SetHooks(cut, cut)
		h.ok(h.CreatePartitions("a", 4, false))
		h.faults.SetHooks(nil, nil)
		seen := map[int32]int{}
		for i, fsys := range clones {
			g := &harness{t: t, fs: fsys, now: h.now, boot: "boot-2", ids: 100}
			g.open()
			topic, _ := g.Topic("a")
			seen[topic.Partitions]++
			if topic.Partitions != 2 && topic.Partitions != 4 || g.part("a", 1).Offsets().End != 1 {
				t.Fatalf("%d %%, cut %d of %d: %+v, %d records", percent, i, len(clones), topic, g.part("a", 1).Offsets().End)
			}
			for n := range int(topic.Partitions) {
				g.ok(g.part("a", n).Err())
			}
			if _, err := fsys.Stat("/data/a-3"); (err == nil) != (topic.Partitions == 4) {
				t.Fatalf("%d %%, cut %d: %d partitions, directory a-3: %v", percent, i, topic.Partitions, err)
			}
			if topic.Partitions == 2 {
				g.ok(g.CreatePartitions("a", 4, false))
			}
			g.ok(g.Broker.Close())
		}
		if seen[2] == 0 || seen[4] == 0 {
			t.Errorf("%d %%: found %v, expected both outcomes", percent, seen)
		}
	}
}

func TestABrokersOwnSettingIsStrongerThanThatOfAll(t *testing.T) {
	h := newHarness(t, nil)
	h.ok(h.set(allBrokers, "log.cleaner.dedupe.buffer.size", "1000000", "producer.id.expiration.ms", "5000"))
	h.ok(h.set(thisBroker, "log.cleaner.dedupe.buffer.size", "2000000"))
	if s := h.settings.Load(); s.cleanerMemory != 2_000_000 || s.producerExpiry != 5*time.Second {
		t.Errorf("the cleaner has %d bytes, producers expire after %s", s.cleanerMemory, s.producerExpiry)
	}
}
