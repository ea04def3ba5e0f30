package streamstest_test

import (
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/runtime/streamstest"
)

// steps is how many steps the program needs for the input with these options.
func steps(t *testing.T, in []event, o streamstest.Options) (n int) {
	d := streamstest.New(t, logins(t), o)
	send(d, in)
	for d.Step() {
		n++
	}
	return n
}

// TestACrashAfterAnyStepChangesNothing crashes a small program once after each
// of its steps, with and without a checkpoint before, and goes on: what is
// committed at the end is always the fold over the input, every window once.
func TestACrashAfterAnyStepChangesNothing(t *testing.T) {
	in := events(12, 2)
	o := streamstest.Options{Partitions: 2, CommitEvery: 3}
	n := steps(t, in, o)
	if n < 40 {
		t.Fatalf("the program has %d steps, expected more", n)
	}
	stride := 1
	if testing.Short() {
		stride = 7 // the race detector's run
	}
	for _, checkpoint := range []bool{false, true} {
		for stop := 0; stop < n; stop += stride {
			d := streamstest.New(t, logins(t), o)
			send(d, in)
			for i := range stop {
				d.Step()
				if checkpoint && i%7 == 3 {
					d.Checkpoint()
				}
			}
			last := d.Last()
			d.Crash()
			d.Restart()
			d.End()
			check(t, fmt.Sprintf("crash after step %d (%s), checkpoints %v", stop, last, checkpoint), d, in)
		}
	}
}

func TestACrashInACommitOrACheckpointChangesNothing(t *testing.T) {
	in := events(20, 3)
	o := streamstest.Options{Partitions: 2, CommitEvery: 4}
	n := steps(t, in, o)
	crashes := 0
	for stop := 0; stop < n; stop += 3 {
		for _, crash := range []func(*streamstest.Driver) bool{
			func(d *streamstest.Driver) bool { return d.CrashInCommit(streamstest.Undecided) },
			func(d *streamstest.Driver) bool { return d.CrashInCommit(streamstest.Decided) },
			func(d *streamstest.Driver) bool { return d.CrashInCheckpoint(stop % 5) },
		} {
			d := streamstest.New(t, logins(t), o)
			send(d, in)
			for range stop {
				d.Step()
			}
			if crash(d) {
				crashes++
			} else if d.Up() {
				d.Crash()
			}
			d.Restart()
			d.End()
			check(t, fmt.Sprintf("crash after step %d", stop), d, in)
		}
	}
	if crashes < n/3 {
		t.Errorf("%d crashes hit a commit or a checkpoint in %d steps: the test tests little", crashes, n)
	}
}

func TestARestartReplaysWhatFollowsTheCheckpoint(t *testing.T) {
	in := events(300, 4)
	d := streamstest.New(t, logins(t), streamstest.Options{})
	send(d, in[:200])
	d.Run()
	d.Checkpoint()
	d.Crash()
	d.Restart()
	if n := d.Totals().Restored; n != 0 {
		t.Errorf("%d changelog records were replayed after a checkpoint of everything, expected none", n)
	}
	send(d, in[200:])
	d.Run()
	d.Crash()
	d.Restart()
	if n := d.Totals().Restored; n == 0 {
		t.Error("nothing was replayed, expected what was committed since the checkpoint")
	}
	d.End()
	check(t, "after two crashes", d, in)
}

// Without a local state everything comes from the changelogs, compacted or not.
func TestTheStateIsInTheChangelogs(t *testing.T) {
	in := events(300, 5)
	d := streamstest.New(t, logins(t), streamstest.Options{CommitEvery: 10})
	send(d, in)
	d.Run()
	d.Compact()
	d.Crash()
	d.Restart()
	if n := d.Totals().Restored; n == 0 || n > 100 {
		t.Errorf("%d changelog records were replayed, expected about one per key: the cleaner ran", n)
	}
	d.End()
	check(t, "after the cleaner and a crash", d, in)
}
