package badgerstore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
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
	listed, err := listedTables(dir)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var paths []string
	for _, name := range names {
		if _, ok := sums[name]; !ok && strings.HasSuffix(name, ".sst") && !listed[name] {
			continue // a table that was being written when the process ended: Badger removes it
		}
		seen[name] = true
		paths = append(paths, filepath.Join(dir, name))
	}
	found, err := inspectFiles(paths, sums, strict || clean)
	if err != nil {
		return nil, err
	}
	all = append(all, found...)
	for name := range sums {
		if !seen[name] {
			all = append(all, Finding{filepath.Join(dir, name), -1, "the file is missing since the clean close"})
		}
	}
	missing, err := missingTables(dir, seen)
	return append(all, missing...), err
}

// inspectFiles checks files, several at once: with a gigabyte of state this is
// most of what opening takes. The findings are in the files' order.
func inspectFiles(paths []string, sums map[string]fileSum, strict bool) (all []Finding, err error) {
	found := make([][]Finding, len(paths))
	var next atomic.Int64
	var g errgroup.Group
	for range min(runtime.GOMAXPROCS(0), len(paths)) {
		g.Go(func() error {
			var b []byte
			for {
				i := int(next.Add(1)) - 1
				if i >= len(paths) {
					return nil
				}
				var err error
				if found[i], b, err = inspectOne(paths[i], b, sums, strict); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// inspectOne checks one file's structure and, if that is right, its checksum. It
// reads into b, or a larger buffer that it returns.
func inspectOne(path string, b []byte, sums map[string]fileSum, strict bool) (found []Finding, _ []byte, err error) {
	defer recovered(filepath.Dir(path), "checking", &err)
	name := filepath.Base(path)
	if !strict && isLog(name) {
		found, err = inspectLogHeader(path)
		return found, b, err
	}
	if b, err = readInto(b, path); err != nil {
		return nil, b, err
	}
	found = inspectBytes(path, b, strict)
	if sum, ok := sums[name]; ok && len(found) == 0 {
		if crc := crc32.Checksum(b, castagnoli); crc != sum.crc || int64(len(b)) != sum.size {
			found = append(found, Finding{path, -1, fmt.Sprintf("checksum %08x over %d bytes, expected %08x over %d: changed since the clean close", crc, len(b), sum.crc, sum.size)})
		}
	}
	return found, b, nil
}

// readInto is os.ReadFile into b, if it is large enough.
func readInto(b []byte, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return b, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return b, err
	}
	b = slices.Grow(b[:0], int(info.Size()))[:info.Size()]
	n, err := io.ReadFull(f, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it is being judged by what it has
	}
	return b[:n], err
}

func isLog(name string) bool {
	return strings.HasSuffix(name, ".mem") || strings.HasSuffix(name, ".vlog")
}

// inspectBytes checks one file's structure by its kind.
func inspectBytes(path string, b []byte, strict bool) []Finding {
	switch name := filepath.Base(path); {
	case strings.HasSuffix(name, ".sst"):
		return inspectTable(path, b)
	case isLog(name):
		return inspectLog(path, b, strings.HasSuffix(name, ".mem"))
	case name == "MANIFEST":
		_, found := parseManifest(path, b, strict)
		return found
	case name == "KEYREGISTRY":
		return inspectRegistry(path, b)
	case name == journalName:
		_, bad := parseJournal(b)
		if len(bad) > 0 && strict {
			return []Finding{{path, bad[0], "the entry does not match its checksum"}}
		}
	case name == formatName:
		if string(b) != formatText {
			return []Finding{{path, 0, fmt.Sprintf("%q, expected %q", b, formatText)}}
		}
	}
	return nil
}

// inspectRegistry checks the unencrypted key registry: 16 random bytes that
// nothing uses, then a fixed text.
func inspectRegistry(path string, b []byte) []Finding {
	const ivBytes, text = 16, "Hello Badger"
	if len(b) != ivBytes+len(text) || !bytes.HasSuffix(b, []byte(text)) {
		return []Finding{{path, ivBytes, fmt.Sprintf("%d bytes, expected %d that end with %q", len(b), ivBytes+len(text), text)}}
	}
	return nil
}

// listedTables are the names of the tables in the MANIFEST, as far as it can be read.
func listedTables(dir string) (map[string]bool, error) {
	b, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	tables, _ := parseManifest("", b, false)
	names := map[string]bool{}
	for id := range tables {
		names[fmt.Sprintf("%06d.sst", id)] = true
	}
	return names, nil
}

// missingTables compares the MANIFEST's tables with the files.
func missingTables(dir string, seen map[string]bool) ([]Finding, error) {
	path := filepath.Join(dir, "MANIFEST")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if len(seen) > 1 && seen["KEYREGISTRY"] {
			return []Finding{{path, -1, "missing beside the other files of a database"}}, nil
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Finding
	tables, _ := parseManifest(path, b, false)
	for id := range tables {
		if name := fmt.Sprintf("%06d.sst", id); !seen[name] {
			found = append(found, Finding{filepath.Join(dir, name), -1, "the MANIFEST names this table, the file is missing"})
		}
	}
	return found, nil
}
