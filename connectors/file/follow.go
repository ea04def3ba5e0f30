package file

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// How a source finds its files again. reconcile compares what it tracks with
// what is there: first by inode, which survives a rename; then by name and head;
// then by head alone. What is under no name of its own any more is detached: its
// rest is read from where it went (a rotated, copied or compressed file beside
// it, or the handle that is still open), and it is forgotten.

// seen is a file that is there.
type seen struct {
	path    string
	info    os.FileInfo
	claimed bool
}

// quietLooks is how often a detached file must be found at its end before it is
// forgotten: its writer may not have opened the new one yet.
const quietLooks = 2

// list is what is there under the source's name or pattern, in order.
func (s *Source) list(first bool) ([]seen, error) {
	paths := []string{s.cfg.Path}
	if s.cfg.Glob != "" {
		var err error
		if paths, err = filepath.Glob(s.cfg.Glob); err != nil {
			return nil, fmt.Errorf("%s: %w", s.cfg.Glob, err)
		}
		slices.Sort(paths)
	}
	var found []seen
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case info.IsDir() && s.cfg.Glob == "":
			return nil, fmt.Errorf("%s: is a directory, expected a file", p)
		case !info.Mode().IsRegular():
			continue
		}
		found = append(found, seen{path: p, info: info})
	}
	if first && len(found) == 0 && len(s.files) == 0 && !s.cfg.Tail {
		return nil, fmt.Errorf("%w %s", ErrNoMatch, s.cfg.Glob)
	}
	return found, nil
}

// reconcile brings files in line with what is there.
func (s *Source) reconcile(first bool) error {
	s.reads = 0
	found, err := s.list(first)
	if err != nil {
		return err
	}
	var lost []*tracked
	for _, t := range s.files {
		if !t.detached && !t.claim(found, sameInode) && !s.renamed(t, found) && !t.claim(found, sameName) {
			lost = append(lost, t)
		}
	}
	for _, t := range lost {
		if !t.detached && !t.claim(found, anyName) {
			s.detach(t, found)
		}
	}
	s.forget()
	for _, f := range found {
		if !f.claimed && !s.isCopy(f, found) {
			t := newTracked(f.path)
			t.info = f.info
			s.files = append(s.files, t)
		}
	}
	slices.SortStableFunc(s.files, func(a, b *tracked) int {
		return cmp.Or(strings.Compare(a.name(), b.name()), a.rank()-b.rank())
	})
	s.sizes.update(s.files)
	return nil
}

// name is the path under which a file was followed, also when it is detached.
func (t *tracked) name() string { return cmp.Or(t.was, t.place.path) }

func (t *tracked) rank() int {
	if t.detached {
		return 0
	}
	return 1
}

// How a file that is there may be the one that is tracked.
func sameInode(t *tracked, f *seen) bool { return t.info != nil && os.SameFile(t.info, f.info) }
func sameName(t *tracked, f *seen) bool  { return t.place.path == f.path }
func anyName(t *tracked, _ *seen) bool   { return t.place.head > 0 }

// claim takes the first of found that may be t and has its head.
func (t *tracked) claim(found []seen, may func(*tracked, *seen) bool) bool {
	for i := range found {
		f := &found[i]
		if f.claimed || !may(t, f) || !t.fits(f) {
			continue
		}
		f.claimed = true
		if t.place.path != f.path || t.info == nil || !os.SameFile(t.info, f.info) {
			t.moveTo(f)
		}
		t.info = f.info
		return true
	}
	return false
}

// moveTo makes f the place where t is read on.
func (t *tracked) moveTo(f *seen) {
	if t.in != nil && (t.info == nil || !os.SameFile(t.info, f.info)) {
		t.in.close()
		t.in = nil
	}
	t.place.path, t.info = f.path, f.info
	if t.in == nil {
		t.sizeAtEnd = -1
	}
}

// fits reports whether f can be the file that t is the position in.
func (t *tracked) fits(f *seen) bool {
	if t.info != nil && os.SameFile(t.info, f.info) && t.info.Size() == f.info.Size() && t.info.ModTime().Equal(f.info.ModTime()) {
		return true
	}
	c, err := openContent(f.path)
	if err != nil {
		return false
	}
	defer c.close()
	return t.check(c, f.info) == nil
}

// check compares a file with the position in it; of a new one it takes the head.
func (t *tracked) check(c *content, info os.FileInfo) error {
	const choices = "give the file of before, or another directory to begin anew"
	p := &t.place
	if !c.packed && info.Size() < p.offset {
		return fmt.Errorf("%w: %d bytes, %d were read; %s", ErrShorter, info.Size(), p.offset, choices)
	}
	want := p.head
	if p.offset == 0 && p.head == 0 {
		want = maxHead
	}
	n, hash, err := c.head(want)
	if err != nil {
		return err
	}
	if p.offset == 0 && p.head == 0 {
		p.head, p.hash = n, hash
		return nil
	}
	if n != p.head || hash != p.hash {
		return fmt.Errorf("%w: its first %d bytes are others; %s", ErrOtherHead, p.head, choices)
	}
	return nil
}

// extendHead takes what was read since into the head, while it is short.
func (t *tracked) extendHead() {
	if t.in == nil || t.in.packed || !t.in.regular || t.place.head == maxHead || t.place.offset <= int64(t.place.head) {
		return
	}
	want := int(min(t.place.offset, maxHead))
	if n, hash, err := t.in.head(want); err == nil && n == want {
		t.place.head, t.place.hash = n, hash
	}
}

// siblings are files beside the one that t was followed under, whose names begin
// with its name and that are not followed themselves, oldest first.
func (s *Source) siblings(t *tracked, found []seen) (out []seen) {
	dir, base := filepath.Split(s.listed(t))
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base) {
			continue
		}
		f := seen{path: dir + e.Name()}
		if slices.ContainsFunc(found, func(x seen) bool { return x.path == f.path }) {
			continue
		}
		if f.info, err = os.Stat(f.path); err == nil && f.info.Mode().IsRegular() {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b seen) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	return out
}

// renamed finds a file that was renamed to a sibling, by its inode.
func (s *Source) renamed(t *tracked, found []seen) bool {
	if t.info == nil {
		return false
	}
	siblings := s.siblings(t, found)
	for i := range siblings {
		if f := &siblings[i]; sameInode(t, f) && t.fits(f) {
			s.unlist(t)
			t.moveTo(f)
			return true
		}
	}
	return false
}

// unlist makes t detached.
func (s *Source) unlist(t *tracked) {
	t.detached, t.was, t.quiet = true, s.listed(t), 0
}

// listed is the name under which t was followed.
func (s *Source) listed(t *tracked) string { return cmp.Or(s.cfg.Path, t.place.path) }

// detach looks for what became of t, which is not there any more.
func (s *Source) detach(t *tracked, found []seen) {
	truncated := slices.ContainsFunc(found, func(f seen) bool { return sameInode(t, &f) })
	s.unlist(t)
	siblings := s.siblings(t, found)
	for i := range siblings {
		if f := &siblings[i]; t.place.head > 0 && t.fits(f) {
			t.moveTo(f)
			s.rotatedAfter(t, siblings[i+1:])
			return
		}
	}
	switch {
	case truncated:
		s.log.warn("the file was truncated; what stood after the offset is lost unless it is in a copy beside it", t)
		t.in.close()
		t.in, t.gone = nil, true
	case t.in == nil:
		s.log.warn("the file is gone", t)
		t.gone = true
	}
}

// rotatedAfter adds the files that were begun and rotated away while nobody
// looked: siblings with rotation's names that are newer than where t went.
func (s *Source) rotatedAfter(t *tracked, newer []seen) {
	if s.cfg.Glob != "" {
		return
	}
	for _, f := range newer {
		if !rotatedName(t.was, f.path) {
			continue
		}
		n := newTracked(f.path)
		n.info, n.detached, n.was = f.info, true, t.was
		s.files = append(s.files, n)
	}
}

// rotatedName reports whether path is what rotation calls a file of that name:
// name.1, name-20260101, name.2.gz.
func rotatedName(name, path string) bool {
	rest, ok := strings.CutPrefix(path, name)
	return ok && len(rest) > 1 && (rest[0] == '.' || rest[0] == '-') && rest[1] >= '0' && rest[1] <= '9'
}

// isCopy reports whether f is about to take the place of a file that is still
// there: it is being compressed, or copied before it is truncated.
func (s *Source) isCopy(f seen, found []seen) bool {
	for _, ext := range []string{".gz", ".zst"} {
		if plain, ok := strings.CutSuffix(f.path, ext); ok && slices.ContainsFunc(found, func(x seen) bool { return x.path == plain }) {
			return true
		}
	}
	if !s.cfg.Tail {
		return false
	}
	for _, t := range s.files {
		if t.place.head > 0 && rotatedName(t.place.path, f.path) && t.copied(&f) {
			return true
		}
	}
	return false
}

// copied reports whether f begins as t does.
func (t *tracked) copied(f *seen) bool {
	c, err := openContent(f.path)
	if err != nil {
		return false
	}
	defer c.close()
	n, hash, err := c.head(t.place.head)
	return err == nil && n == t.place.head && hash == t.place.hash
}

// forget drops the files that are finished with.
func (s *Source) forget() {
	s.files = slices.DeleteFunc(s.files, func(t *tracked) bool {
		replaced := t.in == nil || slices.ContainsFunc(s.files, func(x *tracked) bool { return !x.detached && x.place.path == t.was })
		done := t.gone || t.detached && t != s.cur && t.quiet >= quietLooks && !t.takeRest && replaced
		if !done || t == s.cur {
			return false
		}
		if s.parsing == t {
			s.parsing = nil
		}
		t.in.close()
		return true
	})
}

// countLooks counts, once a Poll, how long the files have stood still.
func (s *Source) countLooks() {
	for _, t := range s.files {
		if t.sizeAtEnd < 0 || t.size() != t.sizeAtEnd {
			continue
		}
		t.quiet++
		if t.stale++; t.partial && (t.detached || t.stale >= int(s.cfg.PartialAfter/s.cfg.Poll)) {
			t.partial, t.takeRest = false, true
		}
	}
}

// next is the first file that has something to read. A file waits until those
// that were rotated away before it are read.
func (s *Source) next() *tracked {
	blocked := map[string]bool{}
	for _, t := range s.files {
		if !t.detached && blocked[t.place.path] || t.place.gaveUp {
			continue
		}
		if t.detached {
			blocked[t.was] = true
		}
		if t.pending(s.cfg.Tail && !s.stream) {
			return t
		}
	}
	return nil
}

func (t *tracked) pending(tail bool) bool {
	switch {
	case !tail:
		return t.sizeAtEnd < 0
	case t.sizeAtEnd < 0 && t.place.complete: // since an earlier run
		t.sizeAtEnd = t.size()
		return false
	}
	return t.takeRest || t.size() != t.sizeAtEnd
}

// size is the file's size now; -1 if it is not there.
func (t *tracked) size() int64 {
	var info os.FileInfo
	var err error
	if t.in != nil && t.in.f != nil {
		info, err = t.in.f.Stat()
	} else {
		info, err = os.Stat(t.place.path)
	}
	if err != nil {
		return -1
	}
	return info.Size()
}

// closeSome keeps the number of open files bounded.
func (s *Source) closeSome(last *tracked) {
	open := 0
	for _, t := range s.files {
		if t.in == nil || t == last {
			continue
		}
		if open++; open >= maxOpen && !t.detached {
			t.in.close()
			t.in = nil
		}
	}
}

// logger is a *slog.Logger that may be missing.
type logger struct{ l *slog.Logger }

func (l logger) warn(msg string, t *tracked) {
	if l.l != nil {
		l.l.Warn(msg, "file", t.name(), "offset", t.place.offset)
	}
}
