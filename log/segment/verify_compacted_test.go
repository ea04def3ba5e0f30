package segment

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// listed names the row of docs/format/segment.md, "Harmless bytes", that a byte
// of a compacted partition's file falls under; empty if none.
func listed(name string, log []byte, at int) string {
	switch filepath.Ext(name) {
	case suffixLog:
		start := 0
		for size, _ := record.PeekSize(log); start+size <= at; size, _ = record.PeekSize(log[start:]) {
			start += size
		}
		if at-start < 8 {
			return "base offset of a batch amid a compacted segment"
		}
	case suffixTxn:
		if field := at % txnEntrySize; field >= 10 && field < 18 || field >= 26 {
			return "first and stable offset of an aborted transaction"
		}
	case "":
		if name == nameEpochs {
			return "start of an epoch in leader-epoch-checkpoint"
		}
	}
	return ""
}

// compactedPartition is a closed directory with what the cleaner leaves: gaps,
// empty batches, delete horizons, markers without data.
func compactedPartition(t testing.TB, fs vfs.FS) (Config, map[string]string) {
	t.Helper()
	h, cfg := compactionSetup(t, fs, 5, 40)
	next := record.Offset(0)
	for run := range 2 {
		res, err := h.log.Compact(CompactOptions{Now: int64(1000 * run), Hold: -1, FirstDirty: next, RollActive: true})
		if err != nil {
			t.Fatal(err)
		}
		next = res.Next
		for i := range 6 {
			h.step(int64(100 + i))
		}
		h.endAll(110)
		checkpointed(t, h.log)
	}
	if err := h.log.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg, h.values
}

// What a flip in a compacted partition does is reported, or the byte is listed
// as harmless, and then it is: the partition opens with the same epoch and a
// reader of committed records sees the same values.
func TestFlipsInACompactedPartitionAreReportedOrHarmless(t *testing.T) {
	fs := vfs.NewMem()
	cfg, values := compactedPartition(t, fs)
	if list := findings(t, fs, cfg); len(list) != 0 {
		t.Fatalf("findings in a good directory: %v", list)
	}
	names, err := fs.ReadDir(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	masks := []byte{0x01, 0x02, 0x04, 0x80, 0xff}
	if testing.Short() {
		masks = masks[:1]
	}
	unseen := map[string]int{}
	for _, name := range names {
		path := filepath.Join(cfg.Dir, name)
		b, err := readFile(fs, path)
		if err != nil {
			t.Fatal(err)
		}
		for at := range b {
			for _, mask := range masks {
				flipped := slices.Clone(b)
				flipped[at] ^= mask
				if err := writeFile(fs, path, flipped, false); err != nil {
					t.Fatal(err)
				}
				if len(findings(t, fs, cfg)) > 0 {
					continue
				}
				row := listed(name, b, at)
				if row == "" {
					t.Errorf("%s: byte %d flipped by %#x: neither reported nor listed", name, at, mask)
				}
				unseen[row]++
				clone := cfg
				clone.FS = fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: 100})
				l, r := mustOpen(t, clone, OpenOptions{Clean: true})
				if got, err := committedFold(l); err != nil || !maps.Equal(got, values) || r.Epoch != 0 {
					t.Errorf("%s: byte %d flipped by %#x is not harmless: %v, epoch %d\n got %v\nwant %v", name, at, mask, err, r.Epoch, got, values)
				}
				l.Abandon()
			}
		}
		if err := writeFile(fs, path, b, false); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("not reported, and harmless: %v", unseen)
}
