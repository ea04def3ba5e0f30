package broker

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"strings"

	"github.com/millstream-io/millstream/log/vfs"
)

// checksumsFile holds the CRC-32C of the root's other files at a clean close.
// Kafka's checkpoint files have none of their own, and a wrong digit in them
// reads like a right one. It counts only beside the mark of a clean shutdown.
// docs/format/data-directory.md, "millstream.checksums".
const checksumsFile = "millstream.checksums"

// summedFiles are the files that stand in it.
var summedFiles = append([]string{propertiesFile, metadataFile, kafkaMetaFile}, checkpointFiles...)

// writeChecksums sums the files of the root, in a fixed order; one that is not there has no line.
func writeChecksums(fsys vfs.FS, dir string) error {
	var w bytes.Buffer
	for _, name := range summedFiles {
		b, err := readFile(fsys, path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(&w, "%08x %d %s\n", crc32.Checksum(b, castagnoli), len(b), name)
	}
	fmt.Fprintf(&w, "%08x end\n", crc32.Checksum(w.Bytes(), castagnoli))
	return writeFile(fsys, path.Join(dir, checksumsFile), w.Bytes())
}

// parseChecksums gives name to line, the line without its name.
func parseChecksums(b []byte) (map[string]string, error) {
	at := bytes.LastIndexByte(bytes.TrimSuffix(b, []byte("\n")), '\n') + 1
	if want := fmt.Sprintf("%08x end\n", crc32.Checksum(b[:at], castagnoli)); string(b[at:]) != want {
		return nil, fmt.Errorf("expected the last line %q, found %.80q", want, b[at:])
	}
	sums := map[string]string{}
	for _, line := range strings.Split(strings.TrimSuffix(string(b[:at]), "\n"), "\n") {
		i := strings.LastIndexByte(line, ' ')
		if i < 0 {
			return nil, fmt.Errorf("expected lines of checksum, size and name, found %.80q", line)
		}
		sums[line[i+1:]] = line[:i]
	}
	return sums, nil
}

// checksums compares the root's files with their checksums, after a clean
// shutdown. It comes last: what was found by structure has its place named already.
func (v *verifier) checksums() {
	if !v.sum.Clean || v.o.Live {
		return
	}
	text := v.read(checksumsFile, false)
	if text == nil {
		return
	}
	sums, err := parseChecksums(text)
	if err != nil {
		v.add(checksumsFile, 0, "%v", err)
		return
	}
	for _, name := range summedFiles {
		b, err := readFile(v.fs, path.Join(v.dir, name))
		found := fmt.Sprintf("%08x %d", crc32.Checksum(b, castagnoli), len(b))
		switch want, ok := sums[name]; {
		case v.reported[name]:
		case errors.Is(err, fs.ErrNotExist) && !ok:
		case err != nil:
			v.add(name, -1, "cannot be read: %v", err)
		case !ok:
			v.add(name, -1, "made since the clean shutdown")
		case found != want:
			v.add(name, -1, "checksum and size %s, expected %s: changed since the clean shutdown", found, want)
		}
	}
}
