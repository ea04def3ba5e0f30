package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	lockName   = "millstream.lock"
	formatName = "FORMAT"
	sumsName   = "CHECKSUMS"

	formatPrefix = "millstream state, format "
	formatText   = formatPrefix + "1\n"
)

// checkFormat reads FORMAT, and writes it into a directory that has none and no
// database either.
func checkFormat(dir string) error {
	path := filepath.Join(dir, formatName)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); err == nil {
			return corrupt(path, "missing beside a MANIFEST")
		}
		if err := replaceFile(path, []byte(formatText)); err != nil {
			return openError(dir, err)
		}
		return nil
	case err != nil:
		return openError(dir, err)
	case string(b) == formatText:
		return nil
	case strings.HasPrefix(string(b), formatPrefix) && strings.HasSuffix(string(b), "\n"):
		return fmt.Errorf("state directory %s is %w: %q, this program knows %q; use the version that wrote it, or delete the directory, the state is rebuilt from the changelogs", dir, ErrFormat, strings.TrimSpace(string(b)), strings.TrimSpace(formatText))
	}
	return corrupt(path, "%q, expected %q", b, formatText)
}

// summed lists the files that CHECKSUMS covers: all but itself, the locks and
// what a cut write left.
func summed(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		switch name := e.Name(); {
		case name == sumsName, name == lockName, name == "LOCK", strings.HasSuffix(name, ".tmp"), e.IsDir():
		default:
			names = append(names, name)
		}
	}
	return names, nil
}

// writeSums writes CHECKSUMS: a line for each file (CRC32C, size, name), then
// the CRC32C of those lines.
func writeSums(dir string) error {
	names, err := summed(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range names {
		crc, size, err := sumFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%08x %d %s\n", crc, size, name)
	}
	fmt.Fprintf(&b, "%08x end\n", crc32.Checksum([]byte(b.String()), castagnoli))
	return replaceFile(filepath.Join(dir, sumsName), []byte(b.String()))
}

func sumFile(path string) (crc uint32, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }()
	h := crc32.New(castagnoli)
	size, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 256<<10))
	return h.Sum32(), size, err
}

// fileSum is a line of CHECKSUMS.
type fileSum struct {
	crc  uint32
	size int64
}

// readSums reads CHECKSUMS. ok is false if there is none.
func readSums(dir string) (sums map[string]fileSum, ok bool, finding *Finding, err error) {
	path := filepath.Join(dir, sumsName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil, nil
	}
	if err != nil {
		return nil, false, nil, err
	}
	sums, finding = parseSums(path, b)
	return sums, true, finding, nil
}

func parseSums(path string, b []byte) (map[string]fileSum, *Finding) {
	const tail = len("00000000 end\n")
	if len(b) < tail || string(b[len(b)-tail:]) != fmt.Sprintf("%08x end\n", crc32.Checksum(b[:len(b)-tail], castagnoli)) {
		return nil, &Finding{path, 0, "the file does not match its own checksum in the last line"}
	}
	sums := map[string]fileSum{}
	for line := range strings.Lines(string(b[:len(b)-tail])) {
		var s fileSum
		var name string
		if _, err := fmt.Sscanf(line, "%08x %d %s", &s.crc, &s.size, &name); err != nil {
			return nil, &Finding{path, 0, fmt.Sprintf("line %q: %v", line, err)}
		}
		sums[name] = s
	}
	return sums, nil
}

func be32(b []byte) int64 { return int64(binary.BigEndian.Uint32(b)) }
