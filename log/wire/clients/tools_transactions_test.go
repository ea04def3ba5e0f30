package clients

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestIntegrationKafkasToolEndsATransaction: kafka-transactions.sh finds a
// transaction whose producer is gone, says who it was, and ends it.
func TestIntegrationKafkasToolEndsATransaction(t *testing.T) {
	k := startTools(t)
	topic, id := create(t, 1, nil), name(t, "hangs")
	ctx, cancel := soon()
	defer cancel()
	f := startFranzGo(t, k.broker).(*franzGo)
	gone, err := f.open(kgo.TransactionalID(id))
	if err != nil {
		t.Fatal(err)
	}
	defer gone.CloseAllowingRebalance()
	if err := gone.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := gone.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.produce(produceArgs{Topic: topic, Acks: "all", Codec: "none", Records: []record{{Value: []byte("behind")}}}); err != nil {
		t.Fatal(err)
	}
	transactions := func(args ...string) string { t.Helper(); return k.run("TransactionsCommand", "", args...) }
	k.says(transactions("list"), id+`\s+\d+\s+\d+\s+Ongoing`)
	k.says(transactions("describe", "--transactional-id", id), `Ongoing\s.*`+topic+`-0`)
	k.says(transactions("describe-producers", "--topic", topic, "--partition", "0"), `\d+\s+\d+\s+\S+\s+0\s+\d+\s+0\s`)
	k.says(transactions("find-hanging", "--topic", topic, "--partition", "0"), `Topic\s+Partition\s+ProducerId`)
	transactions("abort", "--topic", topic, "--partition", "0", "--start-offset", "0")
	k.says(transactions("describe-producers", "--topic", topic, "--partition", "0"), `(?i)\d+\s+\d+\s+\S+\s+-?\d+\s+\d+\s+(None|-1)`)
	read, err := f.read(readArgs{Topic: topic, Isolation: "read_committed"})
	if err != nil {
		t.Fatal(err)
	}
	if len(read) != 1 || string(read[0].Value) != "behind" {
		t.Errorf("read_committed shows %v", read)
	}
}
