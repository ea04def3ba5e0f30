package task

import (
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams/state"
)

// A query goes on reading the commit that it began with while the checkpoint of
// that fails and other commits put other values in their place.
func TestAQueryReadsOneCommitWhileACheckpointFails(t *testing.T) {
	for _, frozen := range []bool{true, false} {
		o := newOverlay(1, []plan.Store{{Spec: state.Spec{Name: "s"}}}, memstore.New(0))
		const entries = 10
		commit := func(value string) {
			o.mu.Lock()
			defer o.mu.Unlock()
			for i := range entries {
				o.active.put(0, fmt.Append(nil, i), []byte(value))
			}
		}
		commit("old")
		if frozen {
			o.freeze()
		}
		seen := 0
		err := Reader{o}.Range(0, nil, nil, nil, func(key, value []byte) bool {
			if seen++; seen == 1 {
				if frozen {
					o.refreeze()
				}
				commit("new")
			}
			if string(value) != "old" {
				t.Errorf("frozen %v: %s is %q, another commit's", frozen, key, value)
			}
			return true
		})
		if err != nil || seen != entries {
			t.Errorf("frozen %v: %d entries, error %v", frozen, seen, err)
		}
		if v, ok, err := o.get(0, []byte("3"), nil); string(v) != "new" || !ok || err != nil {
			t.Errorf("frozen %v: afterwards %q, %v, %v", frozen, v, ok, err)
		}
	}
}
