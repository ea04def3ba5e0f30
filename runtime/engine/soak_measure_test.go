package engine_test

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// measurement is what a service holds at one moment.
type measurement struct {
	step  int
	disk  map[string]int64 // by topic, and "state": bytes that are allocated
	total int64
	live  int64 // bytes of what must be there
	rss   int64
	anon  int64 // of it, what is not mapped from files
	files int   // open descriptors
}

// measurements are those of a soak in order.
type measurements struct{ all []measurement }

func (m *measurements) add(t testing.TB, step int, dir string, live int64) {
	t.Helper()
	debug.FreeOSMemory()
	x := measurement{step: step, live: live, disk: map[string]int64{}}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		n := info.Sys().(*syscall.Stat_t).Blocks * 512
		x.disk[part(dir, path)] += n
		x.total += n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("skipped: no /proc here: %v", err)
	}
	x.rss, x.anon = kilobytes(string(status), "VmRSS:"), kilobytes(string(status), "RssAnon:")
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	x.files = len(fds)
	m.all = append(m.all, x)
}

func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil // retention and Badger remove files meanwhile
	}
	return err
}

// part is the topic that a file belongs to, or "state".
func part(dir, path string) string {
	rel, _ := filepath.Rel(dir, filepath.Dir(path))
	name := strings.TrimPrefix(strings.TrimPrefix(rel, "log"), "/")
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		return name[:i]
	}
	return cmp.Or(name, "the log's own files")
}

func kilobytes(status, field string) (n int64) {
	_, rest, _ := strings.Cut(status, field)
	fmt.Sscan(rest, &n)
	return n << 10
}

// peak is the greatest value in a third of the run.
func (m *measurements) peak(third int, of func(*measurement) int64) (most int64) {
	n := len(m.all)
	for i := third * n / 3; i < (third+1)*n/3; i++ {
		most = max(most, of(&m.all[i]))
	}
	return most
}

// stateSlack is what Badger's memory tables take up on disk: two of 8 MB, which
// come and go as they please.
const stateSlack = 16 << 20

// growth is an error that names what has grown after the first third: its peak
// in the last third is above that of the second by more than a tenth and slack.
func (m *measurements) growth(t testing.TB) error {
	t.Helper()
	var grown []string
	check := func(name string, slack int64, of func(*measurement) int64) {
		second, last := m.peak(1, of), m.peak(2, of)
		if last > second+second/10+slack {
			grown = append(grown, fmt.Sprintf("%s from %d to %d", name, second, last))
		}
	}
	check("disk", stateSlack, func(x *measurement) int64 { return x.total })
	for _, name := range m.parts() {
		slack := int64(1 << 20)
		if name == "state" {
			slack = stateSlack
		}
		check("disk of "+name, slack, func(x *measurement) int64 { return x.disk[name] })
	}
	check("resident memory", 16<<20, func(x *measurement) int64 { return x.rss })
	check("anonymous memory", 16<<20, func(x *measurement) int64 { return x.anon })
	check("descriptors", 64, func(x *measurement) int64 { return int64(x.files) })
	if len(grown) == 0 {
		return nil
	}
	return fmt.Errorf("from the second third to the last has grown: %s", strings.Join(grown, "; "))
}

func (m *measurements) parts() (names []string) {
	for i := range m.all {
		for name := range m.all[i].disk {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (m *measurements) print(t testing.TB) {
	t.Helper()
	if len(m.all) == 0 {
		t.Fatal("nothing was measured")
	}
	mb := func(n int64) string { return fmt.Sprintf("%7.1f", float64(n)/(1<<20)) }
	row := func(name string, of func(*measurement) int64, show func(int64) string) {
		last := &m.all[len(m.all)-1]
		t.Logf("%-34s %s %s %s   last %s", name, show(m.peak(0, of)), show(m.peak(1, of)), show(m.peak(2, of)), show(of(last)))
	}
	t.Logf("%d measurements; peaks of the three thirds, MB:", len(m.all))
	for _, name := range m.parts() {
		row("disk "+name, func(x *measurement) int64 { return x.disk[name] }, mb)
	}
	row("disk", func(x *measurement) int64 { return x.total }, mb)
	row("live data", func(x *measurement) int64 { return x.live }, mb)
	row("resident memory", func(x *measurement) int64 { return x.rss }, mb)
	row("anonymous memory", func(x *measurement) int64 { return x.anon }, mb)
	row("descriptors", func(x *measurement) int64 { return int64(x.files) }, func(n int64) string { return fmt.Sprintf("%7d", n) })
}
