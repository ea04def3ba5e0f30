package segment

import (
	"testing"

	"github.com/millstream-io/millstream/log/vfs"
)

func TestTheStableOffsetIsNeverBelowTheStart(t *testing.T) {
	cfg := testConfig(vfs.NewMem(), small)
	l, _ := mustOpen(t, cfg, OpenOptions{})
	mustAppend(t, l, batchOpts{pid: 7, txn: true}, kv{key: "a"}, kv{key: "b"})
	mustAppend(t, l, plain, kv{key: "c"})
	if err := l.DeleteBefore(2); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		if l.Start() != 2 || l.Stable() != 2 || l.End() != 3 {
			t.Fatalf("%s: expected start 2, stable 2, end 3, found %d, %d, %d", when, l.Start(), l.Stable(), l.End())
		}
	}
	check("after deleting a part of an open transaction")
	l.Abandon()
	l, _ = mustOpen(t, cfg, OpenOptions{LogStart: 2})
	check("after reopening")
}
