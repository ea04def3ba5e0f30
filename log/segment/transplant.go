package segment

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Transplanted describes a partition that was copied to another broker's directory.
type Transplanted struct {
	Start, End    record.Offset
	Batches       int64
	Records       int64 // markers among them
	Bytes         int64 // of batches
	MaxProducerID record.ProducerID
}

// OpenTransactionError refuses to copy a partition in which a transaction is
// open: on the other side nobody could end it.
type OpenTransactionError struct {
	Dir        string
	ProducerID record.ProducerID
	First      record.Offset
}

func (e *OpenTransactionError) Error() string {
	return fmt.Sprintf("%s: producer %d has a transaction open since offset %d: commit or abort it first (its producer, or millstream serve until the transaction times out)", e.Dir, e.ProducerID, e.First)
}

// Transplant copies the files of a partition that nobody has open from src to a
// new directory dst, as another broker can take them over: with the topic id
// given, every batch in leader epoch 0, one epoch in the checkpoint, and no
// producers remembered, because the other side hands out producer ids of its
// own. What is below start was deleted. Every batch is checked (*CorruptionError).
// What was written is durable when it returns; after an error dst is of no use.
func Transplant(fsys vfs.FS, src, dst string, start record.Offset, id [16]byte) (Transplanted, error) {
	t := transplant{fs: fsys, src: src, dst: dst, open: map[record.ProducerID]record.Offset{}}
	t.sum = Transplanted{Start: start, MaxProducerID: record.NoProducerID}
	if err := t.run(id); err != nil {
		return t.sum, err
	}
	return t.sum, nil
}

type transplant struct {
	fs       vfs.FS
	src, dst string
	sum      Transplanted
	open     map[record.ProducerID]record.Offset // transactions
}

func (t *transplant) run(id [16]byte) error {
	names, err := t.fs.ReadDir(t.src)
	if err != nil {
		return err
	}
	slices.Sort(names)
	if err := t.fs.MkdirAll(t.dst); err != nil {
		return err
	}
	first := true
	for _, name := range names {
		base, suffix, ok := parseName(name)
		switch {
		case !ok:
			continue
		case suffix == suffixLog:
			if first && t.sum.Start < base {
				t.sum.Start = base
			}
			first = false
			if err := t.log(name, base); err != nil {
				return err
			}
		case suffix == suffixIndex, suffix == suffixTime, suffix == suffixTxn:
			if err := t.copy(name); err != nil {
				return err
			}
		case suffix == suffixCleaned, suffix == suffixSwap:
			return fmt.Errorf("%s: left over from a crash: start its broker once and stop it", filepath.Join(t.src, name))
		}
	}
	if first {
		return fmt.Errorf("%s holds no segment", t.src)
	}
	for producer, at := range t.open {
		return &OpenTransactionError{Dir: t.src, ProducerID: producer, First: at}
	}
	return t.finish(id)
}

// log copies a segment batch by batch.
func (t *transplant) log(name string, base record.Offset) error {
	if base < t.sum.End {
		return &CorruptionError{Path: filepath.Join(t.src, name), Offset: base, Err: fmt.Errorf("the segment before ends at %d", t.sum.End)}
	}
	t.sum.End = base
	in, err := t.fs.Open(filepath.Join(t.src, name))
	if err != nil {
		return err
	}
	defer in.Close()
	size, err := in.Size()
	if err != nil {
		return err
	}
	out, err := t.fs.Create(filepath.Join(t.dst, name))
	if err != nil {
		return err
	}
	defer out.Close()
	for sc := newScanner(in, 0, size); ; {
		h, raw, at, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && h.BaseOffset < t.sum.End {
			err = fmt.Errorf("base offset %d, expected at least %d", h.BaseOffset, t.sum.End)
		}
		if err != nil {
			return &CorruptionError{Path: filepath.Join(t.src, name), Offset: t.sum.End, Pos: at, Err: err}
		}
		t.note(&h)
		record.SetLeaderEpoch(raw, 0)
		if _, err := out.WriteAt(raw, at); err != nil {
			return err
		}
	}
	return out.Sync()
}

func (t *transplant) note(h *record.BatchHeader) {
	t.sum.End = h.NextOffset()
	t.sum.Batches++
	t.sum.Records += int64(h.Count)
	t.sum.Bytes += int64(h.Size())
	t.sum.MaxProducerID = max(t.sum.MaxProducerID, h.ProducerID)
	switch _, open := t.open[h.ProducerID]; {
	case h.Control():
		delete(t.open, h.ProducerID)
	case h.Transactional() && !open:
		t.open[h.ProducerID] = h.BaseOffset
	}
}

func (t *transplant) copy(name string) error {
	b, err := readFile(t.fs, filepath.Join(t.src, name))
	if err != nil {
		return err
	}
	return writeFile(t.fs, filepath.Join(t.dst, name), b, true)
}

// finish writes the partition's small files.
func (t *transplant) finish(id [16]byte) error {
	t.sum.Start = min(t.sum.Start, t.sum.End)
	var e epochs
	if t.sum.Batches > 0 {
		e.assign(0, t.sum.Start)
	}
	for name, b := range map[string][]byte{
		filepath.Join(t.dst, nameEpochs):           e.format(),
		filepath.Join(t.dst, nameMetadata):         formatMetadata(id),
		fileName(t.dst, t.sum.End, suffixSnapshot): appendSnapshot(nil, nil),
	} {
		if err := writeFile(t.fs, name, b, true); err != nil {
			return err
		}
	}
	return t.fs.SyncDir(t.dst)
}

// PartitionTopicID reads the topic id that a partition's directory says it is of.
func PartitionTopicID(fsys vfs.FS, dir string) ([16]byte, error) {
	name := filepath.Join(dir, nameMetadata)
	b, err := readFile(fsys, name)
	if err != nil {
		return [16]byte{}, err
	}
	return parseMetadata(name, b)
}
