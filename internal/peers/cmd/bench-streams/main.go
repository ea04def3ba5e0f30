// Command bench-streams measures a Millstream program on a cluster beside the
// same one written with Apache Kafka Streams: a windowed count of syslog lines,
// exactly once, from topic to topic, through one real Apache Kafka broker from
// Maven with replication factor 1. The same input, runs that alternate, the
// medians of the rounds' ratios; every result is compared with a fold over the
// generator. Only the Makefile runs it, and people who doubt docs/benchmarks.md.
//
//	bench-streams [-rounds 3] [-records 5000000] [-only REGEXP] [-o json]
//
// Measurements are named "count" and "downtime"; CPU seconds and memory are
// the application's process's own, from /proc, so it runs on Linux only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

type options struct {
	rounds, records int
	threads         int
	commit          time.Duration
	compression     string
	only            *regexp.Regexp
	verbose         bool
	static          bool   // membership of Kafka Streams in the measurements of downtime
	restarts        string // what its instances do at SIGTERM
	profile         string // file for our application's CPU profile
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each measurement")
	flag.IntVar(&o.records, "records", 5_000_000, "records to count")
	flag.IntVar(&o.threads, "threads", 2, "stream threads, or workers")
	flag.DurationVar(&o.commit, "commit", 100*time.Millisecond, "commit interval")
	flag.StringVar(&o.compression, "compression", "none", "of the input: none, lz4, snappy, zstd or gzip")
	flag.BoolVar(&o.verbose, "v", false, "say what each round gave")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of our application, which then runs alone")
	flag.BoolVar(&o.static, "streams-static", false, "Kafka Streams with static membership (group.instance.id) in the measurements of downtime")
	flag.StringVar(&o.restarts, "streams-stop", "leave", "what Kafka Streams' close does with the membership: default, leave or remain")
	only := flag.String("only", "", "measurements whose names match this regular expression")
	output := flag.String("o", "text", "form of the figures: text or json")
	child := flag.String("child", "", "") // our application, in a process of its own
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var err error
	if *child != "" {
		err = runChild(ctx, *child)
	} else if o.only, err = regexp.Compile(*only); err == nil {
		err = run(ctx, o, *output == "json")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-streams:", err)
		os.Exit(1)
	}
}

// figure is one measurement of both: the medians of the rounds.
type figure struct {
	Name       string    `json:"name"`
	Unit       string    `json:"unit"`
	Streams    float64   `json:"kafka_streams"`
	Millstream float64   `json:"millstream"`
	Ratio      float64   `json:"ratio"` // millstream / Kafka Streams, the median of the rounds
	Ratios     []float64 `json:"ratios"`
	Goal       string    `json:"goal,omitempty"`
}

func run(ctx context.Context, o options, asJSON bool) error {
	if runtime.GOOS != "linux" {
		return errors.New("it reads /proc/PID/stat, so it runs on Linux only")
	}
	defer peers.StopShared()
	dir, err := os.MkdirTemp("", "millstream-bench-streams-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir}
	if err := b.start(ctx); err != nil {
		return err
	}
	defer b.stop()
	if o.only.MatchString("count") {
		if err := b.count(ctx); err != nil {
			return fmt.Errorf("count: %w", err)
		}
	}
	if o.only.MatchString("downtime") {
		if err := b.downtime(ctx); err != nil {
			return fmt.Errorf("downtime: %w", err)
		}
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(b.figures)
	}
	return printFigures(b.figures)
}

// start starts the broker, for all measurements.
func (b *bench) start(ctx context.Context) error {
	var err error
	if b.jars, err = peers.FindKafka(); err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "kafka")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if b.kafka, err = peers.NewKafkaBroker(b.jars, dir, peers.KafkaConfig{Heap: "1G"}); err != nil {
		return err
	}
	if b.client, err = newClient(b.kafka.Addr()); err != nil {
		b.kafka.Kill()
	}
	return err
}

func (b *bench) stop() {
	b.client.Close()
	b.kafka.Kill()
}

func printFigures(figures []figure) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tUNIT\tKAFKA STREAMS\tMILLSTREAM\tRATIO\tROUNDS\tGOAL")
	for _, f := range figures {
		low, high := f.Ratio, f.Ratio
		for _, r := range f.Ratios {
			low, high = min(low, r), max(high, r)
		}
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%.4g\t%.3f\t%.3f-%.3f\t%s\n", f.Name, f.Unit, f.Streams, f.Millstream, f.Ratio, low, high, f.Goal)
	}
	return w.Flush()
}
