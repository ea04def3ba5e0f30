package task

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew")

// scripted is a unit that says what it is asked, and does what values tell it:
// "close@N" makes NextTime N, "bad" does not decode, "panic" panics, "late" is
// late, "put=V" changes the store, "send" goes to the sink.
type scripted struct {
	d    *driver
	h    processor.Host
	next int64
}

func (u *scripted) say(format string, args ...any) { fmt.Fprintf(&u.d.out, "  "+format+"\n", args...) }

func (u *scripted) Restore(ms int64, frontier []byte) error {
	u.say("restore %s %q", at(ms), frontier)
	return nil
}

func (u *scripted) Process(source int, r *processor.Record) error {
	v := string(r.Value)
	if v == "bad" {
		return &processor.DecodeError{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Field: "value", Err: strconv.ErrSyntax}
	}
	u.say("process %d: %s %s@%d time %s headers %d", source, r.Topic, v, r.Timestamp, at(r.StreamTime), len(r.Headers))
	if n, ok := strings.CutPrefix(v, "close@"); ok {
		u.next, _ = strconv.ParseInt(n, 10, 64)
	}
	if n, ok := strings.CutPrefix(v, "put="); ok {
		return u.h.Changelog(0, []byte("k"), []byte(n))
	}
	switch v {
	case "panic":
		panic("boom")
	case "late":
		return u.h.Late("op", true, r)
	case "send":
		return u.h.Send(0, r, processor.AnyPartition)
	}
	return nil
}

func (u *scripted) EventTime(int, *processor.Record) (int64, error) { return 0, nil }
func (u *scripted) NextTime() int64                                 { return u.next }
func (u *scripted) Advance(ms int64) error {
	u.say("advance %d", ms)
	u.next = processor.MaxTime
	return nil
}
func (u *scripted) Flush() error                 { u.say("flush"); return nil }
func (u *scripted) Committed()                   { u.say("committed") }
func (u *scripted) Frontier(dst []byte) []byte   { return append(dst, "frontier"...) }
func (u *scripted) LastWindowEnd(ms int64) int64 { return ms + 10 }
func (u *scripted) Usage() processor.Usage       { return processor.Usage{} }
func (u *scripted) Running() string              { return "op" }

// driver runs the commands of a transcript:
//
//	task external|table|repartition ... [bounded] [idle=D] [wait=D]   one input per word, of 2 upstream tasks each
//	feed INPUT TS VALUE [carried] [from=TASK]                   a batch of one record
//	again OFFSET feed|mark ...                                  the same, from that offset on
//	mark INPUT TASK TS|none                                     a batch of one watermark record
//	work | tick | commit | abort | end MS | ends INPUT OFFSET | +DURATION
type driver struct {
	t     *testing.T
	out   strings.Builder
	task  *Task
	cfg   Config
	now   time.Time
	next  map[string]record.Offset
	last  *PositionRecord
	from  map[record.TopicPartition]record.Offset
	ready map[record.TopicPartition]logclient.OffsetEpoch
}

func at(ms int64) string {
	if ms == processor.NoTime {
		return "none"
	}
	return fmt.Sprint(ms)
}

func (d *driver) open(words []string) {
	topo := &topology.Topology{Name: "app", Stores: []state.Spec{{Name: "store", Changelog: true}}}
	sub := plan.Sub{SubTopology: topology.SubTopology{ID: 0, Sinks: []topology.NodeID{0}, Stores: []string{"store"}}, Tasks: 1,
		Outputs: []plan.Output{{Topic: "app-next", Partitions: 2, Repartition: true}},
		Stores:  []plan.Store{{Spec: topo.Stores[0], Changelog: "app-store-changelog"}}}
	topo.Nodes = append(topo.Nodes, topology.Node{Name: "sink"})
	d.cfg = Config{ID: plan.TaskID{}, Topology: topo, DB: memstore.New(0)}
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, "idle="); ok {
			d.cfg.IdleAfter, _ = time.ParseDuration(v)
			continue
		}
		if v, ok := strings.CutPrefix(w, "wait="); ok {
			d.cfg.MaxTaskIdle, _ = time.ParseDuration(v)
			continue
		}
		if w == "bounded" {
			d.cfg.Bounded = true
			continue
		}
		in := plan.Input{Topic: fmt.Sprintf("in%d", len(sub.Inputs)), Partitions: 1}
		if w == "repartition" {
			in.Repartition = true
			in.Upstream = []plan.TaskID{{Sub: 7, Partition: 0}, {Sub: 7, Partition: 1}}
		}
		sub.Inputs = append(sub.Inputs, in)
		sub.Sources = append(sub.Sources, topology.NodeID(len(topo.Nodes)))
		topo.Nodes = append(topo.Nodes, topology.Node{Name: in.Topic, Table: w == "table"})
	}
	topo.Build = func(_ topology.SubTopology, h processor.Host) (processor.Unit, error) {
		return &scripted{d: d, h: h, next: processor.MaxTime}, nil
	}
	d.cfg.Plan = &plan.Plan{App: "app", Subs: []plan.Sub{sub}}
	d.task = New(d.cfg)
	d.start()
}

func (d *driver) start() {
	if err := d.task.Start(d.last, d.from, (*saying)(d), d.now); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driver) feed(input string, v record.View) {
	v.Offset = d.next[input]
	d.next[input]++
	d.task.Add(&oneBatch{tp: record.TopicPartition{Topic: input}, v: v})
}

func (d *driver) do(f []string) error {
	switch f[0] {
	case "task":
		d.open(f[1:])
	case "feed":
		ms, _ := strconv.ParseInt(f[2], 10, 64)
		v := record.View{Timestamp: ms, Key: []byte("k"), Value: []byte(f[3])}
		for _, w := range f[4:] {
			if from, ok := strings.CutPrefix(w, "from="); ok {
				v.Headers = append(v.Headers, record.Header{Key: headerFrom, Value: []byte(from)})
				continue
			}
			c, _ := strconv.ParseInt(w, 10, 64)
			v.Headers = append(v.Headers, record.Header{Key: "user"}, record.Header{Key: headerTime, Value: binary.BigEndian.AppendUint64(nil, uint64(c))})
		}
		d.feed(f[1], v)
	case "again": // OFFSET, then a command: what a reader brings once more after a restart
		n, _ := strconv.ParseInt(f[1], 10, 64)
		d.next[f[3]] = record.Offset(n)
		return d.do(f[2:])
	case "mark":
		ms := processor.NoTime
		if f[3] != "none" {
			ms, _ = strconv.ParseInt(f[3], 10, 64)
		}
		d.feed(f[1], record.View{Value: binary.BigEndian.AppendUint64(nil, uint64(ms)), Headers: []record.Header{{Key: headerWatermark, Value: []byte(f[2])}}})
	case "work":
		_, err := d.task.Work(d.now, nil, 1<<20)
		return err
	case "tick":
		return d.task.Tick(d.now)
	case "end":
		ms, _ := strconv.ParseInt(f[1], 10, 64)
		return d.task.End(ms)
	case "ends":
		n, _ := strconv.ParseInt(f[2], 10, 64)
		d.task.SetEnd(record.TopicPartition{Topic: f[1]}, record.Offset(n))
	case "commit":
		return d.commit()
	case "abort":
		d.task.Drop()
		d.start()
	default:
		dur, err := time.ParseDuration(strings.TrimPrefix(f[0], "+"))
		if err != nil {
			d.t.Fatalf("unknown command %q", f[0])
		}
		d.now = d.now.Add(dur)
	}
	return nil
}

func (d *driver) commit() error {
	if !d.task.Dirty() {
		d.out.WriteString("  nothing to commit\n")
		return nil
	}
	in := logclient.Positions{}
	if err := d.task.Flush(in); err != nil {
		return err
	}
	counts, _ := d.task.Committed(d.ready)
	for tp, p := range in {
		d.from[tp] = p.Offset
	}
	if len(counts.Late) > 0 || counts.DeadLettered > 0 {
		fmt.Fprintf(&d.out, "  late %v dead letters %d\n", counts.Late, counts.DeadLettered)
	}
	return nil
}

// saying is a writer that writes the transcript.
type saying driver

func (s *saying) Append(tp record.TopicPartition, v *record.View) error {
	switch {
	case tp.Topic == "app-positions":
		p, err := DecodePosition(v.Value)
		if err != nil {
			return err
		}
		s.last = p
		fmt.Fprintf(&s.out, "  write position: time %s max %s decision %d", at(p.StreamTime), at(p.MaxEvent), p.Decision)
		for _, in := range p.Inputs {
			fmt.Fprintf(&s.out, ", %s next %d", in.Topic, in.Offset)
		}
		s.out.WriteByte('\n')
	case len(v.Headers) == 1 && v.Headers[0].Key == headerWatermark:
		ms, _ := time64(v.Value)
		fmt.Fprintf(&s.out, "  write %s-%d: watermark of %s %s\n", tp.Topic, tp.Partition, v.Headers[0].Value, at(ms))
	default:
		fmt.Fprintf(&s.out, "  write %s-%d: %s@%d", tp.Topic, tp.Partition, v.Value, v.Timestamp)
		for _, h := range v.Headers {
			if ms, ok := time64(h.Value); ok && h.Key == headerTime {
				fmt.Fprintf(&s.out, " %s=%d", h.Key, ms)
			} else {
				fmt.Fprintf(&s.out, " %s=%q", h.Key, h.Value)
			}
		}
		s.out.WriteByte('\n')
	}
	return nil
}

func (s *saying) Buffered() int { return 0 }
func (s *saying) Commit(context.Context, logclient.Positions, logclient.Generation) (map[record.TopicPartition]logclient.OffsetEpoch, error) {
	return nil, nil
}
func (s *saying) Abort(context.Context) error { return nil }
func (s *saying) Close() error                { return nil }

// oneBatch is a batch of one record.
type oneBatch struct {
	tp   record.TopicPartition
	v    record.View
	read bool
}

func (b *oneBatch) TopicPartition() record.TopicPartition { return b.tp }
func (b *oneBatch) Next(v *record.View) bool {
	if b.read {
		return false
	}
	*v, b.read = b.v, true
	return true
}
func (b *oneBatch) Err() error                { return nil }
func (b *oneBatch) NextOffset() record.Offset { return b.v.Offset + 1 }
func (b *oneBatch) Epoch() record.LeaderEpoch { return 0 }
func (b *oneBatch) Release()                  {}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(b))
			if *rewrite {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Errorf("it went\n%s\nwant\n%s", got, b)
			}
		})
	}
}

// play runs a transcript's commands; lines that begin with a space are answers.
func play(t *testing.T, text string) string {
	d := &driver{t: t, now: time.UnixMilli(1_000_000), next: map[string]record.Offset{},
		from: map[record.TopicPartition]record.Offset{}, ready: map[record.TopicPartition]logclient.OffsetEpoch{}}
	for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(l, " ") {
			continue
		}
		d.out.WriteString(l + "\n")
		if f := strings.Fields(l); len(f) > 0 && f[0] != "#" {
			if err := d.do(f); err != nil {
				fmt.Fprintf(&d.out, "  error: %v\n", err)
			}
		}
	}
	return d.out.String()
}
