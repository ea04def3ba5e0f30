package broker

import (
	"path"

	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// reserveFile holds disk space for one more form of the metadata, so that an
// operator can delete topics and change configurations when the disk is full.
// Its blocks become those of the metadata file: nothing has to be allocated,
// and no append can take them first. docs/format/data-directory.md,
// "millstream.reserve".
const reserveFile = "millstream.reserve"

// reserveUnit is what the reserve is a multiple of.
const reserveUnit = 16 << 10

// reserveFor is the size of the reserve for metadata of that size: room for it to grow by half.
func reserveFor(size int) int64 {
	return int64((size+size/2)/reserveUnit+1) * reserveUnit
}

// reserve is the space that is held. Guarded by Broker.metaMu.
type reserve struct {
	bytes  int64 // of the file; 0: there is none
	wanted int64
}

// openReserve makes the reserve at the start, or takes over that of the process before.
func (b *Broker) openReserve() {
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	if content, err := encodeMetadata(b.meta); err == nil {
		b.reserve.wanted = reserveFor(len(content))
		_ = b.keepReserve()
	}
}

// keepReserve makes the reserve as large as it should be. What fails is told, and
// is no reason to refuse anything: the next write of the metadata tries again, and
// without space afterFullDisk, which wants to know. b.metaMu is held.
func (b *Broker) keepReserve() error {
	err := b.fillReserve()
	if err != nil && !segment.NoSpace(err) {
		b.cfg.Logger.Warn("no space is held for the metadata of a full disk", "dir", b.cfg.Dir, "err", err)
	}
	return err
}

func (b *Broker) fillReserve() error {
	r := &b.reserve
	if r.bytes >= r.wanted {
		return nil
	}
	name := path.Join(b.cfg.Dir, reserveFile)
	if r.bytes == 0 {
		if f, err := b.fs.Open(name); err == nil { // of the process before
			r.bytes, err = f.Size()
			_ = f.Close()
			if err == nil && r.bytes >= r.wanted {
				return nil
			}
		}
	}
	r.bytes = 0
	// Written, not preallocated: every file system keeps its promise about these blocks.
	if err := writeZeros(b.fs, name, r.wanted); err != nil {
		_ = b.fs.Remove(name)
		return err
	}
	r.bytes = r.wanted
	return nil
}

func writeZeros(fsys vfs.FS, name string, size int64) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, size), 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// spendReserve makes the reserve the metadata file, with this content: its
// bytes are overwritten in place, its rest cut off, and its name replaced. A
// crash before the renaming leaves the metadata as it was. b.metaMu is held.
func (b *Broker) spendReserve(content []byte) error {
	name := path.Join(b.cfg.Dir, reserveFile)
	b.reserve.bytes = 0
	f, err := b.fs.OpenReadWrite(name)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Truncate(int64(len(content)))
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = b.fs.Rename(name, path.Join(b.cfg.Dir, metadataFile))
	}
	if err == nil {
		err = b.fs.SyncDir(b.cfg.Dir)
	}
	return err
}

// replaceMetadata writes the metadata file. b.metaMu is held.
func (b *Broker) replaceMetadata(m *metadata) error {
	content, err := encodeMetadata(m)
	if err != nil {
		return err
	}
	b.reserve.wanted = reserveFor(len(content))
	if err := writeFile(b.fs, path.Join(b.cfg.Dir, metadataFile), content); err != nil {
		return err
	}
	_ = b.keepReserve()
	return nil
}

// replaceMetadataAnyway is replaceMetadata, on a full disk out of the reserve. b.metaMu is held.
func (b *Broker) replaceMetadataAnyway(m *metadata) error {
	err := b.replaceMetadata(m)
	if !segment.NoSpace(err) || b.reserve.bytes == 0 {
		return err
	}
	content, encoding := encodeMetadata(m)
	if encoding != nil || b.reserve.bytes < int64(len(content)) {
		return err
	}
	_ = b.fs.Remove(path.Join(b.cfg.Dir, metadataFile+".tmp"))
	if b.spendReserve(content) != nil {
		return err
	}
	b.cfg.Logger.Warn("the disk is full: the metadata is written out of its reserve", "dir", b.cfg.Dir)
	_ = b.keepReserve() // the metadata before has made room for another, unless somebody was faster
	return nil
}
