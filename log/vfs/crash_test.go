package vfs_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/vfs"
)

func crash(m *vfs.Mem, percent int, seed uint64) *vfs.Mem {
	return m.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent, Rand: rand.New(rand.NewPCG(seed, 0))})
}

// tree lists every file with its content.
func tree(t testing.TB, fsys vfs.FS, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := fsys.ReadDir(dir)
	must(t, err)
	for _, name := range names {
		p := path.Join(dir, name)
		info, err := fsys.Stat(p)
		must(t, err)
		if info.IsDir() {
			for k, v := range tree(t, fsys, p) {
				out[k] = v
			}
			continue
		}
		out[p] = content(t, fsys, p)
	}
	return out
}

func wantTree(t testing.TB, what string, fsys vfs.FS, files ...string) {
	t.Helper()
	want := map[string]string{}
	for _, f := range files {
		name, data, _ := strings.Cut(f, "=")
		want[name] = data
	}
	if got := tree(t, fsys, "/"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func synced(t *testing.T, files ...string) *vfs.Mem {
	m := vfs.NewMem()
	for _, f := range files {
		name, data, _ := strings.Cut(f, "=")
		must(t, m.MkdirAll(path.Dir(name)))
		h := create(t, m, name, data)
		must(t, h.Sync())
		must(t, h.Close())
		for d := path.Dir(name); ; d = path.Dir(d) {
			must(t, m.SyncDir(d))
			if d == "/" {
				break
			}
		}
	}
	return m
}

func TestUnsyncedOperationsAreLostAtZeroAndKeptAtHundred(t *testing.T) {
	write := func(t *testing.T, m *vfs.Mem, name, data string, off int64) vfs.File {
		f, err := m.OpenReadWrite(name)
		must(t, err)
		_, err = f.WriteAt([]byte(data), off)
		must(t, err)
		return f
	}
	cases := []struct {
		name      string
		before    []string
		do        func(t *testing.T, m *vfs.Mem)
		lost, all []string
	}{
		{"append", []string{"/f=abc"}, func(t *testing.T, m *vfs.Mem) { write(t, m, "/f", "def", 3) },
			[]string{"/f=abc"}, []string{"/f=abcdef"}},
		{"append, synced", []string{"/f=abc"}, func(t *testing.T, m *vfs.Mem) { must(t, write(t, m, "/f", "def", 3).Sync()) },
			[]string{"/f=abcdef"}, []string{"/f=abcdef"}},
		{"append after sync", []string{"/f=abc"}, func(t *testing.T, m *vfs.Mem) {
			must(t, write(t, m, "/f", "def", 3).Sync())
			write(t, m, "/f", "ghi", 6)
		}, []string{"/f=abcdef"}, []string{"/f=abcdefghi"}},
		{"overwrite", []string{"/f=abc"}, func(t *testing.T, m *vfs.Mem) { write(t, m, "/f", "X", 1) },
			[]string{"/f=abc"}, []string{"/f=aXc"}},
		{"truncate", []string{"/f=abc"}, func(t *testing.T, m *vfs.Mem) {
			f, err := m.OpenReadWrite("/f")
			must(t, err)
			must(t, f.Truncate(1))
		}, []string{"/f=abc"}, []string{"/f=a"}},
		{"create over", []string{"/f=abc"}, func(t *testing.T, m *vfs.Mem) { create(t, m, "/f", "z") },
			[]string{"/f=abc"}, []string{"/f=z"}},
		{"new file, bytes synced, name not", nil, func(t *testing.T, m *vfs.Mem) { must(t, create(t, m, "/f", "z").Sync()) },
			nil, []string{"/f=z"}},
		{"new file, name synced, bytes not", nil, func(t *testing.T, m *vfs.Mem) {
			create(t, m, "/f", "z")
			must(t, m.SyncDir("/"))
		}, []string{"/f="}, []string{"/f=z"}},
		{"new directory that its parent does not know", nil, func(t *testing.T, m *vfs.Mem) {
			must(t, m.MkdirAll("/d"))
			must(t, create(t, m, "/d/f", "z").Sync())
			must(t, m.SyncDir("/d"))
		}, nil, []string{"/d/f=z"}},
		{"rename", []string{"/a=1", "/b=2"}, func(t *testing.T, m *vfs.Mem) { must(t, m.Rename("/a", "/b")) },
			[]string{"/a=1", "/b=2"}, []string{"/b=1"}},
		{"rename, synced", []string{"/a=1", "/b=2"}, func(t *testing.T, m *vfs.Mem) {
			must(t, m.Rename("/a", "/b"))
			must(t, m.SyncDir("/"))
		}, []string{"/b=1"}, []string{"/b=1"}},
		{"rename between directories, one of them synced", []string{"/x/a=1", "/y/b=2"}, func(t *testing.T, m *vfs.Mem) {
			create(t, m, "/x/new", "")
			must(t, m.Rename("/x/new", "/y/new"))
			must(t, m.SyncDir("/y"))
			must(t, m.SyncDir("/x"))
		}, []string{"/x/a=1", "/y/b=2", "/y/new="}, []string{"/x/a=1", "/y/b=2", "/y/new="}},
		{"remove", []string{"/a=1"}, func(t *testing.T, m *vfs.Mem) { must(t, m.Remove("/a")) },
			[]string{"/a=1"}, nil},
		{"remove of a tree", []string{"/d/a=1", "/d/e/b=2"}, func(t *testing.T, m *vfs.Mem) { must(t, m.RemoveAll("/d")) },
			[]string{"/d/a=1", "/d/e/b=2"}, nil},
		{"link", []string{"/a=1"}, func(t *testing.T, m *vfs.Mem) { must(t, m.Link("/a", "/b")) },
			[]string{"/a=1"}, []string{"/a=1", "/b=1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := synced(t, c.before...)
			c.do(t, m)
			wantTree(t, "0 %", crash(m, 0, 1), c.lost...)
			wantTree(t, "100 %", crash(m, 100, 1), c.all...)
			wantTree(t, "the original", m, c.all...)
			lost := crash(m, 0, 1)
			wantTree(t, "a clone of the clone", crash(lost, 0, 2), c.lost...)
		})
	}
}

func TestWritesTearAtPages(t *testing.T) {
	const pages = 6
	seen := map[string]bool{}
	for seed := range uint64(200) {
		m := synced(t, "/f=")
		f, err := m.OpenReadWrite("/f")
		must(t, err)
		_, err = f.WriteAt([]byte(strings.Repeat("x", pages*vfs.PageSize)), 0)
		must(t, err)
		got := content(t, crash(m, 50, seed), "/f")
		if len(got)%vfs.PageSize != 0 {
			t.Fatalf("seed %d: %d bytes: torn inside of a page", seed, len(got))
		}
		shape := ""
		for p := 0; p < len(got); p += vfs.PageSize {
			page := got[p : p+vfs.PageSize]
			switch page {
			case strings.Repeat("x", vfs.PageSize):
				shape += "x"
			case strings.Repeat("\x00", vfs.PageSize):
				shape += "."
			default:
				t.Fatalf("seed %d: page %d is torn", seed, p/vfs.PageSize)
			}
		}
		seen[shape] = true
		if again := content(t, crash(m, 50, seed), "/f"); again != got {
			t.Fatalf("seed %d gives two disks", seed)
		}
	}
	holes := 0
	for shape := range seen {
		if strings.Contains(shape, ".x") {
			holes++
		}
	}
	if len(seen) < 20 || holes < 5 {
		t.Errorf("%d shapes, %d with holes: %v", len(seen), holes, seen)
	}
}

func TestDirectoriesKeepAPrefixInOrder(t *testing.T) {
	lengths := map[int]bool{}
	for seed := range uint64(200) {
		m := vfs.NewMem()
		for i := range 5 {
			create(t, m, fmt.Sprintf("/f%d", i), "")
		}
		names, err := crash(m, 50, seed).ReadDir("/")
		must(t, err)
		for i, name := range names {
			if name != fmt.Sprintf("f%d", i) {
				t.Fatalf("seed %d: %v is no prefix of the creations", seed, names)
			}
		}
		lengths[len(names)] = true
	}
	if len(lengths) < 4 {
		t.Errorf("prefixes of lengths %v only", lengths)
	}
}

func TestMovedFileIsNeverLostNorTwice(t *testing.T) {
	for seed := range uint64(100) {
		m := synced(t, "/x/f=1", "/y/g=2")
		create(t, m, "/y/h", "")
		must(t, m.Rename("/x/f", "/y/f"))
		_, inX := tree(t, crash(m, 50, seed), "/")["/x/f"]
		_, inY := tree(t, crash(m, 50, seed), "/")["/y/f"]
		if inX == inY {
			t.Fatalf("seed %d: in the old directory %v, in the new one %v", seed, inX, inY)
		}
	}
}

func TestCloneAndOriginalAreApart(t *testing.T) {
	for _, percent := range []int{0, 100} {
		m := synced(t, "/f=abcdef")
		c := crash(m, percent, 1)
		for _, fsys := range []*vfs.Mem{m, c} {
			f, err := fsys.OpenReadWrite("/f")
			must(t, err)
			must(t, f.Truncate(4))
			_, err = f.WritevAt([][]byte{[]byte("XY"), []byte("Z")}, 3)
			must(t, err)
			must(t, f.Sync())
			if fsys == m {
				want(t, "clone after a write to the original", content(t, c, "/f"), "abcdef")
			}
		}
		f, err := c.OpenReadWrite("/f")
		must(t, err)
		_, err = f.WriteAt([]byte("clone"), 0)
		must(t, err)
		want(t, "original after a write to the clone", content(t, m, "/f"), "abcXYZ")
	}
}

func TestCrashReleasesLocks(t *testing.T) {
	m := vfs.NewMem()
	_, err := m.Lock("/LOCK", "pid 1")
	must(t, err)
	if _, err := crash(m, 100, 1).Lock("/LOCK", "pid 2"); err != nil {
		t.Errorf("the holder is gone: %v", err)
	}
}

// TestSyncedStateSurvivesAnyHistory is the model: a map of what Sync and
// SyncDir promised, against clones at 0 % after each of many random operations.
func TestSyncedStateSurvivesAnyHistory(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 9))
		m := vfs.NewMem()
		files, durable := map[string]*modelFile{}, map[string]*modelFile{}
		for range 80 {
			name := fmt.Sprintf("/f%d", rng.IntN(4))
			switch rng.IntN(6) {
			case 0:
				must(t, m.SyncDir("/"))
				durable = map[string]*modelFile{}
				for k, v := range files {
					durable[k] = v
				}
			case 1:
				if files[name] != nil {
					must(t, m.Remove(name))
					delete(files, name)
				}
			case 2:
				to := fmt.Sprintf("/f%d", rng.IntN(4))
				if files[name] != nil && to != name {
					must(t, m.Rename(name, to))
					files[to] = files[name]
					delete(files, name)
				}
			default:
				modelWrite(t, m, rng, name, files)
			}
			wantModel(t, seed, crash(m, 0, seed), durable, func(f *modelFile) []byte { return f.synced })
			wantModel(t, seed, crash(m, 100, seed), files, func(f *modelFile) []byte { return f.live })
		}
	}
}

type modelFile struct{ live, synced []byte }

func modelWrite(t *testing.T, m *vfs.Mem, rng *rand.Rand, name string, files map[string]*modelFile) {
	if files[name] == nil {
		create(t, m, name, "")
		files[name] = &modelFile{}
	}
	f, err := m.OpenReadWrite(name)
	must(t, err)
	defer f.Close()
	model := files[name]
	switch rng.IntN(4) {
	case 0:
		must(t, f.Sync())
		model.synced = slices.Clone(model.live)
	case 1:
		n := rng.IntN(len(model.live) + 3)
		must(t, f.Truncate(int64(n)))
		model.live = append(slices.Clone(model.live), 0, 0, 0)[:n]
	default:
		off, data := rng.IntN(len(model.live)+3), []byte(strings.Repeat(string(rune('a'+rng.IntN(26))), 1+rng.IntN(9)))
		_, err := f.WriteAt(data, int64(off))
		must(t, err)
		end := max(off+len(data), len(model.live))
		model.live = append(slices.Clone(model.live), make([]byte, end-len(model.live))...)
		copy(model.live[off:], data)
	}
}

func wantModel(t *testing.T, seed uint64, m *vfs.Mem, model map[string]*modelFile, of func(*modelFile) []byte) {
	t.Helper()
	names, err := m.ReadDir("/")
	must(t, err)
	if len(names) != len(model) {
		t.Fatalf("seed %d: names %v, model has %d", seed, names, len(model))
	}
	for name, f := range model {
		if got := content(t, m, name); got != string(of(f)) {
			t.Fatalf("seed %d: %s is %q, model says %q", seed, name, got, of(f))
		}
	}
}

func TestStatOfMissingAfterCrash(t *testing.T) {
	m := vfs.NewMem()
	create(t, m, "/f", "x")
	if _, err := crash(m, 0, 1).Stat("/f"); !isNotExist(err) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func isNotExist(err error) bool {
	e, ok := err.(*fs.PathError)
	return ok && e.Err == fs.ErrNotExist
}
