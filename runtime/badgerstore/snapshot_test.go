package badgerstore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// snapshot is a directory's files at one instant.
type snapshot map[string]snapFile

// snapFile is a file without its trailing zeros: Badger's are sparse.
type snapFile struct {
	data []byte
	size int64
}

func takeSnapshot(t *testing.T, dir string) snapshot {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := snapshot{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		s[e.Name()] = snapFile{bytes.TrimRight(b, "\x00"), int64(len(b))}
	}
	return s
}

func (s snapshot) write(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, f := range s {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, f.data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, f.size); err != nil {
			t.Fatal(err)
		}
	}
}
