package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
)

// users are who kafka-go's and franz-go's suites come in as.
var users = []peers.User{
	{Mechanism: "PLAIN", Name: "adminplain", Password: "admin-secret"},
	{Mechanism: "SCRAM-SHA-256", Name: "adminscram", Password: "admin-secret-256"},
	{Mechanism: "SCRAM-SHA-512", Name: "adminscram", Password: "admin-secret-512"},
}

// startKafka starts an Apache Kafka as kafka-go's docker-compose.yml sets it up.
func startKafka(dir string) (target, error) {
	if err := portsAreFree(); err != nil {
		return nil, err
	}
	k, err := peers.FindKafka()
	if err != nil {
		return nil, err
	}
	return peers.NewKafkaBroker(k, dir, peers.KafkaConfig{
		Port: plainPort, SASLPort: saslPort, Host: "localhost", Users: users, Heap: "1G",
		Settings: "message.max.bytes=200000000\n" +
			"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n" +
			"allow.everyone.if.no.acl.found=true\nsuper.users=User:ANONYMOUS\n",
	})
}

// startServe starts `millstream serve` in the same way.
func startServe(dir string) (target, error) {
	if err := portsAreFree(); err != nil {
		return nil, err
	}
	var plain strings.Builder
	for _, u := range users {
		if u.Mechanism == "PLAIN" {
			fmt.Fprintf(&plain, "%s:%s\n", u.Name, u.Password)
		}
	}
	file := filepath.Join(dir, "users")
	if err := os.WriteFile(file, []byte(plain.String()), 0o600); err != nil {
		return nil, err
	}
	s, err := peers.NewServe(dir, fmt.Sprintf("PLAINTEXT://%s,SASL_PLAINTEXT://%s", plainAddr, saslAddr),
		"--advertise", fmt.Sprintf("localhost:%d,localhost:%d", plainPort, saslPort),
		"--sasl-users", file, "--sasl-mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"--acl", "--allow-if-no-acl", "--super-users", "User:ANONYMOUS",
		"--partitions", "4", "--property", "message.max.bytes=200000000")
	if err != nil {
		return nil, err
	}
	if err := addScramUsers(); err != nil {
		s.Kill()
		return nil, err
	}
	return s, nil
}

// addScramUsers makes the users of SCRAM by the standard admin calls.
func addScramUsers() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(plainAddr))
	if err != nil {
		return err
	}
	defer cl.Close()
	mechanisms := map[string]kadm.ScramMechanism{"SCRAM-SHA-256": kadm.ScramSha256, "SCRAM-SHA-512": kadm.ScramSha512}
	for _, u := range users {
		mechanism, ok := mechanisms[u.Mechanism]
		if !ok {
			continue
		}
		done, err := kadm.NewClient(cl).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: u.Name, Mechanism: mechanism, Iterations: 4096, Password: u.Password}})
		if err == nil {
			err = done.Error()
		}
		if err != nil {
			return fmt.Errorf("user %s of %s: %w", u.Name, u.Mechanism, err)
		}
	}
	return nil
}

// portsAreFree names the port that another program has: the suites have no
// other choice than these.
func portsAreFree() error {
	for _, addr := range []string{plainAddr, saslAddr} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("the suites need %s for the broker under test: %w", addr, err)
		}
		l.Close()
	}
	return nil
}
