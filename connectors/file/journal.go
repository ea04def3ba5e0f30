package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millstream-io/millstream/log/record"
)

// journal is the file that says what a partition's files hold:
//
//	magic     8 bytes "msfiles1"
//	topic     16 bytes, its ID
//	entries, of which the last whole one counts:
//	  next    8 bytes big-endian
//	  first   8 bytes
//	  size    8 bytes
//	  open    1 byte
//	  crc     4 bytes, CRC-32C of the 25 before
//
// Each entry is on the disk before what it says is acknowledged.
type journal struct {
	f    *os.File
	size int64
	last entry
}

const (
	journalMagic  = "msfiles1"
	journalHeader = 8 + 16
	entryBytes    = 8 + 8 + 8 + 1 + 4
	// journalMost is the size at which a journal begins anew.
	journalMost = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal reads a journal, or makes one.
func openJournal(path string, topic [16]byte) (*journal, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) < journalHeader {
		if err := writeJournal(path, topic, entry{}); err != nil {
			return nil, err
		}
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	if len(b) < journalHeader || string(b[:8]) != journalMagic {
		return nil, fmt.Errorf("%s is no journal of a file sink: give a directory of its own", path)
	}
	if [16]byte(b[8:journalHeader]) != topic {
		return nil, fmt.Errorf("%w (%s): it was deleted and made again, or is of another log; give another directory, or move the old files away with their journals (.*.journal)", ErrOtherTopic, path)
	}
	j := &journal{size: journalHeader}
	for rest := b[journalHeader:]; len(rest) >= entryBytes; rest = rest[entryBytes:] {
		e, ok := parseEntry(rest)
		if !ok {
			break // torn by a crash, and never acknowledged
		}
		j.last = e
		j.size += entryBytes
	}
	if j.f, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
		return nil, err
	}
	if err := j.f.Truncate(j.size); err != nil {
		j.f.Close()
		return nil, err
	}
	return j, nil
}

func parseEntry(b []byte) (e entry, ok bool) {
	e.next = record.Offset(binary.BigEndian.Uint64(b))
	e.first = record.Offset(binary.BigEndian.Uint64(b[8:]))
	e.size = int64(binary.BigEndian.Uint64(b[16:]))
	e.open = b[24] != 0
	return e, binary.BigEndian.Uint32(b[25:]) == crc32.Checksum(b[:25], castagnoli)
}

func (e entry) append(dst []byte) []byte {
	n := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.next))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.first))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.size))
	open := byte(0)
	if e.open {
		open = 1
	}
	dst = append(dst, open)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[n:], castagnoli))
}

// writeJournal makes a journal with one entry, whole or not at all.
func writeJournal(path string, topic [16]byte, e entry) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".journal-*.tmp")
	if err != nil {
		return err
	}
	b := e.append(append([]byte(journalMagic), topic[:]...))
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// append adds an entry and makes sure that it is on the disk.
func (j *journal) append(e entry) error {
	if j.size >= journalMost {
		if err := j.renew(e); err != nil {
			return err
		}
		j.last = e
		return nil
	}
	if _, err := j.f.WriteAt(e.append(nil), j.size); err != nil {
		return err
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	j.size += entryBytes
	j.last = e
	return nil
}

// renew begins the journal anew with one entry.
func (j *journal) renew(e entry) error {
	var head [journalHeader]byte
	in, err := os.Open(j.f.Name())
	if err != nil {
		return err
	}
	_, err = io.ReadFull(in, head[:])
	if err = errors.Join(err, in.Close()); err != nil {
		return err
	}
	if err := writeJournal(j.f.Name(), [16]byte(head[8:]), e); err != nil {
		return err
	}
	f, err := os.OpenFile(j.f.Name(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	old := j.f
	j.f, j.size = f, journalHeader+entryBytes
	return old.Close()
}

func (j *journal) close() error { return j.f.Close() }
