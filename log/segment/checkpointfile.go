package segment

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// The text files of docs/format/checkpoint-files.md: a version line, a count
// line, and one line per entry; or, for partition.metadata, two named lines.

const checkpointVersion = "0"

// parseCheckpoint gives the entry lines, split into fields, with the position of each line.
func parseCheckpoint(path string, b []byte, fields int) (rows [][]string, err error) {
	if len(b) == 0 || b[len(b)-1] != '\n' {
		return nil, formatError(path, int64(len(b)), "a final line feed", "end of file")
	}
	lines := strings.Split(string(b[:len(b)-1]), "\n")
	if lines[0] != checkpointVersion {
		return nil, formatError(path, 0, "version 0", strconv.Quote(lines[0]))
	}
	pos := int64(len(lines[0]) + 1)
	if len(lines) < 2 {
		return nil, formatError(path, pos, "a count", "end of file")
	}
	n, err := parseNumber[int64](lines[1])
	if err != nil || n != int64(len(lines)-2) {
		return nil, formatError(path, pos, fmt.Sprintf("the count %d", len(lines)-2), strconv.Quote(lines[1]))
	}
	pos += int64(len(lines[1]) + 1)
	for _, line := range lines[2:] {
		row := strings.Split(line, " ")
		if len(row) != fields {
			return nil, formatError(path, pos, fmt.Sprintf("%d fields", fields), strconv.Quote(line))
		}
		rows = append(rows, row)
		pos += int64(len(line) + 1)
	}
	return rows, nil
}

// parseNumber reads a number only in the one form in which it is written.
func parseNumber[T ~int32 | ~int64](s string) (T, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, err
	}
	if v := T(n); int64(v) == n && strconv.FormatInt(n, 10) == s && n >= 0 {
		return v, nil
	}
	return 0, fmt.Errorf("%q is not a number in canonical form", s)
}

// ReadOffsetCheckpoint reads one of the root's checkpoint files (docs/format/checkpoint-files.md); a missing one
// gives fs.ErrNotExist, a malformed one *FormatError.
func ReadOffsetCheckpoint(fs vfs.FS, path string) (map[record.TopicPartition]record.Offset, error) {
	b, err := readFile(fs, path)
	if err != nil {
		return nil, err
	}
	return parseOffsetCheckpoint(path, b)
}

func parseOffsetCheckpoint(path string, b []byte) (map[record.TopicPartition]record.Offset, error) {
	rows, err := parseCheckpoint(path, b, 3)
	if err != nil {
		return nil, err
	}
	offsets := make(map[record.TopicPartition]record.Offset, len(rows))
	for i, row := range rows {
		p, perr := parseNumber[record.Partition](row[1])
		o, oerr := parseNumber[record.Offset](row[2])
		tp := record.TopicPartition{Topic: row[0], Partition: p}
		if _, twice := offsets[tp]; perr != nil || oerr != nil || twice || row[0] == "" {
			return nil, formatError(path, int64(i), "topic, partition, offset, each partition once", strings.Join(row, " "))
		}
		offsets[tp] = o
	}
	return offsets, nil
}

// WriteOffsetCheckpoint replaces a root checkpoint file atomically and durably.
func WriteOffsetCheckpoint(fs vfs.FS, path string, offsets map[record.TopicPartition]record.Offset) error {
	var w bytes.Buffer
	fmt.Fprintf(&w, "%s\n%d\n", checkpointVersion, len(offsets))
	keys := make([]record.TopicPartition, 0, len(offsets))
	for tp := range offsets {
		keys = append(keys, tp)
	}
	slices.SortFunc(keys, func(a, b record.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for _, tp := range keys {
		fmt.Fprintf(&w, "%s %d %d\n", tp.Topic, tp.Partition, offsets[tp])
	}
	return replaceFile(fs, path, w.Bytes())
}

// parseMetadata reads a partition.metadata file: the topic id.
func parseMetadata(path string, b []byte) (id [16]byte, err error) {
	rest, ok := bytes.CutPrefix(b, []byte("version: 0\n"))
	if !ok {
		return id, formatError(path, 0, "version: 0", strconv.Quote(firstLine(b)))
	}
	value, ok := bytes.CutPrefix(rest, []byte("topic_id: "))
	if !ok {
		return id, formatError(path, 11, "topic_id: ", strconv.Quote(firstLine(rest)))
	}
	text := strings.TrimSuffix(string(value), "\n")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(id) || strings.ContainsAny(text, "\r\n") {
		return id, formatError(path, 21, "22 characters of base64", strconv.Quote(text))
	}
	copy(id[:], raw)
	return id, nil
}

func formatMetadata(id [16]byte) []byte {
	return []byte("version: 0\ntopic_id: " + base64.RawURLEncoding.EncodeToString(id[:]))
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b[:min(len(b), 80)], []byte("\n"))
	return string(line)
}

// readFile reads a small file whole.
func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if size == 0 {
		return b, nil
	}
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// writeFile writes a small file whole, without a sync of its directory.
func writeFile(fs vfs.FS, path string, b []byte, sync bool) error {
	f, err := fs.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// replaceFile writes path+".tmp", syncs it, renames it and syncs the directory.
func replaceFile(fs vfs.FS, path string, b []byte) error {
	tmp := path + suffixTmp
	if err := writeFile(fs, tmp, b, true); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := fs.Rename(tmp, path); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}
