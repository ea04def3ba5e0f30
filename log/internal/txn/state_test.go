package txn

import (
	"testing"

	"github.com/millstream-io/millstream/log/record"
)

// A decision of KIP-890's protocol has raised the epoch: who goes on has that of
// its markers. One of the first protocol has not.
func TestPrecedes(t *testing.T) {
	for _, c := range []struct {
		version       int16
		decided, open record.ProducerEpoch
		later         bool
	}{
		{0, 5, 4, false}, {0, 5, 5, false}, {0, 5, 6, true},
		{bumping, 6, 5, false}, {bumping, 6, 6, true}, {bumping, 6, 8, true},
	} {
		decision := Txn{Identity: Identity{ID: 1, Epoch: c.decided}, Version: c.version, State: PrepareCommit}
		if got := decision.Precedes(c.open); got != c.later {
			t.Errorf("version %d, markers of epoch %d, open transaction of epoch %d: a later one %v, expected %v", c.version, c.decided, c.open, got, c.later)
		}
	}
}
