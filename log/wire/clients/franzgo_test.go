package clients

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franzGo is the client franz-go, in this process.
type franzGo struct {
	broker  string
	mu      sync.Mutex
	running map[string]*franzMember
}

func startFranzGo(_ testing.TB, broker string) client {
	return &franzGo{broker: broker, running: map[string]*franzMember{}}
}

func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func (f *franzGo) open(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(f.broker), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (f *franzGo) produce(a produceArgs) ([]int64, error) {
	opts := []kgo.Opt{kgo.ProducerBatchCompression(franzCodecs[a.Codec]), kgo.RequiredAcks(map[string]kgo.Acks{
		"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks(),
	}[a.Acks])}
	if !a.Idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	cl, err := f.open(opts...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return franzSend(cl, a.Topic, a.Records)
}

func franzSend(cl *kgo.Client, topic string, records []record) ([]int64, error) {
	ctx, cancel := soon()
	defer cancel()
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		out[i] = &kgo.Record{Topic: topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Time), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	if err := cl.ProduceSync(ctx, out...).FirstErr(); err != nil {
		return nil, err
	}
	offsets := make([]int64, len(out))
	for i, r := range out {
		offsets[i] = r.Offset
	}
	return offsets, nil
}

func franzDecode(r *kgo.Record) record {
	d := record{Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value, Headers: []header{}}
	for _, h := range r.Headers {
		d.Headers = append(d.Headers, header{h.Key, h.Value})
	}
	return d
}

func (f *franzGo) read(a readArgs) ([]record, error) {
	var all []record
	err := f.readEach(a, func(r *kgo.Record) { all = append(all, franzDecode(r)) })
	return all, err
}

// readEach reads to the end that the isolation has. Control records tell that a
// partition's end is reached where its last record is a marker.
func (f *franzGo) readEach(a readArgs, see func(*kgo.Record)) error {
	level := kgo.ReadUncommitted()
	list := (*kadm.Client).ListEndOffsets
	if a.Isolation == "read_committed" {
		level, list = kgo.ReadCommitted(), (*kadm.Client).ListCommittedOffsets
	}
	cl, err := f.open(kgo.ConsumeTopics(a.Topic), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(), kgo.FetchMaxWait(300*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := soon()
	defer cancel()
	ends, err := list(kadm.NewClient(cl), ctx, a.Topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	starts, err := kadm.NewClient(cl).ListStartOffsets(ctx, a.Topic)
	if err != nil {
		return err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if start, _ := starts.Lookup(o.Topic, o.Partition); o.Offset > start.Offset {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("partitions with their ends not read: %v: %w", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, ok := left[r.Partition]
			if !ok || r.Offset >= end {
				return
			}
			if !r.Attrs.IsControl() {
				see(r)
			}
			if r.Offset == end-1 {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

func (f *franzGo) transact(a transactArgs) ([]int64, error) {
	cl, err := f.open(kgo.TransactionalID(a.TxID))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := soon()
	defer cancel()
	var all []int64
	for _, s := range a.Steps {
		if err := cl.BeginTransaction(); err != nil {
			return nil, err
		}
		offsets, err := franzSend(cl, a.Topic, s.Records)
		if err != nil {
			return nil, err
		}
		all = append(all, offsets...)
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(s.Commit)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (f *franzGo) fence(a transactArgs) (string, error) {
	ctx, cancel := soon()
	defer cancel()
	var cls [2]*kgo.Client
	for i := range cls {
		cl, err := f.open(kgo.TransactionalID(a.TxID))
		if err != nil {
			return "", err
		}
		defer cl.Close()
		if err := cl.BeginTransaction(); err != nil {
			return "", err
		}
		if _, err := franzSend(cl, a.Topic, a.Steps[i].Records); err != nil {
			return "", err
		}
		cls[i] = cl
	}
	if err := cls[1].EndTransaction(ctx, kgo.TryCommit); err != nil {
		return "", err
	}
	if err := cls[0].EndTransaction(ctx, kgo.TryCommit); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

func (f *franzGo) relay(a relayArgs) (relayed, error) {
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(f.broker), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID(a.TxID), kgo.ConsumerGroup(a.Group), kgo.ConsumeTopics(a.From), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(300*time.Millisecond))
	if err != nil {
		return relayed{}, err
	}
	defer s.Close()
	ctx, cancel := soon()
	defer cancel()
	var d relayed
	for n := 1; d.Copied < a.Until; n++ {
		fetches := s.PollRecords(ctx, a.Batch)
		if err := fetches.Err(); err != nil {
			return d, err
		}
		if err := s.Begin(); err != nil {
			return d, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			s.Produce(ctx, &kgo.Record{Topic: a.To, Partition: r.Partition, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers}, nil)
		})
		committed, err := s.End(ctx, kgo.TransactionEndTry(n%a.AbortEvery != 0))
		switch {
		case err != nil:
			return d, err
		case committed:
			d.Copied += fetches.NumRecords()
		default:
			d.Aborted++
		}
	}
	return d, nil
}

// franzMember is a member of a group that commits what it has seen after each poll.
type franzMember struct {
	cl   *kgo.Client
	stop context.CancelFunc
	done chan struct{}

	mu       sync.Mutex
	assigned map[string]bool
	seen     []record
	revoked  int
	fault    error
}

func (f *franzGo) join(a joinArgs) error {
	m := &franzMember{done: make(chan struct{}), assigned: map[string]bool{}}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	opts := []kgo.Opt{
		kgo.ConsumerGroup(a.Group), kgo.ConsumeTopics(a.Topics...), kgo.ClientID(a.Member), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(300 * time.Millisecond),
		kgo.HeartbeatInterval(300 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
		kgo.OnPartitionsAssigned(m.onAssigned), kgo.OnPartitionsRevoked(m.onRevoked), kgo.OnPartitionsLost(m.onRevoked),
	}
	switch a.Protocol {
	case "eager":
		opts = append(opts, kgo.Balancers(kgo.RangeBalancer()))
	case "cooperative":
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	case "consumer":
		opts = append(opts, kgo.ServerSideBalancer())
	}
	if a.Instance != "" {
		opts = append(opts, kgo.InstanceID(a.Instance))
	}
	var err error
	if m.cl, err = f.open(opts...); err != nil {
		return err
	}
	f.mu.Lock()
	f.running[a.Member] = m
	f.mu.Unlock()
	go m.run(ctx)
	return nil
}

func (m *franzMember) run(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		fetches := m.cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			m.mu.Lock()
			m.fault = err
			m.mu.Unlock()
			return
		}
		if fetches.Empty() {
			continue
		}
		err := m.cl.CommitRecords(context.Background(), fetches.Records()...)
		m.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) { m.seen = append(m.seen, franzDecode(r)) })
		m.fault = errors.Join(m.fault, err)
		m.mu.Unlock()
	}
}

func (m *franzMember) onAssigned(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, ps := range parts {
		for _, p := range ps {
			m.assigned[fmt.Sprintf("%s-%d", topic, p)] = true
		}
	}
}

func (m *franzMember) onRevoked(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, ps := range parts {
		for _, p := range ps {
			delete(m.assigned, fmt.Sprintf("%s-%d", topic, p))
			m.revoked++
		}
	}
}

func (f *franzGo) members() (map[string]memberState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]memberState{}
	for name, m := range f.running {
		m.mu.Lock()
		s := memberState{Seen: len(m.seen), Revoked: m.revoked}
		for p := range m.assigned {
			s.Assigned = append(s.Assigned, p)
		}
		if m.fault != nil {
			s.Fault = m.fault.Error()
		}
		m.mu.Unlock()
		slices.Sort(s.Assigned)
		all[name] = s
	}
	return all, nil
}

func (f *franzGo) leave(member string) ([]record, error) {
	f.mu.Lock()
	m := f.running[member]
	delete(f.running, member)
	f.mu.Unlock()
	m.stop()
	<-m.done
	m.cl.Close() // leaves the group, unless the member is static
	return m.seen, m.fault
}
