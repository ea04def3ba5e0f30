package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// smallDirectory is a cleanly closed data directory with two topics, one of them shortened.
func smallDirectory(t *testing.T) *harness {
	h := newHarness(t, nil)
	h.topic("orders", 2)
	h.topic("compacted", 1, "cleanup.policy", "compact")
	for i := range 12 {
		h.put("orders", i%2, AcksAll, fmt.Sprint("value ", i))
	}
	h.put("compacted", 0, AcksAll, "x")
	if _, err := h.part("orders", 0).DeleteBefore(3); err != nil {
		t.Fatal(err)
	}
	h.ok(h.Broker.Close())
	return h
}

func verifyFindings(t *testing.T, fsys vfs.FS, o VerifyOptions) (VerifyReport, []segment.Finding) {
	t.Helper()
	var list []segment.Finding
	sum, err := Verify(fsys, "/data", o, func(f segment.Finding) { list = append(list, f) })
	if err != nil {
		t.Fatal(err)
	}
	return sum, list
}

func overwrite(fsys vfs.FS, name string, b []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(h *harness) error
		want  string
	}{
		{"a partition is gone", func(h *harness) error { return h.fs.RemoveAll("/data/orders-1") }, "/data/orders-1"},
		{"a foreign partition", func(h *harness) error { return h.fs.MkdirAll("/data/strange-0") }, "/data/strange-0"},
		{"a segment is gone", func(h *harness) error { return h.fs.Remove("/data/orders-0/00000000000000000000.log") }, "/data/orders-0"},
		{"left over", func(h *harness) error { return overwrite(h.fs, "/data/"+metadataFile+".tmp", nil) }, metadataFile + ".tmp"},
		{"a foreign file", func(h *harness) error { return overwrite(h.fs, "/data/notes.txt", nil) }, "/data/notes.txt"},
		{"a foreign directory", func(h *harness) error { return h.fs.MkdirAll("/data/state") }, "/data/state"},
		{"a foreign file in a partition", func(h *harness) error { return overwrite(h.fs, "/data/orders-0/notes", nil) }, "/data/orders-0/notes"},
		{"an index is gone", func(h *harness) error { return h.fs.Remove("/data/orders-0/00000000000000000000.index") }, "00000000000000000000.index"},
		{"a checkpoint is gone", func(h *harness) error { return h.fs.Remove("/data/" + logStartFile) }, logStartFile},
		{"no checksums", func(h *harness) error { return h.fs.Remove("/data/" + checksumsFile) }, checksumsFile},
		{"damaged metadata does not hide a partition", func(h *harness) error {
			return errors.Join(overwrite(h.fs, "/data/"+metadataFile, []byte("x")), overwrite(h.fs, "/data/orders-0/notes", nil))
		}, "/data/orders-0/notes"},
		{"no properties", func(h *harness) error { return h.fs.Remove("/data/" + propertiesFile) }, propertiesFile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := smallDirectory(t)
			h.ok(tt.spoil(h))
			if _, list := verifyFindings(t, h.fs, VerifyOptions{}); !strings.Contains(fmt.Sprint(list), tt.want) {
				t.Errorf("findings %v, want one about %s", list, tt.want)
			}
		})
	}
}

// What a crash leaves half done is damage only in a directory that was closed cleanly.
func TestLeftoversOfACrashAreNoDamage(t *testing.T) {
	for _, name := range []string{
		"/data/orders-0/00000000000000000000.log.cleaned", "/data/orders-0/00000000000000000000.log.swap",
		"/data/orders-0/00000000000000000000.index.deleted", "/data/orders-0/leader-epoch-checkpoint.tmp",
		"/data/" + metadataFile + ".tmp", "/data/" + recoveryPointFile + ".tmp",
	} {
		h := smallDirectory(t)
		h.ok(overwrite(h.fs, name, []byte("half")))
		if _, list := verifyFindings(t, h.fs, VerifyOptions{}); len(list) != 1 {
			t.Errorf("%s in a directory that was closed cleanly: findings %v, expected one", name, list)
		}
		h.ok(h.fs.Remove("/data/" + cleanShutdownFile))
		if sum, list := verifyFindings(t, h.fs, VerifyOptions{}); len(list) > 0 || sum.Clean {
			t.Errorf("%s after a crash: findings %v", name, list)
		}
	}
}

func TestVerifyTakesTheLockUnlessLive(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.put("a", 0, AcksAll, "below the recovery point")
	h.ok(h.RunRetention())
	h.ok(h.checkpoint())
	h.put("a", 0, AcksAll, "above it")
	var locked *vfs.LockedError
	if _, err := Verify(h.fs, "/data", VerifyOptions{}, nil); !errors.As(err, &locked) {
		t.Errorf("verify beside an open broker: %v, want a LockedError", err)
	}
	if sum, list := verifyFindings(t, h.fs, VerifyOptions{Live: true}); len(list) > 0 || sum.Records != 1 {
		t.Errorf("live: %+v, %v; want 1 record and no finding", sum, list)
	}
	if _, err := Verify(h.fs, "/", VerifyOptions{}, nil); err == nil || !strings.Contains(err.Error(), "not a data directory") {
		t.Errorf("another directory: %v", err)
	}
}

func TestVerifyRefusesANewerVersion(t *testing.T) {
	for name, found := range map[string]int{propertiesFile: 2, metadataFile: 3} {
		text := map[string]string{propertiesFile: "version=2\n", metadataFile: "millstream-metadata version=3 crc32c=00000000\n"}[name]
		h := smallDirectory(t)
		h.ok(overwrite(h.fs, "/data/"+name, []byte(text)))
		var newer *VersionError
		if _, err := Verify(h.fs, "/data", VerifyOptions{}, nil); !errors.As(err, &newer) || newer.Found != found || newer.Path != "/data/"+name {
			t.Errorf("%s of version %d: %v, want a VersionError", name, found, err)
		}
	}
}

// A segment that was cut where a batch ends looks whole; only the end that the root promises tells.
func TestVerifyReportsACutAtABatchBoundary(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.put("a", 0, AcksAll, "one")
	h.put("a", 0, AcksAll, "two")
	h.ok(h.checkpoint())
	h.Broker.Abandon()
	if _, list := verifyFindings(t, h.fs, VerifyOptions{}); len(list) > 0 {
		t.Fatalf("before the cut: %v", list)
	}
	file := "/data/a-0/00000000000000000000.log"
	b, err := readFile(h.fs, file)
	h.ok(err)
	h.ok(overwrite(h.fs, file, b[:len(b)/2]))
	if _, list := verifyFindings(t, h.fs, VerifyOptions{}); !strings.Contains(fmt.Sprint(list), recoveryPointFile) {
		t.Errorf("findings %v, want one about %s", list, recoveryPointFile)
	}
}

func TestVerifyReportsCoordinatorRecordsThatDoNotDecode(t *testing.T) {
	for _, topic := range []string{offsetsTopic, transactionTopic} {
		h := newHarness(t, nil)
		h.ok(h.ensureInternal(topic))
		h.put(topic, 1, AcksAll, "ab=not a record that a coordinator writes", "\x00=x")
		h.ok(h.Broker.Close())
		_, list := verifyFindings(t, h.fs, VerifyOptions{})
		if len(list) == 0 || !strings.Contains(list[0].Path, topic+"-1/") || list[len(list)-1].Offset != 1 {
			t.Errorf("%s: findings %v", topic, list)
		}
	}
}

// What a live directory shows for a moment is read again.
func TestVerifyLiveReportsOnlyWhatStays(t *testing.T) {
	h := newHarness(t, nil)
	h.topic("a", 1)
	h.put("a", 0, AcksAll, "x")
	h.ok(h.checkpoint())
	var list []segment.Finding
	verify := func(rule vfs.Rule) VerifyReport {
		list = nil
		h.faults.SetRules(rule)
		sum, err := Verify(h.faults, "/data", VerifyOptions{Live: true}, func(f segment.Finding) { list = append(list, f) })
		h.ok(err)
		return sum
	}
	gone := vfs.Rule{Ops: vfs.OpOpen, Name: "*.log", Nth: 1, Err: fs.ErrNotExist}
	if sum := verify(gone); len(list) > 0 || sum.Records != 1 || sum.Partitions != 1 {
		t.Errorf("a file that is there again: %+v, findings %v", sum, list)
	}
	gone.Nth = 0
	if verify(gone); len(list) == 0 {
		t.Error("a file that stays away is not reported")
	}
}
