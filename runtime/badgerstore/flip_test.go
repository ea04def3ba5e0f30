package badgerstore

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/streams/state"
)

// harmless says why a flip of a byte does no harm, or "". Each reason stands in
// docs/format/badger.md.
func harmless(name string, off int64, clean bool) string {
	switch {
	case name == lockName, name == "LOCK":
		return "the owner's name, for messages only"
	case clean:
		return ""
	case strings.HasSuffix(name, ".mem"), strings.HasSuffix(name, ".vlog"):
		if off >= 8 && off < logHeader {
			return "IV of an encryption that is off"
		}
	case name == "KEYREGISTRY" && off < 16:
		return "IV of an encryption that is off"
	case name == "DISCARD":
		return "a statistic for garbage collection"
	}
	return ""
}

// smallDir makes a directory with tables and, unless it is closed, a WAL.
func smallDir(t *testing.T, clean bool) snapshot {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "db")
	db := open(t, dir)
	for i := range 3 {
		if err := db.Checkpoint(1, fmt.Appendf(nil, "record %d", i), putMany(40, fmt.Sprint("value ", i))); err != nil {
			t.Fatal(err)
		}
		if i == 1 { // a table, and a MANIFEST that names it
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, dir)
		}
	}
	if clean {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return takeSnapshot(t, dir)
}

func TestVerifyReportsEveryFlippedByte(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "copy")
		snap := smallDir(t, clean)
		snap.write(t, dir)
		if findings, err := Verify(dir); len(findings) > 0 || err != nil {
			t.Fatalf("clean=%v: nothing is wrong yet: %v %v", clean, findings, err)
		}
		sums, _, _, err := readSums(dir)
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range snap {
			flipEach(t, name, f, sums)
		}
	}
}

// flipEach flips each byte of a file in turn, of the zeros at its end a sample.
// It asks what Verify asks for each file.
func flipEach(t *testing.T, name string, file snapFile, sums map[string]fileSum) {
	t.Helper()
	b := append(append([]byte(nil), file.data...), make([]byte, file.size-int64(len(file.data)))...)
	flipped, reported := 0, 0
	for off := range b {
		if behind := off - len(file.data); behind > 64 && (off%997 != 0 || behind > 64<<10) && off%1_000_003 != 0 {
			continue
		}
		b[off] ^= 1 << (off % 8)
		var found []Finding
		switch name {
		case "LOCK", lockName:
		case sumsName:
			if _, f := parseSums(name, b); f != nil {
				found = append(found, *f)
			}
		default:
			found = inspectBytes(name, b, true)
			if sum, ok := sums[name]; ok && len(found) == 0 && crc32.Checksum(b, castagnoli) != sum.crc {
				found = append(found, Finding{Path: name})
			}
		}
		b[off] ^= 1 << (off % 8)
		flipped++
		if len(found) > 0 {
			reported++
		} else if harmless(name, int64(off), sums != nil) == "" {
			t.Errorf("clean=%v %s offset %d of %d: the flip was not reported", sums != nil, name, off, len(b))
		}
	}
	t.Logf("clean=%v %s: %d bytes, %d flipped, %d reported", sums != nil, name, len(b), flipped, reported)
}

func TestVerifyNamesFileAndOffset(t *testing.T) {
	snap := smallDir(t, false)
	for name, off := range map[string]int{"000001.sst": 100, "00001.mem": 500, "MANIFEST": 20} {
		dir := filepath.Join(t.TempDir(), "copy")
		snap.write(t, dir)
		flipFile(t, filepath.Join(dir, name), off)
		found, err := Verify(dir)
		if err != nil || len(found) == 0 || found[0].Path != filepath.Join(dir, name) || found[0].Offset > int64(off) || found[0].Offset < 0 {
			t.Errorf("%s offset %d: %v %v", name, off, found, err)
		}
	}
}

func flipFile(t *testing.T, path string, off int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var b [1]byte
	if _, err := f.ReadAt(b[:], int64(off)); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], int64(off)); err != nil {
		t.Fatal(err)
	}
}

func TestOpenAfterAFlipIsAnErrorOrReadsWhatWasWritten(t *testing.T) {
	snap := smallDir(t, false)
	for name, f := range snap {
		step := max(1, len(f.data)/12)
		for off := 0; off < len(f.data); off += step {
			dir := filepath.Join(t.TempDir(), "copy")
			snap.write(t, dir)
			flipFile(t, filepath.Join(dir, name), off)
			openFlipped(t, dir, name, off)
		}
	}
}

func openFlipped(t *testing.T, dir, name string, off int) {
	t.Helper()
	db, err := Open(Config{Dir: dir, MemTableBytes: 1 << 20})
	if err != nil {
		if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s offset %d: %q, expected one line that names the directory", name, off, err)
		}
		return
	}
	n := 0
	err = db.Range(1, state.StoreKey(1), nil, nil, func(k, v []byte) bool {
		if string(k) != fmt.Sprintf("key-%06d", n) || string(v) != "value 2" {
			t.Errorf("%s offset %d: entry %d is %q=%q", name, off, n, k, v)
		}
		n++
		return true
	})
	r, _, recErr := db.CheckpointRecord(1)
	if err != nil || recErr != nil || n != 40 || string(r) != "record 2" {
		t.Errorf("%s offset %d: %d entries, record %q, %v %v", name, off, n, r, err, recErr)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
