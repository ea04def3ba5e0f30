package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"sync"

	"github.com/millstream-io/millstream/streams/state"
)

// journalName is the file that remembers which checkpoints were acknowledged;
// docs/format/badger.md, "CHECKPOINTS".
const journalName = "CHECKPOINTS"

const journalEntry = 4 + 8 + 4 // task, sequence number, CRC32C of both

// journal notes each finished checkpoint after Badger has made it durable.
// Badger cuts a damaged WAL at the damage without a word, and with it may drop
// checkpoints that the log's cleaner already relies on (I2); the journal is how
// that is seen. It is not synced: after a power cut it may be older than
// Badger, never newer, and only newer would be a loss.
type journal struct {
	mu sync.Mutex
	f  *os.File
}

// readJournal returns the last sequence number of each task. bad lists the
// offsets of entries that are not whole.
func readJournal(path string) (last map[state.TaskKey]uint64, bad []int64, err error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	last, bad = parseJournal(b)
	return last, bad, nil
}

func parseJournal(b []byte) (last map[state.TaskKey]uint64, bad []int64) {
	last = map[state.TaskKey]uint64{}
	for off := 0; off < len(b); off += journalEntry {
		if len(b)-off < journalEntry {
			bad = append(bad, int64(off))
			break
		}
		e := b[off : off+journalEntry]
		if crc32.Checksum(e[:12], castagnoli) != binary.BigEndian.Uint32(e[12:]) {
			bad = append(bad, int64(off))
			continue
		}
		last[state.TaskKey(binary.BigEndian.Uint32(e))] = binary.BigEndian.Uint64(e[4:])
	}
	return last, bad
}

// openJournal starts the file anew with one entry per task.
func openJournal(path string, last map[state.TaskKey]uint64) (*journal, error) {
	var b []byte
	for t, seq := range last {
		b = appendJournal(b, t, seq)
	}
	if err := replaceFile(path, b); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{f: f}, nil
}

func appendJournal(b []byte, t state.TaskKey, seq uint64) []byte {
	n := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(t))
	b = binary.BigEndian.AppendUint64(b, seq)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[n:], castagnoli))
}

// note appends one entry; sequence number 0 says that the task was wiped.
func (j *journal) note(t state.TaskKey, seq uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.f.Write(appendJournal(nil, t, seq)); err != nil {
		return fmt.Errorf("cannot note a checkpoint: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.f.Close()
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
