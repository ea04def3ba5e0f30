package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// guarded serves a log that asks for a password and has access control lists; it
// returns its address and an administrator.
func guarded(t *testing.T) (addr string, admin *kadm.Client) {
	t.Helper()
	addr = serveAs(t, broker.Config{}, wire.Listener{SASL: []string{"SCRAM-SHA-256"}}, wire.Security{
		Authorization: &wire.Authorization{SuperUsers: []string{"User:admin"}}, FailureDelay: -1,
		FirstUsers: []broker.ScramUser{
			{Name: "admin", Password: "admin-secret", Mechanism: "SCRAM-SHA-256"},
			{Name: "program", Password: "program-secret", Mechanism: "SCRAM-SHA-256"},
		},
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.SASL(scram.Auth{User: "admin", Pass: "admin-secret"}.AsSha256Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return addr, kadm.NewClient(cl)
}

// rights are the table of docs/cluster.md for the tests' program.
func rights() map[string]*kadm.ACLBuilder {
	allow := func(ops ...kadm.ACLOperation) *kadm.ACLBuilder {
		return kadm.NewACLs().Allow("User:program").AllowHosts("*").Operations(ops...)
	}
	return map[string]*kadm.ACLBuilder{
		"its topics": allow(kadm.OpCreate, kadm.OpRead, kadm.OpWrite, kadm.OpDescribe, kadm.OpDescribeConfigs).
			Topics("lines", "out").ResourcePatternType(kadm.ACLPatternLiteral),
		"its own topics": allow(kadm.OpCreate, kadm.OpRead, kadm.OpWrite, kadm.OpDelete, kadm.OpDescribe, kadm.OpDescribeConfigs).
			Topics("app-", "app.dead-letters").ResourcePatternType(kadm.ACLPatternPrefixed),
		"its groups":       allow(kadm.OpRead, kadm.OpDescribe).Groups("app").ResourcePatternType(kadm.ACLPatternPrefixed),
		"its transactions": allow(kadm.OpWrite, kadm.OpDescribe).TransactionalIDs("app-").ResourcePatternType(kadm.ACLPatternPrefixed),
	}
}

func runOn(t *testing.T, addr string, change func(*engine.Config)) error {
	t.Helper()
	cfg := config(lines(300, 3), 2, 1)
	cfg.Log, cfg.InMemoryState = "kafka://"+addr, true
	cfg.Cluster.SASL = engine.SASL{Mechanism: "SCRAM-SHA-256", User: "program", Password: connectors.NewSecret("literal:program-secret")}
	if change != nil {
		change(&cfg)
	}
	e, err := engine.New(countProgram(t), cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return errors.Join(e.Run(ctx), ctx.Err(), e.Close())
}

// What is wrong in the cluster is told before anything is processed.
func TestWrongTopicsOnAClusterAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		topic      string
		partitions int32
		configs    map[string]string
		want       []string
	}{
		"a changelog that forgets": {"app-counts-changelog", 2, map[string]string{"cleanup.policy": "delete", "retention.ms": "60000"},
			[]string{"app-counts-changelog", "retention.ms=60000", "would be deleted", "alter the topic"}},
		"positions that go by size": {"app-positions", 1, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "1000000"},
			[]string{"app-positions", "retention.bytes=1000000"}},
		"a changelog of another width": {"app-counts-changelog", 5, map[string]string{"cleanup.policy": "compact"},
			[]string{"app-counts-changelog", "5 partitions, expected 2"}},
		"a repartition topic that is compacted": {"app-counts-repartition", 2, map[string]string{"cleanup.policy": "compact"},
			[]string{"app-counts-repartition", "cleanup.policy=compact", "only the last"}},
	} {
		t.Run(name, func(t *testing.T) {
			addr, admin := guarded(t)
			for _, acl := range rights() {
				if _, err := admin.CreateACLs(t.Context(), acl); err != nil {
					t.Fatal(err)
				}
			}
			configs := map[string]*string{}
			for k, v := range c.configs {
				configs[k] = &v
			}
			if r, err := admin.CreateTopic(t.Context(), c.partitions, 1, configs, c.topic); errors.Join(err, r.Err) != nil {
				t.Fatal(err, r.Err)
			}
			err := runOn(t, addr, nil)
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v, expected it to say %q", err, w)
				}
			}
			ends, listed := admin.ListEndOffsets(t.Context(), "lines")
			if listed == nil {
				ends.Each(func(o kadm.ListedOffset) {
					if o.Offset > 0 {
						t.Errorf("lines-%d has %d records: the source has run", o.Partition, o.Offset)
					}
				})
			}
		})
	}
}

func TestATransactionTimeoutAboveTheBrokersIsTold(t *testing.T) {
	addr, admin := guarded(t)
	for _, acl := range rights() {
		if _, err := admin.CreateACLs(t.Context(), acl); err != nil {
			t.Fatal(err)
		}
	}
	err := runOn(t, addr, func(c *engine.Config) { c.Cluster.TransactionTimeout = time.Hour })
	for _, w := range []string{"3600000 ms", "transaction.max.timeout.ms", "Cluster.TransactionTimeout"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, expected it to say %q", err, w)
		}
	}
}

func TestClusterMistakesAreTold(t *testing.T) {
	addr, _ := guarded(t)
	for name, c := range map[string]struct {
		change func(*engine.Config)
		want   []string
	}{
		"nobody there":    {func(c *engine.Config) { c.Log = "kafka://127.0.0.1:1" }, []string{"127.0.0.1:1", "nobody listens", "is a Kafka broker there"}},
		"wrong password":  {func(c *engine.Config) { c.Cluster.SASL.Password = connectors.NewSecret("literal:guess") }, []string{"SASL_AUTHENTICATION_FAILED", addr, "user or the password: see Cluster.SASL"}},
		"wrong mechanism": {func(c *engine.Config) { c.Cluster.SASL.Mechanism = "SCRAM-SHA-512" }, []string{addr, "Cluster.SASL.Mechanism"}},
		"no such host":    {func(c *engine.Config) { c.Log = "kafka://broker.invalid:9092" }, []string{"broker.invalid:9092", "no host of that name"}},
		"no password":     {func(c *engine.Config) { c.Cluster.SASL = engine.SASL{} }, []string{addr, "Cluster.SASL"}},
		"no port":         {func(c *engine.Config) { c.Log = "kafka://broker" }, []string{`"broker"`, "HOST:PORT"}},
		"PLAIN, no TLS":   {func(c *engine.Config) { c.Cluster.SASL.Mechanism = "PLAIN" }, []string{"needs Cluster.TLS"}},
		"no such way in":  {func(c *engine.Config) { c.Cluster.SASL.Mechanism = "KERBEROS" }, []string{"KERBEROS", "SCRAM-SHA-512"}},
		"another scheme":  {func(c *engine.Config) { c.Log = "redis://x:1" }, []string{"embedded:DIR or kafka://HOST:PORT"}},
	} {
		err := runOn(t, addr, c.change)
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, expected it to say %q", name, err, w)
			}
		}
		if err != nil && strings.Contains(err.Error(), "program-secret") {
			t.Errorf("%s: the error has the password: %v", name, err)
		}
	}
	err := runOn(t, "127.0.0.1:1", nil)
	if !errors.Is(err, logclient.ErrUnavailable) {
		t.Errorf("nobody there: %v, expected ErrUnavailable", err)
	}
}
