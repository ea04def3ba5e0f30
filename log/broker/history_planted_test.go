package broker_test

import (
	"path"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/vfs"
)

// Planted bugs: a file system that forgets some of the syncs that it is asked
// for. The histories must notice each kind within a few seeds; otherwise they
// prove nothing.

// forgetful says that a sync was done which was not.
type forgetful struct {
	vfs.FS
	file, dir func(name string) bool // whose sync is swallowed
	begun     func() bool
}

func (f forgetful) SyncDir(name string) error {
	if f.begun() && f.dir(name) {
		return nil
	}
	return f.FS.SyncDir(name)
}

func (f forgetful) Create(name string) (vfs.File, error) { return f.opened(f.FS.Create, name) }

func (f forgetful) Open(name string) (vfs.File, error) { return f.opened(f.FS.Open, name) }

func (f forgetful) OpenReadWrite(name string) (vfs.File, error) {
	return f.opened(f.FS.OpenReadWrite, name)
}

func (f forgetful) opened(open func(string) (vfs.File, error), name string) (vfs.File, error) {
	file, err := open(name)
	if err != nil || !f.file(name) {
		return file, err
	}
	return unsyncedFile{file, f.begun}, nil
}

type unsyncedFile struct {
	vfs.File
	begun func() bool
}

func (f unsyncedFile) Sync() error {
	if f.begun() {
		return nil
	}
	return f.File.Sync()
}

func never(string) bool { return false }

// inPartition says that a file or directory belongs to a topic of users.
func inPartition(name string) bool {
	return name != dataDir && !strings.Contains(name, "__")
}

func TestAPlantedMissingFsyncIsFound(t *testing.T) {
	const seeds = 40
	logOf := func(topic string) func(string) bool {
		return func(name string) bool { return strings.HasSuffix(name, ".log") && strings.Contains(name, topic) }
	}
	for _, planted := range []struct {
		name string
		fs   forgetful
	}{
		{"data files", forgetful{file: func(name string) bool { return path.Ext(name) == ".log" && inPartition(name) }, dir: never}},
		{"transaction state", forgetful{file: logOf("__transaction_state"), dir: never}},
		{"group offsets", forgetful{file: logOf("__consumer_offsets"), dir: never}},
		{"every directory", forgetful{file: never, dir: func(string) bool { return true }}},
		{"directories of partitions", forgetful{file: never, dir: inPartition}},
		{"the data directory", forgetful{file: never, dir: func(name string) bool { return name == dataDir }}},
		{"cleaned segments", forgetful{file: func(name string) bool { return strings.HasSuffix(name, ".log.cleaned") }, dir: never}},
		{"metadata", forgetful{file: func(name string) bool { return strings.Contains(name, "millstream.metadata") }, dir: never}},
		{"leader epochs", forgetful{file: func(name string) bool { return strings.Contains(name, "leader-epoch") }, dir: never}},
	} {
		t.Run(planted.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(seeds) {
				h := newHistory(seed)
				h.fine = -1
				h.wrap = func(disk vfs.FS) vfs.FS {
					f := planted.fs
					f.FS, f.begun = disk, func() bool { return h.op > 0 } // the topics are there
					return f
				}
				if err := h.run(); err != nil {
					t.Logf("found with seed %d at operation %d: %v", seed, h.op, h.err)
					return
				}
			}
			t.Fatalf("%d histories survive without syncs of %s", seeds, planted.name)
		})
	}
}
