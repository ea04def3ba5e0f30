package streamstest

import (
	"fmt"
	"reflect"
	"strings"
)

// Pair is a key and a value: what Expect compares.
type Pair[K, V any] struct {
	Key   K
	Value V
}

// KV makes a Pair.
func KV[K, V any](key K, value V) Pair[K, V] { return Pair[K, V]{key, value} }

// Expect reads everything that was not read yet and fails the test unless it is
// exactly these records. Records of one key must come in this order; how records
// of different keys mix is left open, as it depends on partitions and workers.
func (o *Out[K, V]) Expect(want ...Pair[K, V]) {
	o.w.t.Helper()
	got := o.ReadAll()
	var problems []string
	used := make([]bool, len(got))
	for i, p := range want {
		if j := o.find(got, used, p.Key); j < 0 {
			problems = append(problems, fmt.Sprintf("expected record %d: %v = %v, found no more of this key", i, p.Key, p.Value))
		} else if used[j] = true; got[j].NullValue || !reflect.DeepEqual(got[j].Value, p.Value) {
			problems = append(problems, fmt.Sprintf("expected record %d: %v = %v, found %s", i, p.Key, p.Value, describe(&got[j])))
		}
	}
	for j := range got {
		if !used[j] {
			problems = append(problems, "not expected: "+describe(&got[j]))
		}
	}
	if len(problems) > 0 {
		o.w.fatal("topic %q: expected %d records, found %d:\n  %s", o.topic, len(want), len(got), strings.Join(problems, "\n  "))
	}
}

// find is the first record of a key that is not used yet.
func (o *Out[K, V]) find(got []Record[K, V], used []bool, key K) int {
	for j := range got {
		if !used[j] && !got[j].NullKey && reflect.DeepEqual(got[j].Key, key) {
			return j
		}
	}
	return -1
}

// ExpectNone fails the test if there is a record that was not read yet.
func (o *Out[K, V]) ExpectNone() {
	o.w.t.Helper()
	o.Expect()
}

func describe[K, V any](r *Record[K, V]) string {
	key, value := fmt.Sprint(r.Key), fmt.Sprint(r.Value)
	if r.NullKey {
		key = "(null)"
	}
	if r.NullValue {
		value = "(null, a tombstone)"
	}
	return fmt.Sprintf("%s = %s, time %s, %s-%d offset %d", key, value, r.Time.Format("2006-01-02T15:04:05.000Z07:00"), r.Topic, r.Partition, r.Offset)
}
