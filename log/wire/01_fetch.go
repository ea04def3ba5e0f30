package wire

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// Fetch: versions 4 to 18. v4 isolation levels with the aborted transactions, v5
// log start, v7 sessions (KIP-227), v9 leader epochs (KIP-320), v11 rack, v12
// diverging epochs (KIP-595), v13 topic ids (KIP-516), v16 endpoints (KIP-951).
// What v15, v17 and v18 added is between brokers.
//
// Records are not read: a partition's answer is a range of its segment's file,
// and the socket gets it by sendfile (fetch_answer.go).

const (
	// maxRanges bounds the files that one answer keeps open while a slow client
	// takes it; what is left over comes with the next fetch.
	maxRanges = 128
	// readCommitted is the isolation level; 0 is read_uncommitted.
	readCommitted = 1
)

// fetchPart is one partition that is asked for, in a request or in a session.
type fetchPart struct {
	fetchKey
	name      string // of the topic; "" while an id is unknown
	p         *broker.Partition
	offset    record.Offset
	max       int32 // bytes
	epoch     record.LeaderEpoch
	lastEpoch record.LeaderEpoch

	// What the last look saw, so that a long poll knows whether to look again.
	appended int64
	stable   record.Offset
	// What the session's client was told last.
	toldEnd, toldStart record.Offset
}

// fetchKey names a partition in a session: by topic id from version 13 on, by name before.
type fetchKey struct {
	id    [16]byte
	topic string
	n     int32
}

// fetchFound is the answer for one partition.
type fetchFound struct {
	key           fetchKey
	code          int16
	got           broker.Fetched
	divergent     bool
	divergedEpoch record.LeaderEpoch
	divergedEnd   record.Offset
	leader        record.LeaderEpoch // told with an error that sends the client away; NoLeaderEpoch otherwise
}

// fetch is one request while it is handled.
type fetch struct {
	s         *Server
	r         *request
	req       *kmsg.FetchRequest
	parts     []fetchPart
	sess      *fetchSession // nil without
	wants     bool          // a session
	changes   bool          // only what changed is answered
	committed bool
	maxBytes  int
	minBytes  int
	ans       *fetchAnswer

	bytes  int  // found
	urgent bool // an error is to be told at once
}

func handleFetch(ctx context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.FetchRequest)
	f := &fetch{s: s, r: r, req: req, committed: req.IsolationLevel == readCommitted, ans: newFetchAnswer(req.Version)}
	f.ans.committed = f.committed
	answered := false
	defer func() {
		if !answered { // a panic
			f.ans.release()
		}
	}()
	f.maxBytes = int(min(max(req.MaxBytes, 0), s.cfg.MaxFetchBytes))
	f.minBytes = min(int(max(req.MinBytes, 0)), f.maxBytes)
	if c := f.begin(); c != codeNone {
		f.ans.ErrorCode = c
		r.errors++
		answered = true
		return f.ans, nil
	}
	debt, most := r.fetchDebt(int32(f.maxBytes))
	f.maxBytes, f.minBytes = int(most), min(f.minBytes, int(most))
	if debt == 0 {
		f.open()
		f.look()
		if wait := f.patience(); wait > 0 && !f.enough() {
			f.await(ctx, wait)
		}
	}
	f.end()
	answered = true
	return f.ans, nil
}

// patience is how long the client lets the answer wait.
func (f *fetch) patience() time.Duration {
	if len(f.parts) == 0 && f.sess == nil {
		return 0
	}
	return min(time.Duration(max(f.req.MaxWaitMillis, 0))*time.Millisecond, f.s.cfg.IdleTimeout)
}

func (f *fetch) enough() bool { return f.urgent || f.bytes >= f.minBytes }

// look asks every partition. What an earlier look found is given back.
func (f *fetch) look() {
	f.ans.release()
	f.bytes, f.urgent = 0, false
	if f.sess != nil {
		f.sess.mu.Lock()
		defer f.sess.mu.Unlock()
		f.parts = f.sess.parts
	}
	last, n := -1, len(f.parts)
	from := 0
	if f.sess != nil && n > 0 {
		from = f.sess.first % n
	}
	for i := range n {
		at := from + i
		if at >= n {
			at -= n
		}
		part := &f.parts[at]
		found := f.one(part)
		if size := found.got.Len(); size > 0 {
			f.bytes += int(size)
			f.ans.ranges++
			last = at
		}
		if found.code != codeNone || found.divergent {
			f.urgent = true
		}
		if f.tells(part, &found) {
			f.ans.found = append(f.ans.found, found)
		}
	}
	if f.sess != nil && last >= 0 {
		f.ans.next = last + 1
	}
}

// tells says whether the answer must name the partition: always, but in an
// incremental fetch only if something changed (KIP-227).
func (f *fetch) tells(part *fetchPart, found *fetchFound) bool {
	return !f.changes || found.code != codeNone || found.divergent || found.got.Len() > 0 ||
		found.got.End != part.toldEnd || found.got.Start != part.toldStart
}

// one asks one partition.
func (f *fetch) one(part *fetchPart) fetchFound {
	found := fetchFound{key: part.fetchKey, leader: record.NoLeaderEpoch}
	found.got.Start, found.got.End, found.got.Stable = record.NoOffset, record.NoOffset, record.NoOffset
	if found.code = f.resolve(part); found.code != codeNone {
		return found
	}
	var err error
	if part.epoch >= 0 {
		switch current := part.p.Epoch(); {
		case part.epoch < current:
			found.code, found.leader = codeFencedLeaderEpoch, current
			return found
		case part.epoch > current:
			found.code = codeUnknownLeaderEpoch
			return found
		}
	}
	if part.lastEpoch >= 0 && f.diverges(part, &found) {
		return found
	}
	opt := broker.FetchOptions{
		MaxBytes: min(int(max(part.max, 0)), f.maxBytes-f.bytes), Committed: f.committed,
		AtLeastOne: f.bytes == 0 && f.maxBytes > 0,
	}
	if f.ans.ranges >= maxRanges {
		opt.MaxBytes = 0
	}
	found.got, err = part.p.Fetch(part.offset, opt)
	if err != nil {
		found.code = code(err)
		found.got.Start, found.got.End, found.got.Stable = record.NoOffset, record.NoOffset, record.NoOffset
		if found.code == codeNotLeaderForPartition {
			found.leader = part.p.Epoch()
		}
		return found
	}
	part.stable = found.got.Stable
	return found
}

// resolve finds the partition that part names, and notes how much it has.
func (f *fetch) resolve(part *fetchPart) int16 {
	if part.p != nil {
		var ok bool
		if part.appended, ok = part.p.Appended(); ok {
			if !f.r.may(acl.OpRead, acl.TypeTopic, part.name) {
				return forbidden(acl.TypeTopic)
			}
			return codeNone
		}
	}
	view, ok := f.s.b.TopicView(part.topic)
	if f.req.Version >= 13 {
		if view, ok = f.s.b.TopicViewByID(part.id); !ok {
			part.p = nil
			return codeUnknownTopicID
		}
		part.name = view.Name
	}
	if !f.r.may(acl.OpRead, acl.TypeTopic, part.name) {
		return forbidden(acl.TypeTopic)
	}
	var err error
	if part.p, err = view.Partition(record.Partition(part.n)); err != nil || !ok {
		part.p = nil
		return codeUnknownTopicOrPartition
	}
	part.appended, _ = part.p.Appended()
	return codeNone
}

// diverges compares the client's last record with the log (KIP-595): was it cut?
func (f *fetch) diverges(part *fetchPart, found *fetchFound) bool {
	epoch, end := part.p.EndOfEpoch(part.lastEpoch)
	o := part.p.Offsets()
	switch {
	case epoch == record.NoLeaderEpoch || part.offset < o.Start:
		found.code = codeOffsetOutOfRange
	case epoch < part.lastEpoch || end < part.offset:
		found.divergent, found.divergedEpoch, found.divergedEnd = true, epoch, end
		found.got.Start, found.got.End, found.got.Stable = o.Start, o.End, o.Stable
	default:
		return false
	}
	return true
}

// await sleeps until enough has come, an append at a time, or the time is over.
func (f *fetch) await(ctx context.Context, wait time.Duration) {
	defer f.r.waiting()()
	f.ans.release() // nothing stays open meanwhile
	w := f.s.b.NewWaiter()
	defer w.Close()
	for i := range f.parts {
		if p := f.parts[i].p; p != nil {
			w.Watch(p, f.committed)
		}
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-w.C():
			if !f.promising() {
				continue
			}
			if f.look(); f.enough() {
				return
			}
			f.ans.release()
		case <-t.C:
			f.look()
			return
		case <-ctx.Done():
			f.look()
			return
		}
	}
}

// promising says cheaply whether another look may find enough.
func (f *fetch) promising() bool {
	if f.sess != nil {
		f.sess.mu.Lock()
		defer f.sess.mu.Unlock()
		f.parts = f.sess.parts
	}
	have := int64(f.bytes)
	for i := range f.parts {
		part := &f.parts[i]
		if part.p == nil {
			continue
		}
		n, ok := part.p.Appended()
		if !ok || n < part.appended || f.committed && part.p.Offsets().Stable != part.stable {
			return true
		}
		have += n - part.appended
	}
	return have >= int64(f.minBytes)
}

// end notes what the session's client is told now, and counts.
func (f *fetch) end() {
	for i := range f.ans.found {
		if f.ans.found[i].code != codeNone {
			f.r.errors++
		}
	}
	f.r.fetched = int64(f.bytes)
	if f.sess != nil {
		f.sess.told(f.ans)
	}
	f.endpoints()
}

// endpoints tells clients that are sent away where the leader is (KIP-951).
func (f *fetch) endpoints() {
	if f.req.Version < 16 {
		return
	}
	for i := range f.ans.found {
		if f.ans.found[i].leader != record.NoLeaderEpoch {
			b := kmsg.NewFetchResponseBroker()
			b.NodeID = f.s.b.NodeID()
			b.Host, b.Port = f.r.conn.advertised()
			f.ans.Brokers = append(f.ans.Brokers, b)
			return
		}
	}
}
