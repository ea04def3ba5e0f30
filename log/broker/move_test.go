package broker_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// stoppedKafka is a log directory of Kafka with an empty topic t of one partition.
func stoppedKafka(t *testing.T, id [16]byte) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"meta.properties":               "version=1\ncluster.id=c\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAA\n",
		".kafka_cleanshutdown":          `{"version":0,"brokerEpoch":5}`,
		"log-start-offset-checkpoint":   "0\n1\nother 0 7\n",
		"replication-offset-checkpoint": "0\n2\nother 0 9\nt 0 0\n",
		"t-0/00000000000000000000.log":  "",
	}
	if err := os.Mkdir(filepath.Join(dir, "t-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openMoved(t *testing.T, dir, boot string) (*broker.Broker, *broker.Partition) {
	t.Helper()
	b, err := broker.Open(broker.Config{Dir: dir, MaintenanceInterval: -1, BootID: boot})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.EnsureTopic(broker.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	p, err := b.Partition(record.TopicPartition{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

func produceOne(t *testing.T, p *broker.Partition, prepare func(*record.Builder)) {
	t.Helper()
	bld := record.NewBuilder()
	if prepare != nil {
		prepare(bld)
	}
	bld.Append(&record.View{Value: []byte("v"), Timestamp: 1})
	data, err := bld.Finish(record.None)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Produce(data, broker.AcksAll); err != nil {
		t.Fatal(err)
	}
}

// TestExportBeginsAtEpoch0AndKeepsTheLogStart: Kafka's own epochs begin at 0, so
// none of ours may be greater, and what was deleted stays deleted.
func TestExportBeginsAtEpoch0AndKeepsTheLogStart(t *testing.T) {
	dir, id := t.TempDir(), [16]byte{1, 2, 3}
	b, p := openMoved(t, dir, "first")
	for range 3 {
		produceOne(t, p, nil)
	}
	b.Abandon() // under another boot id the epoch rises
	b, p = openMoved(t, dir, "second")
	produceOne(t, p, nil)
	if e := p.Offsets().Epoch; e < 1 {
		t.Fatalf("epoch %d: the test needs a raised one", e)
	}
	if _, err := p.DeleteBefore(2); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	kafka := stoppedKafka(t, id)
	moved, err := broker.Export(vfs.OS(), dir, kafka, broker.Move{Topic: "t", ID: id})
	if err != nil {
		t.Fatal(err)
	}
	if len(moved) != 1 || moved[0].Start != 2 || moved[0].End != 4 || moved[0].Records != 4 {
		t.Errorf("exported %+v, expected one partition from 2 to 4 with 4 records", moved)
	}
	for d, err := range segment.Dump(vfs.OS(), filepath.Join(kafka, "t-0", "00000000000000000000.log")) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Header.LeaderEpoch != 0 {
			t.Errorf("batch at %d has epoch %d, expected 0", d.Header.BaseOffset, d.Header.LeaderEpoch)
		}
	}
	for name, want := range map[string]string{
		"log-start-offset-checkpoint":      "0\n2\nother 0 7\nt 0 2\n",
		"replication-offset-checkpoint":    "0\n2\nother 0 9\nt 0 4\n",
		"recovery-point-offset-checkpoint": "0\n1\nt 0 4\n",
		"t-0/leader-epoch-checkpoint":      "0\n1\n0 2\n",
		"t-0/partition.metadata":           "version: 0\ntopic_id: AQIDAAAAAAAAAAAAAAAAAA",
	} {
		if got, err := os.ReadFile(filepath.Join(kafka, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q (%v), expected %q", name, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(kafka, ".kafka_cleanshutdown")); err != nil {
		t.Errorf("the mark of Kafka's clean shutdown is gone: %v", err)
	}
}

// TestExportRefusesAnOpenTransaction: on the other side nobody could end it.
func TestExportRefusesAnOpenTransaction(t *testing.T) {
	dir, id := t.TempDir(), [16]byte{9}
	b, p := openMoved(t, dir, "boot")
	pid, err := b.InitProducerID("x", time.Minute, broker.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddPartitionsToTxn("x", pid, []record.TopicPartition{p.TopicPartition()}); err != nil {
		t.Fatal(err)
	}
	produceOne(t, p, func(bld *record.Builder) {
		bld.SetProducer(pid.ID, pid.Epoch, 0)
		bld.SetTransactional(true)
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	kafka := stoppedKafka(t, id)
	var open *segment.OpenTransactionError
	if _, err := broker.Export(vfs.OS(), dir, kafka, broker.Move{Topic: "t", ID: id}); !errors.As(err, &open) || open.ProducerID != pid.ID {
		t.Errorf("export: %v, expected an OpenTransactionError of producer %d", err, pid.ID)
	}
	names, err := os.ReadDir(kafka)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 5 {
		t.Errorf("after the refusal Kafka's directory holds %v, expected what was there", names)
	}
}
