package broker

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/vfs"
)

// TestIntegrationKafkaDecodesTransactionsOfBothProtocols: the records in
// __transaction_state have what KIP-890's protocol keeps in the fields where
// Kafka's own tool looks for it.
func TestIntegrationKafkaDecodesTransactionsOfBothProtocols(t *testing.T) {
	kafka := peers.NeedKafka(t)
	dir := t.TempDir()
	h := &harness{t: t, now: time.UnixMilli(1_700_000_000_000), boot: "boot-1", tune: func(c *Config) {
		c.FS, c.Dir, c.InternalPartitions = vfs.OS(), dir, 1
	}}
	h.open()
	h.topic("a", 1)
	first := h.tx("first")
	first.put("a", 0, "1")
	h.ok(first.end(true))
	x := h.tx("bumps")
	x.joined("a", 0, "1")
	x.bump(true)
	x.exhaust()
	x.joined("a", 0, "2")
	x.bump(false)
	h.ok(h.Broker.Close())
	files, err := filepath.Glob(filepath.Join(dir, "__transaction_state-0", "*.log"))
	h.ok(err)
	out, err := kafka.DumpLogSegments(context.Background(), "--transaction-log-decoder", "--deep-iteration", "--print-data-log", "--files", strings.Join(files, ","))
	h.ok(err)
	for _, want := range []string{
		`{"transactionalId":"first"}} payload: {"version":"1","data":{"producerId":0,"previousProducerId":0,"producerEpoch":0,"transactionTimeoutMs":60000,"transactionStatus":2,`,
		`"producerId":1,"previousProducerId":1,"producerEpoch":1,"transactionTimeoutMs":60000,"transactionStatus":2,"transactionPartitions":[{"topic":"a","partitionIds":[0]}]`,
		`"producerId":1,"previousProducerId":1,"nextProducerId":2,"producerEpoch":32767,"transactionTimeoutMs":60000,"transactionStatus":3,`,
		`"producerId":2,"previousProducerId":1,"producerEpoch":0,"transactionTimeoutMs":60000,"transactionStatus":5,"transactionPartitions":[]`,
		`"clientTransactionVersion":2}`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("Kafka's decoder does not show %s in\n%s", want, out)
		}
	}
}
