package group

import (
	"fmt"
	"testing"
)

func TestRangeGivesRunsAndCoversEverything(t *testing.T) {
	members := []JoinedMember{
		{ID: "c", Metadata: Subscription([]string{"a", "b"})},
		{ID: "a", Metadata: Subscription([]string{"a"})},
		{ID: "b", Metadata: Subscription([]string{"a", "b", "missing"})},
	}
	got, err := AssignRange(members, func(topic string) int32 { return map[string]int32{"a": 7, "b": 1}[topic] })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a": "[{a 0} {a 1} {a 2}]",
		"b": "[{a 3} {a 4} {b 0}]",
		"c": "[{a 5} {a 6}]",
	}
	for id, w := range want {
		tps, err := DecodeAssignment(got[id])
		if err != nil || fmt.Sprint(tps) != w {
			t.Errorf("member %s: expected %s, found %v (%v)", id, w, tps, err)
		}
	}
}
