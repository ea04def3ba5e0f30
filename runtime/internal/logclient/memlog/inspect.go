package memlog

import (
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// Produce appends records outside of any transaction, as one batch each call;
// it returns the offset of the first. It panics if the partition is missing:
// it is for loading the input of a test.
func (l *Log) Produce(tp record.TopicPartition, records ...record.View) record.Offset {
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partition(tp)
	if p == nil {
		panic(unknown(tp))
	}
	kept, bytes := make([]stored, 0, len(records)), 0
	for i := range records {
		r, size := keep(&records[i])
		kept, bytes = append(kept, r), bytes+size
	}
	base := p.end
	if len(kept) > 0 {
		p.append(kept, bytes, record.NoProducerID, committed)
		s.wakeAll()
	}
	return base
}

// Records copies all records of a partition that a read_committed reader may
// see, from the start on. It panics if the partition is missing.
func (l *Log) Records(tp record.TopicPartition) []record.View {
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partition(tp)
	if p == nil {
		panic(unknown(tp))
	}
	var views []record.View
	p.eachDecided(p.stable(), func(b *batch, r *stored) {
		if b.fate != committed || r.offset < p.start {
			return
		}
		v := record.View{Offset: r.offset, Timestamp: r.timestamp, Key: r.key, Value: r.value, Headers: r.headers}
		c, _ := keep(&v)
		views = append(views, record.View{Offset: r.offset, Timestamp: c.timestamp, Key: c.key, Value: c.value, Headers: c.headers})
	})
	return views
}

// Positions copies what a group has committed.
func (l *Log) Positions(groupName string) logclient.Positions {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	copied := logclient.Positions{}
	for tp, p := range l.srv.group(groupName).positions {
		copied[tp] = p
	}
	return copied
}

// Configs are the settings that a topic was made with; nil if it is missing.
func (l *Log) Configs(topic string) map[string]string {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	t := l.srv.topics[topic]
	if t == nil {
		return nil
	}
	copied := map[string]string{}
	for k, v := range t.configs {
		copied[k] = v
	}
	return copied
}

// Compact keeps the last committed record of each key below the last stable
// offset; with dropTombstones also tombstones go, but those at or above Hold.
// It returns how many records went.
func (l *Log) Compact(tp record.TopicPartition, dropTombstones bool) int {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	if p := l.srv.partition(tp); p != nil {
		return p.compact(dropTombstones)
	}
	return 0
}
