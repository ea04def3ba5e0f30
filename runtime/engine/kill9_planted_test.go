//go:build plantedbugs

package engine_test

import (
	"os"
	"testing"
)

// TestTorturePlantedBugs: each bug that only this build tag can switch on is
// caught by the kill -9 test within 100 rounds.
func TestTorturePlantedBugs(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	for _, bug := range []string{"state-first", "offsets-apart", "record-first"} {
		t.Run(bug, func(t *testing.T) {
			t.Setenv("MILLSTREAM_PLANTED_BUG", bug)
			for rounds, kills := 0, 10; rounds < 100; rounds += kills {
				if _, problems := kill9Rounds(t, t.TempDir(), kills); len(problems) > 0 {
					t.Logf("caught within %d kills: %s", rounds+kills, problems[0])
					return
				}
			}
			t.Errorf("100 kills did not catch it")
		})
	}
}
