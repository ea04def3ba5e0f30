package broker

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
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

func verifyFindings(t *testing.T, fs vfs.FS, o VerifyOptions) (VerifyReport, []segment.Finding) {
	t.Helper()
	var list []segment.Finding
	sum, err := Verify(fs, "/data", o, func(f segment.Finding) { list = append(list, f) })
	if err != nil {
		t.Fatal(err)
	}
	return sum, list
}

// harmlessRoot names the row of docs/format/data-directory.md, "Harmless bytes", for a byte of a root file; empty if none.
func harmlessRoot(name string, b []byte, at int) string {
	lineStart := bytes.LastIndexByte(b[:at], '\n') + 1
	line := string(b[lineStart:])
	if end := strings.IndexByte(line, '\n'); end >= 0 {
		line = line[:end+1]
	}
	value := at-lineStart > strings.IndexByte(line, '=')
	switch {
	case name == lockFile:
		return "LOCK"
	case name == cleanShutdownFile:
		return "the clean mark"
	case name == propertiesFile && strings.HasPrefix(line, "boot.id=") && value:
		return "boot.id"
	case name == kafkaMetaFile && (line[0] == '#' || b[at] == '\n'):
		return "comments and white space"
	case name == kafkaMetaFile && value && !strings.HasPrefix(line, "version="):
		return "ids"
	case (name == logStartFile || name == cleanerOffsetFile) && at-lineStart > strings.LastIndexByte(line, ' '):
		return "log start and cleaner offset"
	}
	return ""
}

func TestFlipsInTheRootAreReportedOrListed(t *testing.T) {
	h := smallDirectory(t)
	sum, list := verifyFindings(t, h.fs, VerifyOptions{})
	if len(list) > 0 || sum.Topics != 2 || sum.Partitions != 3 || sum.Records != 13 {
		t.Fatalf("a good directory: %+v, findings %v", sum, list)
	}
	names, err := h.fs.ReadDir("/data")
	h.ok(err)
	unseen := map[string]int{}
	flips := 0
	for _, name := range names {
		file := path.Join("/data", name)
		if info, err := h.fs.Stat(file); err != nil || info.IsDir() {
			continue
		}
		b, err := readFile(h.fs, file)
		h.ok(err)
		for at := range b {
			for _, mask := range []byte{0x01, 0x04, 0x80} {
				flipped := slices.Clone(b)
				flipped[at] ^= mask
				h.ok(overwrite(h.fs, file, flipped))
				flips++
				if name == lockFile {
					continue // Lock writes it anew
				}
				if _, list := verifyFindings(t, h.fs, VerifyOptions{}); len(list) > 0 {
					continue
				}
				row := harmlessRoot(name, b, at)
				if row == "" {
					t.Errorf("%s: byte %d (%q) flipped by %#x: neither reported nor listed", name, at, b[at], mask)
				}
				unseen[row]++
			}
		}
		h.ok(overwrite(h.fs, file, b))
	}
	t.Logf("%d flips; not reported: %v", flips, unseen)
}

func overwrite(fs vfs.FS, name string, b []byte) error {
	f, err := fs.Create(name)
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
