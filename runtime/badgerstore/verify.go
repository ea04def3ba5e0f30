package badgerstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Finding is one thing that is wrong with a directory.
type Finding struct {
	Path   string // of the file
	Offset int64  // in bytes; -1 if the whole file is meant
	What   string // one line: expected against found
}

// Verify reads every file of the database in dir, which no process may have
// open, and reports what is wrong; docs/format/badger.md says what each check
// covers and which bytes are harmless. It changes nothing but the lock file.
// The error is for what stopped the reading: a missing directory, ErrLocked.
func Verify(dir string) ([]Finding, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("state directory %s cannot be read: %w", dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	findings, err := inspect(dir, true)
	return findings, errors.Join(err, lock.Close())
}

// inspect reads all files. Structure first, because it knows the place within
// the file; then, after a clean close, the whole files' checksums. strict also
// reports what the next open repairs by itself: the damaged end of a WAL and a
// torn record of MANIFEST or journal.
func inspect(dir string, strict bool) ([]Finding, error) {
	var all []Finding
	sums, clean, finding, err := readSums(dir)
	if err != nil {
		return nil, err
	}
	if finding != nil {
		all = append(all, *finding)
	}
	names, err := summed(dir)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, name := range names {
		path := filepath.Join(dir, name)
		found, err := inspectFile(path, strict || clean)
		if err != nil {
			return nil, err
		}
		if sum, ok := sums[name]; ok && len(found) == 0 {
			crc, size, err := sumFile(path)
			if err != nil {
				return nil, err
			}
			if crc != sum.crc || size != sum.size {
				found = append(found, Finding{path, -1, fmt.Sprintf("checksum %08x over %d bytes, expected %08x over %d: changed since the clean close", crc, size, sum.crc, sum.size)})
			}
		}
		seen[name] = true
		all = append(all, found...)
	}
	for name := range sums {
		if !seen[name] {
			all = append(all, Finding{filepath.Join(dir, name), -1, "the file is missing since the clean close"})
		}
	}
	missing, err := missingTables(dir, seen)
	return append(all, missing...), err
}

// inspectFile checks one file's structure by its kind.
func inspectFile(path string, strict bool) ([]Finding, error) {
	switch name := filepath.Base(path); {
	case strings.HasSuffix(name, ".sst"):
		return inspectTable(path)
	case strings.HasSuffix(name, ".mem"):
		return inspectLog(path, true, strict)
	case strings.HasSuffix(name, ".vlog"):
		return inspectLog(path, false, strict)
	case name == "MANIFEST":
		_, found, err := readManifest(path, strict)
		return found, err
	case name == "KEYREGISTRY":
		return inspectRegistry(path)
	case name == journalName:
		_, bad, err := readJournal(path)
		var found []Finding
		for _, off := range bad {
			if strict {
				found = append(found, Finding{path, off, "the entry does not match its checksum"})
			}
		}
		return found, err
	case name == formatName:
		b, err := os.ReadFile(path)
		if err == nil && string(b) != formatText {
			return []Finding{{path, 0, fmt.Sprintf("%q, expected %q", b, formatText)}}, nil
		}
		return nil, err
	}
	return nil, nil
}

// inspectRegistry checks the unencrypted key registry: 16 random bytes that
// nothing uses, then a fixed text.
func inspectRegistry(path string) ([]Finding, error) {
	const ivBytes, text = 16, "Hello Badger"
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) != ivBytes+len(text) || !bytes.HasSuffix(b, []byte(text)) {
		return []Finding{{path, ivBytes, fmt.Sprintf("%d bytes, expected %d that end with %q", len(b), ivBytes+len(text), text)}}, nil
	}
	return nil, nil
}

// missingTables compares the MANIFEST's tables with the files.
func missingTables(dir string, seen map[string]bool) ([]Finding, error) {
	path := filepath.Join(dir, "MANIFEST")
	tables, _, err := readManifest(path, false)
	if errors.Is(err, fs.ErrNotExist) {
		if len(seen) > 1 && seen["KEYREGISTRY"] {
			return []Finding{{path, -1, "missing beside the other files of a database"}}, nil
		}
		return nil, nil
	}
	var found []Finding
	for id := range tables {
		if name := fmt.Sprintf("%06d.sst", id); !seen[name] {
			found = append(found, Finding{filepath.Join(dir, name), -1, "the MANIFEST names this table, the file is missing"})
		}
	}
	return found, err
}
