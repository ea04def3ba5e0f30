package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// metadataFile holds what the partitions' directories do not say: topics with
// their configurations, changes in progress, the next producer id.
// docs/format/data-directory.md, "millstream.metadata".
const metadataFile = "millstream.metadata"

// metadataVersion is the greatest that is known. A file is written with the
// least that has what is in it, so that an older program refuses only what it
// would lose; see version.
const metadataVersion = 2

// metadata is the file's content.
//
// Invariant: a value that a Broker's meta points to is never changed: changes
// are made to a copy, which replaces it when it is on disk (writeMeta).
type metadata struct {
	Topics []topicEntry `json:"topics"`
	// Pending are topics whose directories are being made or removed; after a
	// crash they are removed.
	Pending        []topicEntry      `json:"pending,omitempty"`
	NextProducerID record.ProducerID `json:"next_producer_id"`
	// Security holds users, access control lists and quotas; see security.go. Since version 2.
	Security *securitySection `json:"security,omitempty"`
	// Configs of resources that are no topics. Since version 2.
	Configs resourceConfigs `json:"configs,omitempty"`
}

type topicEntry struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"` // hex
	Partitions int32             `json:"partitions"`
	CreatedMS  int64             `json:"created_ms"`
	Configs    map[string]string `json:"configs,omitempty"`
	// From is, of a pending topic that grows, the first partition that is being
	// made; those before it are the topic's and stay. Since version 2.
	From int32 `json:"from,omitempty"`
}

// version is the least that has what m has.
func (m *metadata) version() int {
	if len(m.Configs) > 0 || m.Security != nil {
		return 2
	}
	for i := range m.Pending {
		if m.Pending[i].From > 0 {
			return 2
		}
	}
	return 1
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeMetadata writes one line with version and checksum, then JSON.
func encodeMetadata(m *metadata) ([]byte, error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	head := fmt.Sprintf("millstream-metadata version=%d crc32c=%08x\n", m.version(), crc32.Checksum(body, castagnoli))
	return append([]byte(head), body...), nil
}

func decodeMetadata(name string, b []byte) (*metadata, error) {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	var version int
	var crc uint32
	if !ok {
		return nil, fmt.Errorf("%s: no header line: the file is damaged", name)
	}
	if _, err := fmt.Sscanf(string(head), "millstream-metadata version=%d crc32c=%08x", &version, &crc); err != nil {
		return nil, fmt.Errorf("%s: header line %q: expected millstream-metadata version=N crc32c=HEX: the file is damaged", name, head)
	}
	if version < 1 {
		return nil, fmt.Errorf("%s: version %d: expected a number from 1: the file is damaged", name, version)
	}
	if version > metadataVersion {
		return nil, &VersionError{Path: name, Found: version, Known: metadataVersion}
	}
	if want := fmt.Sprintf("millstream-metadata version=%d crc32c=%08x", version, crc32.Checksum(body, castagnoli)); want != string(head) {
		return nil, fmt.Errorf("%s: checksum mismatch: header %q, expected %q: the file is damaged, restore it from a copy", name, head, want)
	}
	m := new(metadata)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// readMetadata reads the file; a missing one is an empty broker.
func readMetadata(fsys vfs.FS, dir string) (*metadata, error) {
	name := path.Join(dir, metadataFile)
	b, err := readFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return &metadata{NextProducerID: firstProducerID}, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeMetadata(name, b)
}

// firstProducerID as Kafka begins.
const firstProducerID record.ProducerID = 0

func writeMetadata(fsys vfs.FS, dir string, m *metadata) error {
	b, err := encodeMetadata(m)
	if err != nil {
		return err
	}
	return writeFile(fsys, path.Join(dir, metadataFile), b)
}

func readFile(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && (err != io.EOF || int64(n) < size) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// writeFile replaces a file atomically and durably: write, sync, rename, sync the directory.
func writeFile(fsys vfs.FS, name string, b []byte) error {
	tmp := name + ".tmp"
	err := func() error {
		f, err := fsys.Create(tmp)
		if err != nil {
			return err
		}
		if _, err = f.WriteAt(b, 0); err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		if err := fsys.Rename(tmp, name); err != nil {
			return err
		}
		return fsys.SyncDir(path.Dir(name))
	}()
	if err != nil {
		return fmt.Errorf("%w: writing %s: %w", ErrStorage, name, err)
	}
	return nil
}
