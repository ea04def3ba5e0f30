package broker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/internal/config"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// harmlessBytes are the bytes of a data directory whose flip Verify does not
// report: the rows of docs/format/data-directory.md, "Harmless bytes", which
// gives each one's reason. A partition's own files: docs/format/segment.md.
var harmlessBytes = []struct {
	row   string
	match func(b flippedByte) bool
}{
	{"LOCK", func(b flippedByte) bool { return b.name == lockFile }},
	{"`millstream.reserve`", func(b flippedByte) bool { return b.name == reserveFile }},
	{"`boot.id`", func(b flippedByte) bool {
		return !b.clean && b.name == propertiesFile && b.value && strings.HasPrefix(b.line, "boot.id=")
	}},
	{"comments and white space of `meta.properties`", func(b flippedByte) bool {
		return !b.clean && b.name == kafkaMetaFile && (b.line[0] == '#' || b.old == '\n')
	}},
	{"`cluster.id`, `directory.id`, `node.id`", func(b flippedByte) bool {
		return !b.clean && b.name == kafkaMetaFile && b.value && !strings.HasPrefix(b.line, "version=")
	}},
	{"recovery point and high watermark", func(b flippedByte) bool {
		return !b.clean && (b.name == recoveryPointFile || b.name == highWatermarkFile) && b.last
	}},
	{"log start and cleaner offset", func(b flippedByte) bool {
		return !b.clean && (b.name == logStartFile || b.name == cleanerOffsetFile) && b.last
	}},
}

// flippedByte is a byte of a root file where a flip was made.
type flippedByte struct {
	name  string
	line  string // that it stands in
	old   byte
	value bool // behind the line's =
	last  bool // in the line's last word
	clean bool // the directory was closed cleanly
}

func at(name string, b []byte, i int, clean bool) flippedByte {
	start := bytes.LastIndexByte(b[:i], '\n') + 1
	line, _, _ := strings.Cut(string(b[start:]), "\n")
	eq, sp := strings.IndexByte(line, '='), strings.LastIndexByte(line, ' ')
	return flippedByte{name: name, line: line + "\n", old: b[i], value: eq >= 0 && i-start > eq, last: sp >= 0 && i-start > sp && i-start < len(line), clean: clean}
}

func harmlessRow(b flippedByte) string {
	for _, h := range harmlessBytes {
		if h.match(b) {
			return h.row
		}
	}
	return ""
}

func TestHarmlessBytesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/format/data-directory.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Harmless bytes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if rows := strings.Count(section, "\n| ") - 2; rows != len(harmlessBytes) {
		t.Errorf("the table has %d rows, the test %d", rows, len(harmlessBytes))
	}
	for _, h := range harmlessBytes {
		if !strings.Contains(section, "\n| "+h.row) {
			t.Errorf("no row begins with %q", h.row)
		}
	}
}

// richDirectory holds every codec, committed, aborted and open transactions,
// several segments with snapshots, group offsets, a log start above 0.
func richDirectory(t *testing.T) *harness {
	h := newHarness(t, func(c *Config) { c.InternalPartitions = 1 })
	h.topic("codecs", 1, config.SegmentBytes, "1024", config.IndexIntervalBytes, "200")
	for i := range 15 {
		bld := record.NewBuilder()
		for j := range 3 {
			bld.Append(&record.View{Timestamp: int64(1000*i + j), Key: fmt.Append(nil, "key-", j), Value: bytes.Repeat([]byte{byte('a' + i)}, 60),
				Headers: []record.Header{{Key: "h", Value: []byte("1")}}})
		}
		_, err := h.part("codecs", 0).Produce(must(bld.Finish(record.Codec(i%5))), AcksLeader)
		h.ok(err)
	}
	_, err := h.part("codecs", 0).DeleteBefore(7)
	h.ok(err)
	h.topic("orders", 2, config.IndexIntervalBytes, "1")
	for i := range 3 {
		x := h.tx("id")
		x.put("orders", 0, fmt.Sprint("txn ", i))
		x.put("orders", 1, fmt.Sprint("txn ", i))
		x.offsets("readers", map[record.TopicPartition]CommittedOffset{tp("codecs", 0): {Offset: record.Offset(10 + i)}})
		h.ok(x.end(i != 1))
		h.now = h.now.Add(time.Second)
	}
	h.tx("open").put("orders", 1, "not decided")
	h.topic("compacted", 1, "cleanup.policy", "compact", config.SegmentBytes, "1024")
	for i := range 12 {
		h.put("compacted", 0, AcksLeader, fmt.Sprintf("k%d=%s", i%3, strings.Repeat("v", 100)))
	}
	h.ok(h.CleanNow())
	return h
}

// flips of a byte: all its bits, and one by the dice.
func flips(dice *rand.Rand) []byte { return []byte{0xff, 1 << dice.IntN(8)} }

// TestEveryFlippedByteOfTheRootIsReportedOrListed runs the whole of Verify.
func TestEveryFlippedByteOfTheRootIsReportedOrListed(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute under the race detector, of one goroutine")
	}
	for _, clean := range []bool{true, false} {
		h := richDirectory(t)
		if clean {
			h.ok(h.Broker.Close())
		} else {
			h.ok(h.checkpoint())
			h.Broker.Abandon()
		}
		if sum, list := verifyFindings(t, h.fs, VerifyOptions{}); len(list) > 0 || sum.Topics != 5 || sum.Partitions != 6 || sum.Clean != clean {
			t.Fatalf("a good directory: %+v, findings %v", sum, list)
		}
		dice := rand.New(rand.NewPCG(1, 1))
		total, unseen := 0, map[string]int{}
		for _, name := range must(h.fs.ReadDir("/data")) {
			file := path.Join("/data", name)
			if info, err := h.fs.Stat(file); err != nil || info.IsDir() || name == lockFile || name == reserveFile {
				continue // Lock writes LOCK anew; the reserve is never read
			}
			b, err := readFile(h.fs, file)
			h.ok(err)
			for i := range b {
				for _, mask := range flips(dice) {
					flipped := slices.Clone(b)
					flipped[i] ^= mask
					h.ok(overwrite(h.fs, file, flipped))
					total++
					if rootFlipIsReported(h.fs, file) {
						continue
					}
					row := harmlessRow(at(name, b, i, clean))
					if unseen[row]++; row == "" {
						t.Errorf("clean=%v %s: byte %d (%q) flipped by %#x: neither reported nor listed", clean, name, i, b[i], mask)
					}
				}
			}
			h.ok(overwrite(h.fs, file, b))
		}
		t.Logf("clean=%v: %d flips; not reported: %v", clean, total, unseen)
	}
}

// rootFlipIsReported asks for a finding that names the file, or the error for a newer version.
func rootFlipIsReported(fs vfs.FS, file string) bool {
	named := false
	_, err := Verify(fs, "/data", VerifyOptions{}, func(f segment.Finding) { named = named || f.Path == file })
	return named || err != nil && strings.Contains(err.Error(), file)
}

// outsideCRC says that a byte is of a batch's base offset or leader epoch, which
// the batch's checksum does not cover: they contradict another file then, and
// that may be the one that is named.
func outsideCRC(log []byte, i int) bool {
	for at := 0; at < len(log); {
		h, err := record.ParseHeader(log[at:])
		if err != nil || i < at+h.Size() {
			return err == nil && (i-at < 8 || i-at >= 12 && i-at < 16)
		}
		at += h.Size()
	}
	return false
}

// TestEveryFlippedByteOfThePartitionsIsReported verifies the partition of each flip only.
func TestEveryFlippedByteOfThePartitionsIsReported(t *testing.T) {
	h := richDirectory(t)
	h.ok(h.Broker.Close())
	dice := rand.New(rand.NewPCG(2, 2))
	f := &partitionFlips{h: h}
	f.v = &verifier{fs: h.fs, dir: "/data", emit: func(one segment.Finding) { f.found = append(f.found, one) }, reported: map[string]bool{}}
	f.v.root()
	for _, p := range f.v.partitions {
		dir := path.Join("/data", dirName(p.TopicPartition))
		for _, name := range must(h.fs.ReadDir(dir)) {
			b, err := readFile(h.fs, path.Join(dir, name))
			h.ok(err)
			for i := range b {
				f.flip(p, path.Join(dir, name), b, i, flips(dice)[i%2])
			}
			h.ok(overwrite(h.fs, path.Join(dir, name), b))
		}
	}
	t.Logf("%d flips: reported in their file %d, as a contradiction with another %d, not (compacted) %d", f.here+f.elsewhere+f.unseen, f.here, f.elsewhere, f.unseen)
	if f.here < 10*f.elsewhere || f.unseen > 20 {
		t.Error("too many are not placed")
	}
}

type partitionFlips struct {
	h                       *harness
	v                       *verifier
	found                   []segment.Finding
	here, elsewhere, unseen int
}

func (f *partitionFlips) flip(p partitionID, file string, b []byte, i int, mask byte) {
	flipped := slices.Clone(b)
	flipped[i] ^= mask
	f.h.ok(overwrite(f.h.fs, file, flipped))
	f.found = nil
	f.v.partition(p)
	compacted := internal(p.Topic) || p.Topic == "compacted"
	switch {
	case slices.ContainsFunc(f.found, func(x segment.Finding) bool { return x.Path == file }):
		f.here++
	case len(f.found) > 0 && path.Ext(file) == ".log" && outsideCRC(b, i):
		f.elsewhere++
	case len(f.found) == 0 && compacted:
		f.unseen++ // docs/format/segment.md lists them; log/segment flips them all
	default:
		f.h.t.Errorf("%s: byte %d flipped by %#x: found %v", file, i, mask, f.found)
	}
}
