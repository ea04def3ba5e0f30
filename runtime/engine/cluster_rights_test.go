package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// grant is one right of the table in docs/cluster.md, for the tests' program.
type grant struct {
	op       kadm.ACLOperation
	resource string // topic, group, transactional-id
	name     string
	prefixed bool
	missing  string // how an error names it; empty: nothing is refused without it
}

// grants are the whole table. Describe comes with Read and Write; without
// DescribeConfigs the settings of internal topics are not looked at.
func grants() []grant {
	return []grant{
		{kadm.OpCreate, "topic", "app-", true, "Create on the topic app-"}, // first: then there is none yet
		{kadm.OpRead, "topic", "lines", false, "Read on the topic lines"},
		{kadm.OpWrite, "topic", "lines", false, "Write on the topic lines"}, // its source does
		{kadm.OpWrite, "topic", "out", false, "Write on the topic out"},
		{kadm.OpRead, "topic", "app-", true, "Read on the topic app-positions"},
		{kadm.OpWrite, "topic", "app-", true, "Write on the topic app-positions"},
		{kadm.OpDelete, "topic", "app-", true, "Delete on the topic app-counts-repartition"},
		{kadm.OpRead, "group", "app", true, "Read on the group app"},
		{kadm.OpWrite, "transactional-id", "app-", true, "Write on the transactional ids that begin with app-"},
		{kadm.OpCreate, "topic", "app.dead-letters", false, ""}, // it is made with the others
		{kadm.OpRead, "topic", "app.dead-letters", false, ""},   // for those who look at them
		{kadm.OpWrite, "topic", "app.dead-letters", false, "Write on the topic app.dead-letters"},
		{kadm.OpDescribeConfigs, "topic", "lines", false, ""},
		{kadm.OpDescribeConfigs, "topic", "out", false, ""},
		{kadm.OpDescribeConfigs, "topic", "app-", true, ""},
		{kadm.OpDescribeConfigs, "topic", "app.dead-letters", false, ""},
		{kadm.OpDescribe, "group", "app", true, ""},
		{kadm.OpDescribe, "transactional-id", "app-", true, ""},
	}
}

func (g grant) acl() *kadm.ACLBuilder {
	pattern := kadm.ACLPatternLiteral
	if g.prefixed {
		pattern = kadm.ACLPatternPrefixed
	}
	b := kadm.NewACLs().Allow("User:program").AllowHosts("*").Operations(g.op).ResourcePatternType(pattern)
	switch g.resource {
	case "topic":
		return b.Topics(g.name)
	case "group":
		return b.Groups(g.name)
	default:
		return b.TransactionalIDs(g.name)
	}
}

// set gives or takes a right, and waits until the broker goes by it.
func (g grant) set(t *testing.T, admin *kadm.Client, on bool) {
	t.Helper()
	var err error
	if on {
		var made kadm.CreateACLsResults
		made, err = admin.CreateACLs(t.Context(), g.acl())
		for _, m := range made {
			err = errors.Join(err, m.Err)
		}
	} else {
		_, err = admin.DeleteACLs(t.Context(), g.acl())
	}
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := admin.DescribeACLs(t.Context(), g.acl())
		n := 0
		for _, f := range found {
			err = errors.Join(err, f.Err)
			n += len(f.Described)
		}
		if err != nil {
			t.Fatal(err)
		}
		if on == (n > 0) {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// printedCommand is the command of Kafka's tool in an error, without its name.
var printedCommand = regexp.MustCompile(`kafka-acls\.sh (.*?); docs/`)

// rightsOn runs the tests' program, which may do just what docs/cluster.md lists, on
// a broker with access control: with one right less it is told that one, with what
// the command of that error grants it goes on, and with the table's rights alone its
// output is exact.
func rightsOn(t *testing.T, addr string, command func(line string), administrator ...kgo.Opt) {
	cl, err := kgo.NewClient(append(administrator, kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	in := lines(2000, 5)
	run := func() error {
		return runOn(t, addr, func(c *engine.Config) {
			with := config(in, 2, 1)
			with.Log, with.InMemoryState, with.Cluster = c.Log, c.InMemoryState, c.Cluster
			with.Cluster.Instance, with.Cluster.SessionTimeout = "one", 10*time.Second
			*c = with
		})
	}
	for _, topic := range []string{"lines", "out"} {
		if r, err := admin.CreateTopic(t.Context(), 2, 1, nil, topic); errors.Join(err, r.Err) != nil {
			t.Fatal(err, r.Err)
		}
	}
	all := grants()
	for _, g := range all {
		g.set(t, admin, true)
	}
	for _, g := range all {
		if g.missing == "" {
			continue
		}
		g.set(t, admin, false)
		err := run()
		var rights *logclient.RightsError
		if !errors.As(err, &rights) {
			t.Errorf("without %s: %v, expected a RightsError", g.missing, err)
		} else {
			if len(rights.Missing) > 4 || !strings.Contains(err.Error(), g.missing) || !strings.Contains(err.Error(), "User:program; ") {
				t.Errorf("without %s: %v, expected it to say so", g.missing, err)
			}
			command := "kafka-acls.sh --bootstrap-server " + addr + " --add --allow-principal User:program --operation " + g.op.String()
			if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(command)) {
				t.Errorf("without %s: %v, expected the command that grants it: %s", g.missing, err, command)
			}
			if n := strings.Count(err.Error(), "kafka-acls.sh"); n > 1 {
				t.Errorf("without %s the error says %d commands: %v", g.missing, n, err)
			}
		}
		t.Logf("without %s: %v", g.missing, err)
		if said := printedCommand.FindStringSubmatch(fmt.Sprint(err)); command != nil && said != nil {
			command(said[1])
			if err := run(); err != nil {
				t.Errorf("after %s: %v", said[0], err)
			}
		}
		g.set(t, admin, true)
	}
	if command != nil { // what they granted is not in the table
		if _, err := admin.DeleteACLs(t.Context(), kadm.NewACLs().AnyResource().Allow("User:program").AllowHosts().Operations().ResourcePatternType(kadm.ACLPatternAny)); err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			g.set(t, admin, true)
		}
	}
	if err := run(); err != nil {
		t.Fatalf("with every right of docs/cluster.md: %v", err)
	}
	want, got := fold(in), map[string]int64{}
	cl.AddConsumeTopics("out")
	for len(got) < len(want) { // a window that is missing shows as no end
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		fs := cl.PollFetches(ctx)
		cancel()
		if err := fs.Err(); err != nil {
			t.Fatalf("after %d of %d windows: %v", len(got), len(want), err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if _, twice := got[string(r.Key)]; twice {
				t.Errorf("window %s was emitted twice", r.Key)
			}
			got[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
		})
	}
	same(t, got, want)
}

func TestIntegrationRightsOnApacheKafka(t *testing.T) {
	b := peers.StartKafkaBrokerWith(t, peers.KafkaConfig{
		SASLPort: peers.AnyPort, Heap: "384M",
		Users:    []peers.User{{Mechanism: "SCRAM-SHA-256", Name: "program", Password: "program-secret"}},
		Settings: "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS\nauto.create.topics.enable=false\n",
		JVM:      []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"},
	})
	tools := peers.StartJavaDriver(t, b.Addr())
	command := func(line string) {
		var said struct {
			Out, Err string
			Code     int
		}
		args := strings.Fields(strings.ReplaceAll(strings.Replace(line, b.SASLAddr(), b.Addr(), 1), "'", ""))
		err := tools.Do("tool", map[string]any{"class": "org.apache.kafka.tools.AclCommand", "args": args, "stdin": ""}, &said)
		if err != nil || said.Code != 0 {
			t.Errorf("kafka-acls.sh %s: %v, %+v", line, err, said)
		}
	}
	rightsOn(t, b.SASLAddr(), command, kgo.SeedBrokers(b.Addr()))
}

func TestRightsOnServe(t *testing.T) {
	t.Parallel() // it waits most of the time
	addr, _ := guarded(t)
	rightsOn(t, addr, nil, kgo.SeedBrokers(addr), kgo.SASL(scram.Auth{User: "admin", Pass: "admin-secret"}.AsSha256Mechanism()))
}
