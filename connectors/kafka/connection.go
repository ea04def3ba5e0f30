package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/millstream-io/millstream/connectors"
)

// Connection says how a cluster is reached. The zero value of a field is its
// documented default.
type Connection struct {
	Brokers  []string // host:port of some brokers; the others are learned. Required
	ClientID string   // default "millstream"
	// TLS is used for every connection; nil is none.
	TLS  *tls.Config
	SASL SASL
	// DialTimeout of one connection, its handshakes included. Default 10 s.
	DialTimeout time.Duration
}

// SASL says who we are. The zero value is nobody.
type SASL struct {
	Mechanism string // "PLAIN" (with TLS only), "SCRAM-SHA-256" or "SCRAM-SHA-512"
	User      string
	Password  connectors.Secret
}

// validate reports every problem at once.
func (c *Connection) validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("no Brokers: name at least one host:port"))
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("broker %q: expected host:port: %w", b, err))
		}
	}
	switch c.SASL.Mechanism {
	case "", "SCRAM-SHA-256", "SCRAM-SHA-512":
	case "PLAIN":
		if c.TLS == nil {
			errs = append(errs, errors.New("SASL PLAIN sends the password as it is: it needs TLS"))
		}
	default:
		errs = append(errs, fmt.Errorf("SASL mechanism %q: expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", c.SASL.Mechanism))
	}
	if c.SASL.Mechanism != "" && (c.SASL.User == "" || c.SASL.Password.IsZero()) {
		errs = append(errs, fmt.Errorf("SASL %s needs User and Password", c.SASL.Mechanism))
	}
	return errors.Join(errs...)
}

// String names the brokers.
func (c *Connection) String() string { return strings.Join(c.Brokers, ",") }

func (c *Connection) mechanism() (sasl.Mechanism, error) {
	if c.SASL.Mechanism == "" {
		return nil, nil
	}
	password, err := c.SASL.Password.Reveal()
	if err != nil {
		return nil, fmt.Errorf("SASL password: %w", err)
	}
	switch c.SASL.Mechanism {
	case "PLAIN":
		return plain.Mechanism{Username: c.SASL.User, Password: password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, c.SASL.User, password)
	default:
		return scram.Mechanism(scram.SHA512, c.SASL.User, password)
	}
}

// metadataTTL bounds how long a moved leader is looked for in the wrong place.
const metadataTTL = time.Second

// open makes a client; close ends what it has in the background.
func (c *Connection) open(topic string) (client *kafkago.Client, close func(), err error) {
	mechanism, err := c.mechanism()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &kafkago.Transport{
		ClientID: c.ClientID, TLS: c.TLS, SASL: mechanism, DialTimeout: c.DialTimeout,
		MetadataTTL: metadataTTL, MetadataTopics: []string{topic}, Context: ctx,
	}
	if t.ClientID == "" {
		t.ClientID = "millstream"
	}
	if t.DialTimeout == 0 {
		t.DialTimeout = 10 * time.Second
	}
	close = func() {
		cancel()
		t.CloseIdleConnections()
	}
	return &kafkago.Client{Addr: kafkago.TCP(c.Brokers...), Transport: t}, close, nil
}

// described is what the cluster says of a topic.
type described struct {
	cluster    string
	partitions int32
}

// hearsay is how much later than others a broker may hear of a new topic.
const hearsay = 3 * time.Second

// expect is describe of a topic that should be there: who made it just now may have
// talked to another broker.
func expect(ctx context.Context, client *kafkago.Client, c *Connection, topic string) (described, error) {
	return heardOf(ctx, func() (described, error) { return describe(ctx, client, c, topic) })
}

// heardOf asks until there is a topic, for as long as brokers may not have heard of it.
func heardOf(ctx context.Context, ask func() (described, error)) (described, error) {
	for began := time.Now(); ; {
		d, err := ask()
		if err != nil || d.partitions > 0 || time.Since(began) >= hearsay || !pause(ctx, hearsay/10) {
			return d, err
		}
	}
}

// describe asks for a topic. One that does not exist has 0 partitions.
func describe(ctx context.Context, client *kafkago.Client, c *Connection, topic string) (described, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return described{}, fmt.Errorf("kafka %s: metadata of topic %s: %w", c, topic, connectors.Transient(err))
	}
	d := described{cluster: m.ClusterID}
	for _, t := range m.Topics {
		switch {
		case t.Name != topic:
		case errors.Is(t.Error, kafkago.UnknownTopicOrPartition):
			return d, nil
		case t.Error != nil:
			return d, fmt.Errorf("kafka %s: topic %s: %w", c, topic, t.Error)
		default:
			d.partitions = int32(len(t.Partitions))
		}
	}
	return d, nil
}

// requestTimeout bounds a request that does not wait for records.
const requestTimeout = 30 * time.Second

// Partitions asks a cluster how many partitions a topic has: for
// engine.Source.Partitions, so that a Source can keep them.
func Partitions(ctx context.Context, c Connection, topic string) (int32, error) {
	if err := c.validate(); err != nil {
		return 0, fmt.Errorf("kafka: %w", err)
	}
	client, close, err := c.open(topic)
	if err != nil {
		return 0, err
	}
	defer close()
	d, err := expect(ctx, client, &c, topic)
	if err == nil && d.partitions == 0 {
		err = noTopic(&c, topic)
	}
	return d.partitions, err
}

func noTopic(c *Connection, topic string) error {
	return fmt.Errorf("kafka %s: %w: %s: create it first, or mend its name", c, ErrNoTopic, topic)
}
