package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/millstream-io/millstream/internal/peers"
)

// bench holds what the measurements share.
type bench struct {
	options
	dir, binary string
	kafka       *peers.KafkaBroker
	serve       *peers.Serve
	figures     []figure
}

// peer is one of the two brokers.
type peer struct {
	addr string
	pid  int
	// configs of topics: what makes the two alike.
	configs []string
}

// measurement is one benchmark, run by turns against both.
type measurement struct {
	name          string
	verb          string // of millstream bench
	size          int
	codec         string
	kafka, ours   []string // topic configurations
	consume, loop bool     // consume what was produced; beside the loop
}

// measurements: like with like. millstream.flush=os is Kafka's default, the page
// cache; flush.messages=1 is Kafka's way to have each acknowledgement on disk,
// and millstream.flush=commit, the default, is ours.
func (b *bench) measurements() []measurement {
	var all []measurement
	cache := []string{"millstream.flush=os"}
	for _, size := range []int{100, 1000} {
		for _, codec := range []string{"none", "lz4"} {
			all = append(all, measurement{name: fmt.Sprintf("produce %d B %s", size, codec), verb: "produce", size: size, codec: codec, ours: cache, consume: true, loop: codec == "none"})
		}
	}
	return append(all,
		measurement{name: "produce 100 B on disk", verb: "produce", size: 100, codec: "none", kafka: []string{"flush.messages=1"}},
		measurement{name: "latency 10,000/s", verb: "latency", size: 100, codec: "none", ours: cache},
		measurement{name: "latency 10,000/s on disk", verb: "latency", size: 100, codec: "none", kafka: []string{"flush.messages=1"}},
	)
}

// sample is what one run gave, by figure.
type sample map[string]float64

func (b *bench) measure(m measurement) error {
	var kafka, ours, loop []sample
	for range b.rounds {
		k, err := b.once(m, peer{b.kafka.Addr(), b.kafka.PID(), m.kafka})
		if err != nil {
			return fmt.Errorf("against Kafka: %w", err)
		}
		o, err := b.once(m, peer{b.serve.Addr(), b.serve.PID(), m.ours})
		if err != nil {
			return fmt.Errorf("against millstream: %w", err)
		}
		kafka, ours = append(kafka, k), append(ours, o)
		if m.loop {
			l, err := b.loop(m)
			if err != nil {
				return fmt.Errorf("sendfile loop: %w", err)
			}
			loop = append(loop, l)
		}
	}
	b.add(m, kafka, ours, loop)
	return nil
}

const topic = "bench-peers"

// records of a run.
func (b *bench) records(m measurement) int {
	n := b.megabytes * 1_000_000 / m.size
	if len(m.kafka) > 0 { // each batch waits for the disk
		n /= 10
	}
	return n
}

// once runs the benchmark against one broker.
func (b *bench) once(m measurement, p peer) (sample, error) {
	out := sample{}
	args := []string{"bench", m.verb, "--brokers", p.addr, "--topic", topic, "--recreate", "--size", strconv.Itoa(m.size), "--compression", m.codec}
	for _, c := range p.configs {
		args = append(args, "--set", c)
	}
	switch m.verb {
	case "latency":
		args = append(args, "--rate", "10000", "--duration", strconv.Itoa(b.seconds)+"s")
		type percentiles struct {
			P99 float64 `json:"p99_ms"`
		}
		var r struct {
			Acknowledged percentiles `json:"acknowledged"`
			EndToEnd     percentiles `json:"end_to_end"`
		}
		err := b.run(args, &r)
		out["acknowledged, p99"], out["end to end, p99"] = r.Acknowledged.P99, r.EndToEnd.P99
		return out, err
	case "produce":
		args = append(args, "--records", strconv.Itoa(b.records(m)))
		if err := b.throughput(args, m, p, out, m.name); err != nil {
			return nil, err
		}
	}
	if !m.consume {
		return out, nil
	}
	return out, b.throughput([]string{"bench", "consume", "--brokers", p.addr, "--topic", topic, "--rounds", "3"}, m, p, out, "consume"+m.name[len("produce"):])
}

// throughput runs a benchmark and takes the broker's CPU time over it.
func (b *bench) throughput(args []string, m measurement, p peer, out sample, name string) error {
	before, err := peers.CPUSeconds(p.pid)
	if err != nil {
		return err
	}
	var r struct {
		Records int64   `json:"records"`
		Rate    float64 `json:"mb_per_second"`
	}
	if err := b.run(args, &r); err != nil {
		return err
	}
	after, err := peers.CPUSeconds(p.pid)
	if err != nil {
		return err
	}
	out[name+", throughput"] = r.Rate
	out[name+", broker's CPU"] = (after - before) / (float64(r.Records) * float64(m.size) / 1e9)
	return nil
}

// run runs the client and decodes what it prints.
func (b *bench) run(args []string, into any) error {
	cmd := exec.Command(b.binary, append(args, "-o", "json", "--timeout", "60s")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("millstream %v: %w", args, err)
	}
	return json.Unmarshal(out, into)
}

// units of figures by the end of their names.
func unitOf(name string) string {
	switch {
	case has(name, "throughput"):
		return "MB/s"
	case has(name, "CPU"):
		return "s/GB"
	}
	return "ms"
}

func has(name, end string) bool { return len(name) >= len(end) && name[len(name)-len(end):] == end }

// add puts the medians of one measurement's figures into the list.
func (b *bench) add(m measurement, kafka, ours, loop []sample) {
	var names []string
	for name := range kafka[0] {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		full := name
		if m.verb == "latency" {
			full = m.name + ", " + name
		}
		f := figure{Name: full, Unit: unitOf(name)}
		var k, o, l, lr []float64
		for i := range kafka {
			k, o = append(k, kafka[i][name]), append(o, ours[i][name])
			f.Ratios = append(f.Ratios, ours[i][name]/kafka[i][name])
			if i < len(loop) && loop[i][name] > 0 {
				l, lr = append(l, loop[i][name]), append(lr, ours[i][name]/loop[i][name])
			}
		}
		f.Kafka, f.Millstream, f.Ratio = peers.Median(k), peers.Median(o), peers.Median(f.Ratios)
		if len(l) > 0 {
			f.Loop, f.LoopRatio = peers.Median(l), peers.Median(lr)
		}
		b.figures = append(b.figures, f)
	}
}

func printFigures(figures []figure) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tUNIT\tKAFKA\tMILLSTREAM\tRATIO\tSENDFILE LOOP\tRATIO TO IT")
	for _, f := range figures {
		loop, ratio := "-", "-"
		if f.Loop > 0 {
			loop, ratio = fmt.Sprintf("%.3g", f.Loop), fmt.Sprintf("%.2f", f.LoopRatio)
		}
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%.4g\t%.2f\t%s\t%s\n", f.Name, f.Unit, f.Kafka, f.Millstream, f.Ratio, loop, ratio)
	}
	return w.Flush()
}
