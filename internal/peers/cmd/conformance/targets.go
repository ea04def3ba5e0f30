package main

import (
	"fmt"
	"net"

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
