package task

import (
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// What was dealt out and not processed, or left out for want of room, is what a
// restart begins with.
func TestAMergeCommitsTheLeastOffsetThatIsNotProcessed(t *testing.T) {
	in := &input{read: 100, upstream: make([]UpstreamTime, 3), lanes: make([]lane, 3)}
	for i := range in.upstream {
		in.upstream[i].Task = plan.TaskID{Partition: int32(i)}
	}
	in.lanes[0].push(parcel{offset: 60})
	in.lanes[1].cut, in.lanes[1].from = true, 40 // used up, and cut short
	task := &Task{inputs: []*input{in}}
	task.settle()
	if in.next != 40 {
		t.Errorf("the partition goes on at %d, want 40", in.next)
	}
	for i, want := range []record.Offset{60, 40, 100} {
		if got := in.upstream[i].Next; got != want {
			t.Errorf("lane %d goes on at %d, want %d", i, got, want)
		}
	}
}
