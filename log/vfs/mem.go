package vfs

import (
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows what a power cut may take.
//
// Every file has its live bytes, the bytes as of its last Sync, and the writes
// and truncations since. Every directory has its live entries, the entries as
// of its last SyncDir, and, in one list for the whole file system, the
// creations, renames, links and removals since. CrashClone makes a disk from these.
//
// Names are taken from one root: "a/b" and "/a/b" are the same.
type Mem struct {
	mu      sync.RWMutex
	root    *memNode
	pending []dirOp           // not durable yet, oldest first
	locks   map[string]string // clean name of the lock file -> owner
	gates   map[string]*sync.RWMutex
}

// memNode is a file or a directory.
//
// Invariant: a directory has both maps, a file has none.
// Invariant: applying writes to synced gives live.
type memNode struct {
	live, synced bytesCOW // of a file
	writes       []fileOp // since the last Sync, oldest first

	entries map[string]*memNode // of a directory: as programs see it
	durable map[string]*memNode // as of the last SyncDir
}

// fileOp is a write of data at off, or with nil data a change of length to off.
type fileOp struct {
	off  int64
	data []byte
}

func (op fileOp) apply(b *bytesCOW) {
	if op.data == nil {
		b.truncate(op.off)
		return
	}
	b.writeAt(op.data, op.off)
}

// dirOp changes one or two directory entries as one: a rename has two.
type dirOp []entryChange

type entryChange struct {
	dir  *memNode
	name string
	node *memNode // nil removes the entry
}

func (op dirOp) apply(entriesOf func(*memNode) map[string]*memNode) {
	for _, c := range op {
		if c.node == nil {
			delete(entriesOf(c.dir), c.name)
		} else {
			entriesOf(c.dir)[c.name] = c.node
		}
	}
}

func liveEntries(d *memNode) map[string]*memNode    { return d.entries }
func durableEntries(d *memNode) map[string]*memNode { return d.durable }

// NewMem makes an empty file system.
func NewMem() *Mem { return &Mem{root: newMemDir(), locks: map[string]string{}} }

func newMemDir() *memNode {
	return &memNode{entries: map[string]*memNode{}, durable: map[string]*memNode{}}
}

func (n *memNode) isDir() bool { return n.entries != nil }

func clean(name string) string {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	return path.Clean(name)
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// find is the node of a clean name, nil if there is none.
func (m *Mem) find(name string) *memNode {
	n := m.root
	for rest := name[1:]; rest != "" && n != nil; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		if !n.isDir() {
			return nil
		}
		n = n.entries[part]
	}
	return n
}

// parent is the directory that holds (or would hold) name, and the entry's name.
func (m *Mem) parent(op, name string) (*memNode, string, error) {
	dir, base := path.Split(clean(name))
	d := m.find(path.Clean(dir))
	switch {
	case d == nil:
		return nil, "", pathError(op, name, fs.ErrNotExist)
	case !d.isDir():
		return nil, "", pathError(op, name, syscall.ENOTDIR)
	case base == "":
		return nil, "", pathError(op, name, fs.ErrInvalid)
	}
	return d, base, nil
}

// change does a directory operation; it is durable after SyncDir only.
func (m *Mem) change(changes ...entryChange) {
	op := dirOp(changes)
	op.apply(liveEntries)
	m.pending = append(m.pending, op)
}

// Create makes or truncates a file. Both are undone by a crash before SyncDir
// and Sync, respectively.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.createNode("open", name)
	if err != nil {
		return nil, err
	}
	n.truncate(0)
	return &memFile{fs: m, node: n, name: name, writable: true}, nil
}

func (m *Mem) createNode(op, name string) (*memNode, error) {
	dir, base, err := m.parent(op, name)
	if err != nil {
		return nil, err
	}
	n := dir.entries[base]
	if n == nil {
		n = &memNode{}
		m.change(entryChange{dir, base, n})
	}
	if n.isDir() {
		return nil, pathError(op, name, syscall.EISDIR)
	}
	return n, nil
}

// Open opens a file for reading.
func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

// OpenReadWrite opens a file for reading and writing.
func (m *Mem) OpenReadWrite(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, writable bool) (File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := m.find(clean(name))
	if n == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	if n.isDir() {
		return nil, pathError("open", name, syscall.EISDIR)
	}
	return &memFile{fs: m, node: n, name: name, writable: writable}, nil
}

// Remove deletes a file or an empty directory; open files stay usable.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent("remove", name)
	if err != nil {
		return err
	}
	n := dir.entries[base]
	if n == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if len(n.entries) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.change(entryChange{dir, base, nil})
	return nil
}

// RemoveAll deletes a tree, leaves first, as the operating system's does.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.find(clean(name)) == nil {
		return nil
	}
	dir, base, err := m.parent("remove", name)
	if err != nil {
		return err
	}
	m.removeTree(dir, base)
	return nil
}

func (m *Mem) removeTree(dir *memNode, base string) {
	n := dir.entries[base]
	for _, child := range sortedNames(n.entries) {
		m.removeTree(n, child)
	}
	m.change(entryChange{dir, base, nil})
}

// Rename moves a file or directory in one step, over a file or an empty directory.
func (m *Mem) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, oldbase, err := m.parent("rename", oldname)
	if err != nil {
		return err
	}
	to, newbase, err := m.parent("rename", newname)
	if err != nil {
		return err
	}
	n, target := from.entries[oldbase], to.entries[newbase]
	switch {
	case n == nil:
		return pathError("rename", oldname, fs.ErrNotExist)
	case n == target:
		return nil
	case n.isDir() && strings.HasPrefix(clean(newname), clean(oldname)+"/"):
		return pathError("rename", newname, syscall.EINVAL)
	case target != nil && target.isDir() && !n.isDir():
		return pathError("rename", newname, syscall.EEXIST)
	case target != nil && !target.isDir() && n.isDir():
		return pathError("rename", newname, syscall.ENOTDIR)
	case target != nil && len(target.entries) > 0:
		return pathError("rename", newname, syscall.ENOTEMPTY)
	}
	m.change(entryChange{from, oldbase, nil}, entryChange{to, newbase, n})
	return nil
}

// Link gives a file another name.
func (m *Mem) Link(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(clean(oldname))
	if n == nil {
		return pathError("link", oldname, fs.ErrNotExist)
	}
	if n.isDir() {
		return pathError("link", oldname, fs.ErrPermission)
	}
	dir, base, err := m.parent("link", newname)
	if err != nil {
		return err
	}
	if dir.entries[base] != nil {
		return pathError("link", newname, fs.ErrExist)
	}
	m.change(entryChange{dir, base, n})
	return nil
}

// MkdirAll makes a directory and its parents.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for rest := clean(name)[1:]; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := n.entries[part]
		if next == nil {
			next = newMemDir()
			m.change(entryChange{n, part, next})
		}
		if !next.isDir() {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// ReadDir lists a directory.
func (m *Mem) ReadDir(name string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.dir("open", name)
	if err != nil {
		return nil, err
	}
	return sortedNames(n.entries), nil
}

func (m *Mem) dir(op, name string) (*memNode, error) {
	n := m.find(clean(name))
	if n == nil {
		return nil, pathError(op, name, fs.ErrNotExist)
	}
	if !n.isDir() {
		return nil, pathError(op, name, syscall.ENOTDIR)
	}
	return n, nil
}

// Stat describes a file or directory.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := m.find(clean(name))
	if n == nil {
		return nil, pathError("stat", name, fs.ErrNotExist)
	}
	return memInfo{name: path.Base(clean(name)), size: int64(len(n.live.b)), dir: n.isDir()}, nil
}

// SyncDir makes the entries of a directory durable. A rename to or from
// another directory is one step of the journal, so it takes the other
// directory's earlier operations along; nothing else becomes durable.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.dir("sync", name)
	if err != nil {
		return err
	}
	reach := map[*memNode]int{n: len(m.pending)} // directory -> its operations before this index
	for i := len(m.pending) - 1; i >= 0; i-- {
		if !m.pending[i].within(reach, i) {
			continue
		}
		for _, c := range m.pending[i] {
			reach[c.dir] = max(reach[c.dir], i+1)
		}
	}
	var kept []dirOp
	for i, op := range m.pending {
		if op.within(reach, i) {
			op.apply(durableEntries)
		} else {
			kept = append(kept, op)
		}
	}
	m.pending = kept
	return nil
}

func (op dirOp) within(reach map[*memNode]int, i int) bool {
	for _, c := range op {
		if i < reach[c.dir] {
			return true
		}
	}
	return false
}

// FreeBytes is a tebibyte, always: full disks are Faulty's.
func (m *Mem) FreeBytes(name string) (uint64, error) {
	if _, err := m.Stat(name); err != nil {
		return 0, err
	}
	return 1 << 40, nil
}

// TotalBytes are two tebibytes, always.
func (m *Mem) TotalBytes(name string) (uint64, error) {
	n, err := m.FreeBytes(name)
	return 2 * n, err
}

// Lock takes a lock that other holders of this Mem see. A CrashClone has none:
// the process that held it is gone.
func (m *Mem) Lock(name, owner string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := clean(name)
	if holder, ok := m.locks[key]; ok {
		return nil, &LockedError{Name: name, Owner: holder}
	}
	n, err := m.createNode("lock", name)
	if err != nil {
		return nil, err
	}
	n.truncate(0)
	n.write([]byte(owner+"\n"), 0)
	m.locks[key] = owner
	return &memLock{fs: m, key: key}, nil
}

type memLock struct {
	fs   *Mem
	key  string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.fs.mu.Lock()
		defer l.fs.mu.Unlock()
		delete(l.fs.locks, l.key)
	})
	return nil
}

// memInfo is what Stat says; there are no modes and times worth telling.
type memInfo struct {
	name string
	size int64
	dir  bool
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) Sys() any           { return nil }
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

func sortedNames(entries map[string]*memNode) []string { return slices.Sorted(maps.Keys(entries)) }
