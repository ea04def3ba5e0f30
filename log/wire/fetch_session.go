package wire

import (
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// Fetch sessions (KIP-227): a client tells once which partitions it reads, and
// then only what changed; it is answered only what changed.
//
//	session id, epoch    the request is
//	0, -1                whole, without a session (and always before version 7)
//	0, 0                 whole, and a session is wanted
//	n, 0                 whole; session n ends, another is wanted
//	n, -1                whole; session n ends
//	n, e > 0             what changed in session n, the e-th request of it

const (
	// fetchIdle is how long a session must have been unused to give way to
	// another (min.incremental.fetch.session.eviction.ms).
	fetchIdle = 2 * time.Minute
	// maxSessionPartitions bounds the partitions of all sessions together.
	maxSessionPartitions = 500_000
)

// fetchSession is what the server remembers of one.
//
// Invariant: index[parts[i].fetchKey] == i for every i, and nothing else is in index.
type fetchSession struct {
	id    int32
	byIDs bool // names topics by id

	mu    sync.Mutex // guards what follows
	epoch int32      // of the next request
	parts []fetchPart
	index map[fetchKey]int
	first int // where the next look begins, so that every partition gets its turn
}

// fetchSessions is the bounded cache of sessions.
type fetchSessions struct {
	max int
	now func() time.Time

	mu         sync.Mutex // guards what follows; never held together with a session's
	sessions   map[int32]*fetchSlot
	partitions int
}

type fetchSlot struct {
	s     *fetchSession
	used  time.Time
	parts int
}

func newFetchSessions(max int, now func() time.Time) *fetchSessions {
	return &fetchSessions{max: max, now: now, sessions: map[int32]*fetchSlot{}}
}

// find gives a session and marks it as used.
func (c *fetchSessions) find(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slot := c.sessions[id]; slot != nil {
		slot.used = c.now()
		return slot.s
	}
	return nil
}

func (c *fetchSessions) remove(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(id)
}

func (c *fetchSessions) drop(id int32) {
	if slot := c.sessions[id]; slot != nil {
		c.partitions -= slot.parts
		delete(c.sessions, id)
	}
}

// create makes a session of parts; nil where there is no room for it.
func (c *fetchSessions) create(byIDs bool, parts []fetchPart) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= c.max {
		c.evict()
	}
	if len(c.sessions) >= c.max || c.partitions+len(parts) > maxSessionPartitions {
		return nil
	}
	s := &fetchSession{byIDs: byIDs, epoch: 1, index: make(map[fetchKey]int, len(parts))}
	for s.id == 0 || c.sessions[s.id] != nil {
		s.id = 1 + rand.Int32N(math.MaxInt32)
	}
	for i := range parts {
		s.set(&parts[i])
	}
	c.sessions[s.id] = &fetchSlot{s: s, used: c.now(), parts: len(s.parts)}
	c.partitions += len(s.parts)
	return s
}

// evict drops the session that was unused for the longest, if that is long enough.
func (c *fetchSessions) evict() {
	oldest := c.now().Add(-fetchIdle)
	victim := int32(0)
	for id, slot := range c.sessions {
		if !slot.used.After(oldest) {
			oldest, victim = slot.used, id
		}
	}
	c.drop(victim)
}

// resized notes how many partitions a session has now; false if that is too much.
func (c *fetchSessions) resized(s *fetchSession, n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := c.sessions[s.id]
	if slot == nil {
		return false
	}
	c.partitions += n - slot.parts
	slot.parts = n
	if c.partitions > maxSessionPartitions {
		c.drop(s.id)
		return false
	}
	return true
}

// set adds a partition or puts what is asked of it anew. It keeps the strings.
func (s *fetchSession) set(in *fetchPart) {
	if i, ok := s.index[in.fetchKey]; ok {
		p := &s.parts[i]
		p.offset, p.max, p.epoch, p.lastEpoch = in.offset, in.max, in.epoch, in.lastEpoch
		return
	}
	part := *in
	part.toldEnd, part.toldStart = record.NoOffset, record.NoOffset
	s.index[part.fetchKey] = len(s.parts)
	s.parts = append(s.parts, part)
}

// forget removes a partition; the last one takes its place.
func (s *fetchSession) forget(key fetchKey) {
	i, ok := s.index[key]
	if !ok {
		return
	}
	delete(s.index, key)
	last := len(s.parts) - 1
	if i != last {
		s.parts[i] = s.parts[last]
		s.index[s.parts[i].fetchKey] = i
	}
	s.parts[last] = fetchPart{}
	s.parts = s.parts[:last]
}

// told notes what the client hears with this answer. An error is told again
// next time, so it counts as if nothing had been told.
func (s *fetchSession) told(a *fetchAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range a.found {
		f := &a.found[i]
		at, ok := s.index[f.key]
		if !ok {
			continue
		}
		s.parts[at].toldEnd, s.parts[at].toldStart = f.got.End, f.got.Start
	}
	if a.next > 0 {
		s.first = a.next
	}
}

// begin finds the partitions that the request is about: its own, or those of its session.
func (f *fetch) begin() int16 {
	id, epoch := f.req.SessionID, f.req.SessionEpoch
	if f.req.Version < 7 {
		id, epoch = 0, -1
	}
	if epoch > 0 {
		return f.resume(id, epoch)
	}
	if id != 0 {
		f.s.fetches.remove(id)
	}
	f.wants = epoch == 0 && f.nameable()
	f.parts = f.asked(f.ans.parts[:0], f.wants)
	f.ans.parts = f.parts
	return codeNone
}

// open makes the session that the request wants, where there is room. It is told
// with an answer that names every partition.
func (f *fetch) open() {
	if !f.wants {
		return
	}
	if f.sess = f.s.fetches.create(f.req.Version >= 13, f.parts); f.sess != nil {
		f.ans.SessionID = f.sess.id
	}
}

// nameable: the topics have names that a topic can have. Others are not kept.
func (f *fetch) nameable() bool {
	for i := range f.req.Topics {
		if len(f.req.Topics[i].Topic) > broker.MaxTopicName {
			return false
		}
	}
	return true
}

// resume applies the changes of an incremental request.
func (f *fetch) resume(id, epoch int32) int16 {
	s := f.s.fetches.find(id)
	if s == nil {
		return codeFetchSessionIDNotFound
	}
	s.mu.Lock()
	switch {
	case s.byIDs != (f.req.Version >= 13):
		s.mu.Unlock()
		return codeFetchSessionTopicIDError
	case s.epoch != epoch:
		s.mu.Unlock()
		return codeInvalidFetchSessionEpoch
	case !f.nameable():
		s.mu.Unlock()
		f.s.fetches.remove(id)
		return codeFetchSessionIDNotFound
	}
	s.epoch = nextEpoch(epoch)
	parts := f.asked(f.ans.parts[:0], true)
	f.ans.parts = parts
	for i := range parts {
		s.set(&parts[i])
	}
	for i := range f.req.ForgottenTopics {
		t := &f.req.ForgottenTopics[i]
		for _, n := range t.Partitions {
			s.forget(f.key(t.Topic, t.TopicID, n))
		}
	}
	n := len(s.parts)
	s.mu.Unlock()
	if !f.s.fetches.resized(s, n) {
		return codeFetchSessionIDNotFound
	}
	f.sess, f.changes, f.ans.SessionID = s, true, id
	return codeNone
}

// nextEpoch counts 1 to the greatest int32, and then from 1 again.
func nextEpoch(e int32) int32 {
	if e == math.MaxInt32 {
		return 1
	}
	return e + 1
}

func (f *fetch) key(topic string, id [16]byte, n int32) fetchKey {
	if f.req.Version >= 13 {
		return fetchKey{id: id, n: n}
	}
	return fetchKey{topic: topic, n: n}
}

// asked appends the partitions of the request. keep clones their topics' names,
// which lie in the request's frame, once for all partitions of a topic.
func (f *fetch) asked(dst []fetchPart, keep bool) []fetchPart {
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		if keep {
			t.Topic = strings.Clone(t.Topic)
		}
		for j := range t.Partitions {
			dst = append(dst, f.part(t, &t.Partitions[j]))
		}
	}
	return dst
}

func (f *fetch) part(t *kmsg.FetchRequestTopic, p *kmsg.FetchRequestTopicPartition) fetchPart {
	part := fetchPart{
		fetchKey: f.key(t.Topic, t.TopicID, p.Partition), name: t.Topic,
		offset: record.Offset(p.FetchOffset), max: p.PartitionMaxBytes,
		epoch: record.NoLeaderEpoch, lastEpoch: record.NoLeaderEpoch,
	}
	if f.req.Version >= 9 {
		part.epoch = record.LeaderEpoch(p.CurrentLeaderEpoch)
	}
	if f.req.Version >= 12 {
		part.lastEpoch = record.LeaderEpoch(p.LastFetchedEpoch)
	}
	return part
}
