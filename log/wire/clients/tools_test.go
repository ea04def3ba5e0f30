package clients

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/internal/peers"
)

// tools runs Kafka's own command-line tools.
type tools struct {
	t      *testing.T
	driver *peers.Driver
	broker string
}

type said struct {
	Out, Err string
	Code     int
}

const toolsPackage = "org.apache.kafka.tools."

// run runs a tool against the broker, with exit code 0, and gives what it printed.
func (k tools) run(class, stdin string, args ...string) string {
	k.t.Helper()
	s := k.try(class, stdin, args...)
	if s.Code != 0 {
		k.t.Fatalf("%s %v: exit code %d\n%s%s", class, args, s.Code, s.Out, s.Err)
	}
	return s.Out
}

func (k tools) try(class, stdin string, args ...string) said {
	k.t.Helper()
	if !strings.Contains(class, "kafka.") {
		class = toolsPackage + class
	}
	var s said
	all := append([]string{"--bootstrap-server", k.broker}, args...)
	if i := slices.Index(args, "@"); i > 0 { // where the tool wants the broker elsewhere
		all = slices.Replace(slices.Clone(args), i, i+1, k.broker)
	}
	if err := k.driver.Do("tool", map[string]any{"class": class, "args": all, "stdin": stdin}, &s); err != nil {
		k.t.Fatalf("%s %v: %v", class, args, err)
	}
	return s
}

// says fails unless what a tool printed matches each pattern.
func (k tools) says(out string, patterns ...string) {
	k.t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			k.t.Errorf("nothing matches %q in:\n%s", p, out)
		}
	}
}

func startTools(t *testing.T) tools {
	t.Helper()
	broker := target(t)
	return tools{t, peers.StartJavaDriver(t, broker), broker}
}

func TestIntegrationKafkasToolsOnTopicsAndConfigs(t *testing.T) {
	k := startTools(t)
	topic := name(t, "tools")
	k.says(k.run("TopicCommand", "", "--create", "--topic", topic, "--partitions", "3", "--config", "retention.ms=-1"), "Created topic "+topic)
	if s := k.try("TopicCommand", "", "--create", "--topic", topic); s.Code == 0 || !strings.Contains(s.Out+s.Err, "already exists") {
		t.Errorf("a topic created twice: %+v", s)
	}
	k.says(k.run("TopicCommand", "", "--list"), `(?m)^`+topic+`$`)
	k.says(k.run("TopicCommand", "", "--describe", "--topic", topic),
		`Topic: `+topic+`\s+TopicId: \S{22}\s+PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention.ms=-1`,
		`Partition: 2\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+`)
	k.run("TopicCommand", "", "--alter", "--topic", topic, "--partitions", "4")
	k.says(k.run("TopicCommand", "", "--describe", "--topic", topic), "PartitionCount: 4")

	configs := func(args ...string) string { return k.run("kafka.admin.ConfigCommand", "", args...) }
	configs("--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", "cleanup.policy=[compact,delete],segment.bytes=1048576")
	k.says(configs("--describe", "--entity-type", "topics", "--entity-name", topic), `cleanup.policy=compact,delete`, `segment.bytes=1048576`, `retention.ms=-1`)
	configs("--alter", "--entity-type", "topics", "--entity-name", topic, "--delete-config", "segment.bytes")
	if out := configs("--describe", "--entity-type", "topics", "--entity-name", topic); strings.Contains(out, "segment.bytes") {
		t.Errorf("segment.bytes is there after its deletion:\n%s", out)
	}
	k.says(configs("--describe", "--entity-type", "topics", "--entity-name", topic, "--all"), `max.message.bytes=\d+`, `DEFAULT_CONFIG`)
	k.says(configs("--describe", "--entity-type", "brokers", "--all"), `log.retention`)
	if s := k.try("kafka.admin.ConfigCommand", "", "--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", "no.such.config=1"); s.Code == 0 {
		t.Error("an unknown configuration was taken")
	}
	k.run("TopicCommand", "", "--delete", "--topic", topic)
	until(t, "the topic gone", func() (bool, string) {
		out := k.run("TopicCommand", "", "--list")
		return !slices.Contains(strings.Fields(out), topic), out
	})
}

func TestIntegrationKafkasToolsOnRecordsAndGroups(t *testing.T) {
	k := startTools(t)
	topic, group := create(t, 3, nil), name(t, "group")
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("k%d:value %d", i%7, i))
	}
	k.run("ConsoleProducer", strings.Join(lines, "\n")+"\n", "--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:",
		"--compression-codec", "zstd")
	out := k.run("consumer.ConsoleConsumer", "", "--topic", topic, "--from-beginning", "--group", group, "--max-messages", "300", "--timeout-ms", "30000",
		"--formatter-property", "print.key=true", "--formatter-property", "key.separator=:")
	got := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(got)
	slices.Sort(lines)
	if !slices.Equal(got, lines) {
		t.Errorf("the console consumer printed %d lines, not the 300 produced: %.300q", len(got), got)
	}

	ends, err := map[string]int{}, error(nil)
	for line := range strings.Lines(k.run("GetOffsetShell", "", "--topic", topic)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 3 {
			if ends[f[1]], err = strconv.Atoi(f[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if sum := ends["0"] + ends["1"] + ends["2"]; len(ends) != 3 || sum != 300 {
		t.Errorf("end offsets %v, want a sum of 300 over 3 partitions", ends)
	}

	groups := func(args ...string) string { return k.run("consumer.group.ConsumerGroupCommand", "", args...) }
	k.says(groups("--list"), `(?m)^`+group+`$`)
	for p, end := range ends {
		k.says(groups("--describe", "--group", group), fmt.Sprintf(`%s\s+%s\s+%s\s+%d\s+%d\s+0\s`, group, topic, p, end, end))
	}
	k.says(groups("--describe", "--group", group, "--state"), `Empty\s+0`)
	groups("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
	for p, end := range ends {
		k.says(groups("--describe", "--group", group), fmt.Sprintf(`%s\s+%s\s+%s\s+0\s+%d\s+%d\s`, group, topic, p, end, end))
	}
	k.says(groups("--delete-offsets", "--group", group, "--topic", topic), `Successful`)
	k.says(groups("--delete", "--group", group), `successful`)
	k.says(k.run("GroupsCommand", "", "--list"), `GROUP`)
}

func TestIntegrationKafkasToolsOnTheCluster(t *testing.T) {
	k := startTools(t)
	topic := create(t, 1, nil)
	k.says(k.run("BrokerApiVersionsCommand", ""), `Produce\(0\): \d+ to 13`, `Fetch\(1\): 4 to 1[78]`, `InitProducerId\(22\)`, `ConsumerGroupHeartbeat\(68\)`)
	k.says(k.run("ClusterTool", "", "cluster-id", "--bootstrap-server", "@"), `Cluster ID: \S{22}`)
	k.says(k.run("FeatureCommand", "", "describe"), `transaction.version\s.*FinalizedVersionLevel: 2`, `group.version\s.*FinalizedVersionLevel: 1`)
	k.says(k.run("MetadataQuorumCommand", "", "describe", "--status"), `LeaderId:\s+\d+`)
	k.says(k.run("LogDirsCommand", "", "--describe", "--topic-list", topic), `"partition":"`+topic+`-0"`)
	k.says(k.run("TransactionsCommand", "", "list"), `TransactionalId`)
	k.says(k.run("TransactionsCommand", "", "describe-producers", "--topic", topic, "--partition", "0"), `ProducerId`)
}
