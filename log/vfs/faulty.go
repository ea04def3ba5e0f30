package vfs

import (
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// Op is a kind of operation, or a set of kinds.
type Op uint32

// The kinds.
const (
	OpCreate Op = 1 << iota
	OpOpen      // Open and OpenReadWrite
	OpRead
	OpWrite // WriteAt and WritevAt
	OpTruncate
	OpPreallocate
	OpSync
	OpSyncDir
	OpRemove // Remove and RemoveAll
	OpRename // by the new name
	OpLink   // by the new name
	OpMkdir
	OpReadDir
	OpStat
	OpLock
	OpFreeBytes // FreeBytes and TotalBytes

	// OpMutating are the kinds that change what a crash may leave, which hooks see.
	OpMutating = OpCreate | OpWrite | OpTruncate | OpSync | OpSyncDir | OpRemove | OpRename | OpLink | OpMkdir | OpLock
)

var opNames = []string{
	"create", "open", "read", "write", "truncate", "fallocate", "sync", "syncdir",
	"remove", "rename", "link", "mkdir", "readdir", "stat", "lock", "statfs",
}

// String names the kinds, joined by "|".
func (o Op) String() string {
	s := ""
	for i, name := range opNames {
		if o&(1<<i) == 0 {
			continue
		}
		if s != "" {
			s += "|"
		}
		s += name
	}
	return s
}

// Rule makes operations fail.
type Rule struct {
	Ops Op // the kinds it is about
	// Name is a path.Match pattern; without a slash it is matched with the last
	// element of the name, else with all of it. Empty matches every name.
	Name string
	// Nth is the one matching operation that fails, counted from 1 since the
	// rule was set; 0 fails every one.
	Nth int
	// From fails every matching operation from that one on, counted likewise; 0 is off.
	From int
	// Err is what they fail with, e.g. syscall.ENOSPC.
	Err error
	// Short is how many bytes of a write get through before it fails; of the
	// other kinds nothing does.
	Short int
}

// Event is an operation that a hook sees.
type Event struct {
	Op   Op
	Name string
	Err  error // its outcome, for the hook after it
}

// FaultFS passes operations on to another FS, fails those that its rules
// name, counts all of them, and tells hooks about those that change something.
type FaultFS struct {
	fs FS

	mu            sync.Mutex
	rules         []activeRule
	counts        map[Op]int
	before, after func(Event)
}

type activeRule struct {
	Rule
	seen int
}

// Faulty wraps an FS with fault rules. Without rules it only counts and tells.
func Faulty(inner FS, rules ...Rule) *FaultFS {
	f := &FaultFS{fs: inner, counts: map[Op]int{}}
	f.SetRules(rules...)
	return f
}

// SetRules replaces the rules; their counting begins anew. None: nothing fails.
func (f *FaultFS) SetRules(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	for _, r := range rules {
		f.rules = append(f.rules, activeRule{Rule: r})
	}
}

// SetHooks sets what is called before and after every operation of
// OpMutating, in the goroutine that does it and without any lock held, so a
// hook may take a CrashClone. Either may be nil. A hook must not use this
// FaultFS to change something: it would be called for that too.
func (f *FaultFS) SetHooks(before, after func(Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// Count is how many operations of these kinds were called, failed ones too.
func (f *FaultFS) Count(kinds Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for op, c := range f.counts {
		if op&kinds != 0 {
			n += c
		}
	}
	return n
}

// decide counts an operation and gives the first rule that fails it.
func (f *FaultFS) decide(op Op, name string) (fail *Rule, before, after func(Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	for i := range f.rules {
		r := &f.rules[i]
		if r.Ops&op == 0 || !r.matches(name) {
			continue
		}
		r.seen++
		hit := r.Nth == 0 && r.From == 0 || r.seen == r.Nth || r.From > 0 && r.seen >= r.From
		if hit && fail == nil {
			fail = &Rule{Err: r.Err, Short: r.Short}
		}
	}
	if op&OpMutating != 0 {
		before, after = f.before, f.after
	}
	return fail, before, after
}

func (r *Rule) matches(name string) bool {
	if r.Name == "" {
		return true
	}
	if !strings.Contains(r.Name, "/") {
		name = path.Base(name)
	}
	ok, err := path.Match(r.Name, name)
	return ok && err == nil
}

// do runs one operation with rules and hooks. failing is what a failing one
// still does, nil for nothing.
func (f *FaultFS) do(op Op, name string, run func() error, failing func(r *Rule) error) error {
	fail, before, after := f.decide(op, name)
	if before != nil {
		before(Event{Op: op, Name: name})
	}
	var err error
	switch {
	case fail == nil:
		err = run()
	case failing != nil:
		err = failing(fail)
	default:
		err = &fs.PathError{Op: op.String(), Path: name, Err: fail.Err}
	}
	if after != nil {
		after(Event{Op: op, Name: name, Err: err})
	}
	return err
}

func (f *FaultFS) file(op Op, name string, open func(string) (File, error)) (File, error) {
	var inner File
	err := f.do(op, name, func() (err error) { inner, err = open(name); return err }, nil)
	if err != nil {
		return nil, err
	}
	return &faultFile{fs: f, name: name, inner: inner}, nil
}

// The methods of FS.

func (f *FaultFS) Create(name string) (File, error) { return f.file(OpCreate, name, f.fs.Create) }

func (f *FaultFS) Open(name string) (File, error) { return f.file(OpOpen, name, f.fs.Open) }

func (f *FaultFS) OpenReadWrite(name string) (File, error) {
	return f.file(OpOpen, name, f.fs.OpenReadWrite)
}

func (f *FaultFS) Remove(name string) error {
	return f.do(OpRemove, name, func() error { return f.fs.Remove(name) }, nil)
}

func (f *FaultFS) RemoveAll(name string) error {
	return f.do(OpRemove, name, func() error { return f.fs.RemoveAll(name) }, nil)
}

func (f *FaultFS) Rename(oldname, newname string) error {
	return f.do(OpRename, newname, func() error { return f.fs.Rename(oldname, newname) }, nil)
}

func (f *FaultFS) Link(oldname, newname string) error {
	return f.do(OpLink, newname, func() error { return f.fs.Link(oldname, newname) }, nil)
}

func (f *FaultFS) MkdirAll(name string) error {
	return f.do(OpMkdir, name, func() error { return f.fs.MkdirAll(name) }, nil)
}

func (f *FaultFS) ReadDir(name string) (names []string, err error) {
	err = f.do(OpReadDir, name, func() (err error) { names, err = f.fs.ReadDir(name); return err }, nil)
	return names, err
}

func (f *FaultFS) Stat(name string) (info fs.FileInfo, err error) {
	err = f.do(OpStat, name, func() (err error) { info, err = f.fs.Stat(name); return err }, nil)
	return info, err
}

func (f *FaultFS) SyncDir(name string) error {
	return f.do(OpSyncDir, name, func() error { return f.fs.SyncDir(name) }, nil)
}

func (f *FaultFS) Lock(name, owner string) (lock io.Closer, err error) {
	err = f.do(OpLock, name, func() (err error) { lock, err = f.fs.Lock(name, owner); return err }, nil)
	return lock, err
}

// Gate is the gate of the file system beneath; no rule touches it.
func (f *FaultFS) Gate(name string) (Gate, error) { return f.fs.Gate(name) }

func (f *FaultFS) TotalBytes(name string) (n uint64, err error) {
	err = f.do(OpFreeBytes, name, func() (err error) { n, err = f.fs.TotalBytes(name); return err }, nil)
	return n, err
}

func (f *FaultFS) FreeBytes(name string) (n uint64, err error) {
	err = f.do(OpFreeBytes, name, func() (err error) { n, err = f.fs.FreeBytes(name); return err }, nil)
	return n, err
}
