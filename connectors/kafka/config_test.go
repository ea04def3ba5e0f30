package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

func TestMistakesInTheConfigurationAreToldAtOnce(t *testing.T) {
	secret := connectors.NewSecret("hush")
	source := NewSource(SourceConfig{Connection: Connection{
		Brokers: []string{"nowhere"}, SASL: SASL{Mechanism: "PLAIN", User: "u", Password: secret},
	}})
	err := source.Open(t.Context(), connectors.SourceContext{}, nil)
	for _, want := range []string{`broker "nowhere"`, "PLAIN sends the password", "no Topic"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("source: expected an error with %q, found %v", want, err)
		}
	}
	if !connectors.IsPermanent(err) || strings.Contains(fmt.Sprint(err), "hush") {
		t.Errorf("expected a permanent error without the password, found %v", err)
	}
	sink := NewSink(SinkConfig{
		Connection: Connection{TLS: &tls.Config{}, SASL: SASL{Mechanism: "KERBEROS"}}, Compression: "rar", ByKey: true, SamePartition: true,
	})
	err = sink.Open(t.Context(), connectors.SinkContext{})
	for _, want := range []string{"no Brokers", `"KERBEROS"`, `"rar"`, "ByKey and SamePartition"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("sink: expected an error with %q, found %v", want, err)
		}
	}
}

func TestNobodyThereIsAnErrorThatPasses(t *testing.T) {
	c := Connection{Brokers: []string{"127.0.0.1:1"}}
	for name, open := range map[string]func(context.Context) error{
		"source": func(ctx context.Context) error {
			s := NewSource(SourceConfig{Connection: c, Topic: "t"})
			defer s.Close()
			return s.Open(ctx, connectors.SourceContext{Partitions: 1}, nil)
		},
		"sink": func(ctx context.Context) error {
			s := NewSink(SinkConfig{Connection: c, Topic: "t"})
			defer s.Close()
			return s.Open(ctx, connectors.SinkContext{Partitions: 1})
		},
	} {
		if err := open(t.Context()); !connectors.IsTransient(err) || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("%s: expected a transient error that names the broker, found %v", name, err)
		}
	}
}

func TestAbortedTransactionsEndAtTheirMarker(t *testing.T) {
	a := newAborted([]fetch.ResponseTransaction{{ProducerID: 7, FirstOffset: 20}, {ProducerID: 7, FirstOffset: 5}, {ProducerID: 8, FirstOffset: 6}})
	for _, step := range []struct {
		offset int64
		ended  int64 // a marker of this producer stands there
		has7   bool
		has8   bool
	}{{4, 0, false, false}, {5, 0, true, false}, {9, 0, true, true}, {10, 7, false, true}, {12, 0, false, true}, {20, 0, true, true}, {25, 8, true, false}} {
		a.upTo(step.offset)
		if step.ended != 0 {
			a.ended(step.ended)
		}
		if a.has(7) != step.has7 || a.has(8) != step.has8 {
			t.Errorf("at %d: producers 7 and 8 are aborting: %v, %v; expected %v, %v", step.offset, a.has(7), a.has(8), step.has7, step.has8)
		}
	}
}

func TestByKeyOnlyTheLastRecordOfAKeyIsSent(t *testing.T) {
	s := NewSink(SinkConfig{ByKey: true})
	var records []connectors.Record
	for _, kv := range []string{"a1", "b1", "a2", "c1", "b2"} {
		records = append(records, connectors.Record{View: record.View{Key: []byte(kv[:1]), Value: []byte(kv)}})
	}
	s.fill(records)
	var got []string
	for i, m := range s.messages {
		got = append(got, fmt.Sprintf("%d:%s", s.index[i], m.Value))
	}
	if want := "[2:a2 3:c1 4:b2]"; fmt.Sprint(got) != want {
		t.Errorf("expected %s, found %v", want, got)
	}
}

func TestErrorsAreTold(t *testing.T) {
	for err, want := range map[error][2]bool{ // temporary, refused
		kafkago.NotLeaderForPartition:                   {true, false},
		kafkago.UnknownTopicOrPartition:                 {true, false},
		kafkago.MessageSizeTooLarge:                     {false, true},
		kafkago.InvalidRecord:                           {false, true},
		kafkago.TopicAuthorizationFailed:                {false, false},
		errors.New("anything else"):                     {false, false},
		fmt.Errorf("x: %w", kafkago.LeaderNotAvailable): {true, false},
	} {
		if temporary(err) != want[0] || refused(err) != want[1] {
			t.Errorf("%v: temporary %v, refused %v; expected %v", err, temporary(err), refused(err), want)
		}
	}
}
