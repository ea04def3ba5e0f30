package clients

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// steps are transactions of records, some committed and some aborted.
func steps(partitions int) (all []step, committed []record) {
	for i, commit := range []bool{true, false, true, true, false, false, true} {
		records := someRecords(partitions, 11+i)
		for j := range records {
			records[j].Headers = append(records[j].Headers, header{"step", []byte{byte(i)}})
		}
		all = append(all, step{Records: records, Commit: commit})
		if commit {
			committed = append(committed, records...)
		}
	}
	return all, committed
}

// unplaced drops the offsets, which markers and aborted records interrupt.
func unplaced(records []record) []record {
	out := make([]record, len(records))
	for i, r := range inOrder(records) {
		out[i] = r
		out[i].Offset = 0
	}
	return out
}

func byPartition(records []record) []record {
	out := placed(records)
	for i := range out {
		out[i].Offset = 0
	}
	return out
}

func TestIntegrationReadersSeeCommittedTransactionsOnly(t *testing.T) {
	each(t, func(l library) bool { return l.txn }, func(t *testing.T, l library, c client) {
		topic, f := create(t, 3, nil), startFranzGo(t, target(t))
		all, committed := steps(3)
		offsets, err := c.transact(transactArgs{TxID: name(t, "tx"), Topic: topic, Steps: all})
		if err != nil {
			t.Fatal(err)
		}
		var sent []record
		for _, s := range all {
			sent = append(sent, s.Records...)
		}
		for i := range sent {
			sent[i].Offset = offsets[i]
		}
		got, err := f.read(readArgs{Topic: topic, Isolation: "read_uncommitted"})
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, l, "read uncommitted by franz-go", inOrder(got), inOrder(sent))
		for by, reader := range map[string]client{"franz-go": f, l.name: c} {
			if got, err = reader.read(readArgs{Topic: topic, Isolation: "read_committed"}); err != nil {
				t.Fatal(err)
			}
			sameRecords(t, l, "read committed by "+by, unplaced(got), byPartition(committed))
		}
	})
}

func TestIntegrationRelaysCopyExactlyOnce(t *testing.T) {
	each(t, func(l library) bool { return l.txn }, func(t *testing.T, l library, c client) {
		from, to, f := create(t, 3, nil), create(t, 3, nil), startFranzGo(t, target(t))
		group, in := name(t, "group"), someRecords(3, 100)
		if _, err := f.produce(produceArgs{Topic: from, Codec: "lz4", Acks: "all", Idempotent: true, Records: in}); err != nil {
			t.Fatal(err)
		}
		d, err := c.relay(relayArgs{TxID: name(t, "tx"), Group: group, From: from, To: to, Batch: 25, AbortEvery: 4, Until: len(in)})
		if err != nil {
			t.Fatal(err)
		}
		if d.Copied != len(in) || d.Aborted == 0 {
			t.Errorf("the client says %+v, want %d copied and some aborted", d, len(in))
		}
		got, err := f.read(readArgs{Topic: to, Isolation: "read_committed"})
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, l, "the copy", unplaced(got), byPartition(in))
		want, committed := map[string]int64{}, map[string]int64{}
		for p := range 3 {
			want[fmt.Sprintf("%s-%d", from, p)] = 100
		}
		if err := c.admin("committed", adminArgs{Group: group, Topic: from}, &committed); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(committed, want) {
			t.Errorf("committed offsets %v, want %v", committed, want)
		}
	})
}

// Of two producers with one transactional id the younger goes on; the older is
// told that it was fenced, and nothing of its transaction shows.
func TestIntegrationTheOlderOfTwoProducersWithOneIDIsFenced(t *testing.T) {
	each(t, func(l library) bool { return l.txn }, func(t *testing.T, l library, c client) {
		topic, f := create(t, 3, nil), startFranzGo(t, target(t))
		all, _ := steps(3)
		old, young, after := all[0].Records, all[2].Records, all[3].Records
		id := name(t, "tx")
		heard, err := c.fence(transactArgs{TxID: id, Topic: topic, Steps: []step{{Records: old}, {Records: young}}})
		if err != nil {
			t.Fatal(err)
		}
		if heard == "" {
			t.Error("the older producer committed after the younger had begun")
		}
		t.Logf("the older hears %q", heard)
		if _, err := c.transact(transactArgs{TxID: id, Topic: topic, Steps: []step{{Records: after, Commit: true}}}); err != nil {
			t.Fatal(err)
		}
		got, err := f.read(readArgs{Topic: topic, Isolation: "read_committed"})
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, l, "read committed", unplaced(got), byPartition(append(slices.Clone(young), after...)))
	})
}
