package main

import (
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

// TestIntegrationVerbsAgainstApacheKafka: the same verbs on a broker of another make.
func TestIntegrationVerbsAgainstApacheKafka(t *testing.T) {
	kafka := peers.StartKafkaBroker(t, "")
	s := &served{t: t, addr: kafka.Addr()}
	if out := s.ok("topic", "create", "orders", "-p", "1", "-c", "cleanup.policy=compact"); out != "created topic orders with 1 partitions\n" {
		t.Errorf("topic create: %q", out)
	}
	if code, _, stderr := s.cli("topic", "create", "orders"); code != 1 || !strings.Contains(stderr, "TOPIC_ALREADY_EXISTS") {
		t.Errorf("topic create again: exit %d, %q", code, stderr)
	}
	s.ok("topic", "alter", "orders", "-c", "segment.ms=3600000", "-c", "cleanup.policy=delete")
	described := func() string { return s.ok("topic", "describe", "orders") }
	limit := time.Now().Add(time.Minute) // the broker hears of a change after the controller has it
	for !strings.Contains(described(), "segment.ms=3600000") {
		if time.Now().After(limit) {
			t.Fatalf("topic describe: %s", described())
		}
	}
	s.send("k:a\nk:b\n", "produce", "orders", "-K", ":", "--compression", "lz4")
	s.send("k:c\n", "produce", "orders", "-K", ":", "--transactional-id", "x")
	if code, _, _ := s.input("k:d\nbad\n", "produce", "orders", "-K", ":", "--transactional-id", "x"); code != 1 {
		t.Errorf("a transaction with a bad line: exit %d, expected 1", code)
	}
	if out := s.ok("consume", "orders", "-e", "-f", `%o %k=%s\n`); out != "0 k=a\n1 k=b\n2 k=c\n" {
		t.Errorf("consume: %q", out)
	}
	if out := s.ok("consume", "orders", "-e", "-g", "billing"); out != "a\nb\nc\n" {
		t.Errorf("consume -g: %q", out)
	}
	if out := s.ok("group", "list"); !strings.Contains(out, "billing") {
		t.Errorf("group list: %s", out)
	}
	s.ok("group", "reset", "billing", "--all-topics", "--to-offset", "1", "--execute")
	if out := s.ok("group", "describe", "billing", "-o", "json"); !strings.Contains(out, `"committed":1`) {
		t.Errorf("group describe after the reset: %s", out)
	}
	if out := s.ok("consume", "orders", "-e", "-g", "billing"); out != "b\nc\n" {
		t.Errorf("consume -g after the reset: %q", out)
	}
	s.ok("group", "delete", "billing")
	if code, _, stderr := s.cli("group", "describe", "billing"); code != 1 || !strings.Contains(stderr, "does not exist") {
		t.Errorf("group describe after the deletion: exit %d, %q", code, stderr)
	}
	for range 2 { // the second one deletes the topic first
		if out := s.ok("bench", "produce", "--records", "5000", "--recreate", "-o", "json"); !strings.Contains(out, `"verified":true`) {
			t.Errorf("bench produce: %s", out)
		}
	}
	if out := s.ok("bench", "consume", "-o", "json"); !strings.Contains(out, `"verified":true`) {
		t.Errorf("bench consume: %s", out)
	}
	if out := s.ok("topic", "delete", "orders"); out != "deleted topic orders\n" {
		t.Errorf("topic delete: %q", out)
	}
	if code, _, stderr := s.cli("consume", "orders", "-e"); code != 1 || !strings.Contains(stderr, `topic "orders" does not exist`) {
		t.Errorf("consume of a deleted topic: exit %d, %q", code, stderr)
	}
}
