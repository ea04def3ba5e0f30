package group

import (
	"testing"

	"github.com/millstream-io/millstream/log/record"
)

// FuzzReplay: no record breaks the core, whatever its bytes, and what was taken
// can be described and folded on.
func FuzzReplay(f *testing.F) {
	m := newConsumerMember("m")
	m.topics, m.regex, m.instance, m.rack = []string{"a", "b"}, "a.*", "i", "r"
	m.classic = &classicMember{1000, []Protocol{{"range", []byte{1, 2}}}}
	m.assigned = hold(Assignment{TopicID{1}: {0, 1}}, 3)
	m.pending = hold(Assignment{TopicID{2}: {5}}, 2)
	tp := record.TopicPartition{Topic: "a", Partition: 1}
	k := newClassic()
	k.protocolType, k.members["x"] = ConsumerProtocol, &member{id: "x", protocols: []Protocol{{"range", Subscription([]string{"a"})}}}
	k.protocol, k.leader = "range", "x"
	for _, r := range []Record{
		memberRecord("g", m), currentRecord("g", m), targetRecord("g", "m", m.assigned.assignment()), targetEpochRecord("g", 4, 5),
		epochRecord("g", 7, -1), regexRecord("g", "a.*", resolved{topics: []string{"a"}, version: 1, at: 2}), k.record("g", nil),
		offsetRecord("g", tp, Committed{Offset: 5, Metadata: "m", CommitMS: 1, Topic: TopicID{1}}), offsetRecord("g", tp, Committed{Offset: 5, ExpireMS: 9}),
		{Key: groupedKey(metadataKeyVersion, "g"), Value: []byte{0, 0}},
	} {
		f.Add(r.Key, r.Value, false)
		f.Add(r.Key, []byte(nil), true)
	}
	f.Fuzz(func(t *testing.T, key, value []byte, tombstone bool) {
		if tombstone {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		c := New(Config{})
		for range 2 {
			_ = c.Replay(key, value, 1, record.NoProducerID)
			_ = c.Replay(memberKey(currentKeyVersion, "g", "m"), nil, 2, record.NoProducerID)
		}
		c.Loaded(1)
		for _, name := range c.Names() {
			c.Describe(name)
		}
		for range 10 {
			st, more := c.Tick(1 << 40)
			if !more {
				break
			}
			c.Done(st, 5, nil)
		}
	})
}
