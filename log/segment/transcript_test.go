package segment

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew")

// transcript runs the commands of a testdata file and writes after each what it did.
//
// A line that begins with "> " is a command; the lines after it are its output.
type transcript struct {
	t   *testing.T
	fs  *vfs.Mem
	cfg Config
	l   *Log
	out strings.Builder
	rp  record.Offset
}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tr := &transcript{t: t, fs: vfs.NewMem()}
			if err := errors.Join(tr.fs.MkdirAll("/data"), tr.fs.SyncDir("/")); err != nil {
				t.Fatal(err)
			}
			tr.cfg = testConfig(tr.fs, Settings{SegmentBytes: 400, IndexIntervalBytes: 100, DeleteRetention: 100 * 1e6})
			for line := range strings.Lines(string(want)) {
				switch {
				case strings.HasPrefix(line, "> "):
					tr.out.WriteString(line)
					tr.run(strings.Fields(line[2:]))
				case strings.HasPrefix(line, "#") || line == "\n":
					tr.out.WriteString(line)
				}
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(tr.out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if tr.out.String() != string(want) {
				t.Errorf("%s: the transcript is now (-rewrite keeps it):\n%s", file, tr.out.String())
			}
		})
	}
}

func (tr *transcript) say(format string, args ...any) { fmt.Fprintf(&tr.out, format+"\n", args...) }

func (tr *transcript) report(what string, err error) {
	if err != nil {
		tr.say("error: %v", err)
		return
	}
	tr.say("%s [%d, %d) stable %d durable %d segments %d", what, tr.l.Start(), tr.l.End(), tr.l.Stable(), tr.l.Durable(), len(tr.l.Segments()))
}

// args gives name=value pairs.
func args(words []string) map[string]string {
	m := map[string]string{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		m[k] = v
	}
	return m
}

func num(m map[string]string, name string, def int64) int64 {
	if n, err := strconv.ParseInt(m[name], 10, 64); err == nil {
		return n
	}
	return def
}

// run knows: open, append, marker, roll, sync, checkpoint, compact, delete, retain, crash, close, files, dump, producers, aborted, epoch, flip.
func (tr *transcript) run(words []string) {
	m := args(words[1:])
	switch words[0] {
	case "open":
		l, r, err := Open(tr.cfg, OpenOptions{Clean: m["clean"] != "", RecoveryPoint: tr.rp, LogStart: record.Offset(num(m, "start", 0))})
		if err != nil {
			tr.say("error: %v", err)
			return
		}
		tr.l = l
		tr.t.Cleanup(l.Abandon)
		tr.report(fmt.Sprintf("epoch %d, cut %d bytes, %d segments:", r.Epoch, r.Cut, r.Segments), nil)
		if r.Reason != nil {
			tr.say("because: %v", r.Reason)
		}
	case "append":
		tr.append(m)
	case "marker":
		typ := record.CommitMarker
		if m["abort"] != "" {
			typ = record.AbortMarker
		}
		_, err := tr.l.AppendMarker(record.ProducerID(num(m, "pid", 0)), record.ProducerEpoch(num(m, "epoch", 0)), record.Marker{Type: typ, CoordinatorEpoch: int32(num(m, "coordinator", 0))}, num(m, "now", 1))
		tr.report("log", err)
	case "crash":
		percent := int(num(m, "keep", 0))
		tr.l.Abandon()
		tr.fs = tr.fs.CrashClone(vfs.CrashConfig{UnsyncedPercent: percent})
		tr.cfg.FS = tr.fs
	case "flip":
		tr.flip(m)
	default:
		tr.log(words[0], m)
	}
}

func (tr *transcript) log(verb string, m map[string]string) {
	l := tr.l
	switch verb {
	case "roll":
		tr.report("log", l.Roll(0))
	case "sync":
		tr.report("log", l.Sync(l.End()))
	case "checkpoint":
		rp, err := l.Checkpoint()
		tr.rp = rp
		l.Checkpointed(rp)
		tr.report("log", err)
	case "compact":
		res, err := l.Compact(CompactOptions{Now: num(m, "now", 0), Hold: record.Offset(num(m, "hold", -1)), RollActive: m["roll"] != ""})
		tr.report(fmt.Sprintf("records %d -> %d, %d tombstones dropped; log", res.RecordsBefore, res.RecordsAfter, res.Tombstones), err)
	case "delete":
		tr.report("log", l.DeleteBefore(record.Offset(num(m, "before", 0))))
	case "retain":
		set := tr.cfg.Settings
		set.RetentionBytes = num(m, "bytes", 0)
		l.Configure(set)
		_, err := l.Retain(num(m, "now", 0))
		tr.report("log", err)
	case "close":
		tr.rp = l.End()
		tr.report("log", l.Close())
	case "dump":
		tr.dump()
	case "producers":
		for _, p := range l.Producers() {
			tr.say("%d epoch %d sequence %d offset %d transaction %d", p.ProducerID, p.Epoch, p.LastSequence, p.LastOffset, p.TxnFirst)
		}
	case "aborted":
		list, err := l.Aborted(nil, l.Start(), l.End())
		tr.say("%v %v", list, err)
	case "epoch":
		e := l.EndOfEpoch(record.LeaderEpoch(num(m, "of", 0)))
		tr.say("epoch %d ends at %d", e.Epoch, e.End)
	case "files":
		names, _ := tr.fs.ReadDir(tr.cfg.Dir)
		for _, name := range names {
			info, _ := tr.fs.Stat(filepath.Join(tr.cfg.Dir, name))
			tr.say("%s %d", name, info.Size())
		}
	case "verify":
		_, err := Verify(tr.fs, tr.cfg.Dir, VerifyOptions{}, func(f Finding) { tr.say("%s", f) })
		if err != nil {
			tr.say("error: %v", err)
		}
	default:
		tr.t.Fatalf("unknown command %s", verb)
	}
}

func (tr *transcript) append(m map[string]string) {
	o := plain
	if _, ok := m["pid"]; ok {
		o = batchOpts{pid: record.ProducerID(num(m, "pid", 0)), epoch: record.ProducerEpoch(num(m, "epoch", 0)), seq: int32(num(m, "seq", 0)), txn: m["txn"] != ""}
	}
	var recs []kv
	for pair := range strings.SplitSeq(m["records"], ",") {
		k, v, has := strings.Cut(pair, ":")
		recs = append(recs, kv{key: k, value: v, null: !has, time: num(m, "time", 1)})
	}
	res, err := tr.l.Append(buildBatch(tr.t, o, recs...), AppendOptions{Now: 1, FromZero: m["fromzero"] != ""})
	if err == nil && res.Duplicate {
		tr.say("duplicate of [%d, %d)", res.Base, res.Next)
	}
	tr.report("log", err)
}

func (tr *transcript) flip(m map[string]string) {
	f, err := tr.fs.OpenReadWrite(filepath.Join(tr.cfg.Dir, m["file"]))
	if err != nil {
		tr.say("error: %v", err)
		return
	}
	defer f.Close()
	b := []byte{0}
	at := num(m, "at", 0)
	if _, err := f.ReadAt(b, at); err != nil {
		tr.say("error: %v", err)
	}
	if _, err := f.WriteAt([]byte{b[0] ^ 0xff}, at); err != nil {
		tr.say("error: %v", err)
	}
	if err := errors.Join(f.Sync()); err != nil {
		tr.say("error: %v", err)
	}
}

func (tr *transcript) dump() {
	for _, s := range tr.l.Segments() {
		tr.say("segment %d: %d bytes", s.Base, s.Bytes)
		for d, err := range Dump(tr.fs, fileName(tr.cfg.Dir, s.Base, suffixLog)) {
			if err != nil {
				tr.say("  error: %v", err)
				return
			}
			kind := ""
			if d.Header.Transactional() {
				kind = fmt.Sprintf(" transactional, producer %d", d.Header.ProducerID)
			}
			if d.Header.Control() {
				kind = fmt.Sprintf(" %v of producer %d", d.Marker.Type, d.Header.ProducerID)
			}
			if ms, ok := d.Header.DeleteHorizon(); ok {
				kind += fmt.Sprintf(", delete horizon %d", ms)
			}
			tr.say("  [%d, %d) %d records, epoch %d%s", d.Header.BaseOffset, d.Header.NextOffset(), d.Header.Count, d.Header.LeaderEpoch, kind)
		}
	}
}
