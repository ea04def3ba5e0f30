package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// kept is how many records of topic t survive the power cut of cutLog, of how many.
const kept, acknowledged = 4, 10

// cutLog starts a server whose log was cut by a power cut: the first one took ten
// records in topic t, of which four were synced. between runs before the cut,
// with the first server.
func cutLog(t *testing.T, between func(*testServer)) *testServer {
	t.Helper()
	disk := vfs.NewMem()
	old := newTestServer(t, func(b *broker.Config, _ *Config) { b.FS, b.BootID = disk, "before" })
	old.topic("t", 1)
	produce := func(from, to int, acks broker.Acks) {
		for i := from; i < to; i++ {
			if _, err := old.partition("t", 0).Produce(batchOf(t, fmt.Sprint("old", i)), acks); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(0, kept, broker.AcksAll)
	produce(kept, acknowledged, broker.AcksLeader)
	between(old)
	rest := disk.CrashClone(vfs.CrashConfig{})
	addr := old.addr
	old.stop()
	<-old.ended
	ts := newTestServer(t, func(b *broker.Config, c *Config) {
		b.FS, b.BootID = rest, "after"
		c.Listeners[0].Addr = addr // where clients of the first server look for it
	})
	if o := ts.partition("t", 0).Offsets(); o.End != kept {
		t.Fatalf("the log ends at %d after the power cut, expected %d", o.End, kept)
	}
	return ts
}

// A client that read what a power cut then took is told where its epoch ends
// (KIP-595), before and after new records stand where the lost ones stood.
func TestAFetchBehindTheCutIsToldWhereItsEpochEnds(t *testing.T) {
	var oldEpoch record.LeaderEpoch
	ts := cutLog(t, func(old *testServer) { oldEpoch = old.partition("t", 0).Epoch() })
	newEpoch := ts.partition("t", 0).Epoch()
	if newEpoch <= oldEpoch {
		t.Fatalf("epoch %d after the power cut, %d before: it must rise", newEpoch, oldEpoch)
	}
	view, _ := ts.b.TopicView("t")
	c := ts.dial()
	ask := func(v int16, offset int64, last record.LeaderEpoch) kmsg.FetchResponseTopicPartition {
		req := fetchRequest(v, broker.Topic{Name: view.Name, ID: view.ID}, offset)
		p := &req.Topics[0].Partitions[0]
		p.CurrentLeaderEpoch, p.LastFetchedEpoch = int32(newEpoch), int32(last)
		return fetched(t, c.do(req))
	}
	for _, again := range []bool{false, true} {
		if again {
			for i := range 10 {
				ts.produce("t", 0, fmt.Sprint("new", i))
			}
		}
		for v := int16(12); v <= 18; v++ {
			cut := ask(v, acknowledged, oldEpoch)
			if d := cut.DivergingEpoch; cut.ErrorCode != 0 || d.Epoch != int32(oldEpoch) || d.EndOffset != kept || len(cut.RecordBatches) != 0 {
				t.Errorf("version %d, again %v: at %d of epoch %d: %+v, expected that it diverges at %d", v, again, acknowledged, oldEpoch, cut, kept)
			}
			whole := ask(v, kept, oldEpoch)
			if d := whole.DivergingEpoch; whole.ErrorCode != 0 || d.EndOffset != -1 || (len(whole.RecordBatches) > 0) != again {
				t.Errorf("version %d, again %v: at %d of epoch %d: %+v, expected records and nothing that diverges", v, again, kept, oldEpoch, whole)
			}
		}
	}
	if same := ask(18, acknowledged, newEpoch); same.DivergingEpoch.EndOffset != -1 || len(same.RecordBatches) == 0 {
		t.Errorf("a reader of the new epoch: %+v, expected records", same)
	}
}

// In a session the partition is told although nothing was appended.
func TestASessionIsToldOfTheCut(t *testing.T) {
	ts := cutLog(t, func(*testServer) {})
	view, _ := ts.b.TopicView("t")
	c := ts.dial()
	req := fetchRequest(12, broker.Topic{Name: view.Name, ID: view.ID}, kept)
	req.SessionEpoch = 0
	first := c.do(req).(*kmsg.FetchResponse)
	if first.SessionID == 0 {
		t.Fatalf("no session: %+v", first)
	}
	req.SessionID, req.SessionEpoch = first.SessionID, 1
	req.Topics[0].Partitions[0].FetchOffset, req.Topics[0].Partitions[0].LastFetchedEpoch = acknowledged, 0
	for range 2 { // until the client asks from elsewhere
		if got := fetched(t, c.do(req)); got.DivergingEpoch.EndOffset != kept {
			t.Errorf("in a session: %+v, expected that it diverges at %d", got, kept)
		}
		req.SessionEpoch++
		req.Topics = nil
	}
}

// A consumer that goes on across the power cut hears of it and reads what is
// there, none of it twice and nothing left out.
func TestAConsumerFindsTheCutAndGoesOn(t *testing.T) {
	var cl *kgo.Client
	var got []string
	ts := cutLog(t, func(old *testServer) {
		cl = old.kgo(kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond),
			kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(200*time.Millisecond))
		for len(got) < acknowledged {
			fetches := cl.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
	})
	for i := range acknowledged {
		ts.produce("t", 0, fmt.Sprint("new", i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var lost *kgo.ErrDataLoss
	for len(got) < 2*acknowledged {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read only %q", got)
		}
		for _, e := range fetches.Errors() {
			if !errors.As(e.Err, &lost) {
				t.Logf("meanwhile: %v", e.Err)
			}
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if lost == nil || lost.ResetTo != kept {
		t.Errorf("the consumer heard of %+v, expected a loss down to %d", lost, kept)
	}
	var want []string
	for i := range acknowledged {
		want = append(want, fmt.Sprint("old", i))
	}
	for i := range acknowledged {
		want = append(want, fmt.Sprint("new", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("read %q\nexpected %q", got, want)
	}
}
