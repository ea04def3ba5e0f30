// Command bench-peers measures `millstream serve` beside Apache Kafka 4.3 from
// Maven on this machine: the same client (`millstream bench`), the same settings,
// runs that alternate, and the median of each round's ratio. For consume there is
// a bare Go sendfile loop beside them. Only the Makefile runs it, and people who
// doubt docs/benchmarks.md.
//
//	bench-peers [-rounds 3] [-mb 300] [-only REGEXP] [-o json]
//
// CPU seconds are the broker's process's own, from /proc/PID/stat, per GB of
// values; so it runs on Linux only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/millstream-io/millstream/internal/peers"
)

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each measurement")
	flag.IntVar(&o.megabytes, "mb", 300, "megabytes of values of each run")
	flag.IntVar(&o.seconds, "seconds", 15, "seconds of each run for latencies")
	only := flag.String("only", "", "measurements whose names match this regular expression")
	output := flag.String("o", "text", "form of the figures: text or json")
	serve := flag.String("sendfile-server", "", "") // the bare loop, in a process of its own
	flag.Parse()
	var err error
	if *serve != "" {
		err = serveFiles(*serve)
	} else if o.only, err = regexp.Compile(*only); err == nil {
		err = run(o, *output == "json")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-peers:", err)
		os.Exit(1)
	}
}

type options struct {
	rounds, megabytes, seconds int
	only                       *regexp.Regexp
}

// figure is one measurement of both brokers: the median of the rounds.
type figure struct {
	Name       string    `json:"name"`
	Unit       string    `json:"unit"`
	Kafka      float64   `json:"kafka"`
	Millstream float64   `json:"millstream"`
	Loop       float64   `json:"sendfile_loop,omitempty"`
	Ratio      float64   `json:"ratio"`                // millstream / kafka, the median of the rounds
	LoopRatio  float64   `json:"loop_ratio,omitempty"` // millstream / loop
	Ratios     []float64 `json:"ratios"`
}

func run(o options, asJSON bool) error {
	if runtime.GOOS != "linux" {
		return errors.New("it reads /proc/PID/stat, so it runs on Linux only")
	}
	defer peers.StopShared()
	dir, err := os.MkdirTemp("", "millstream-bench-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir}
	if b.binary, err = peers.Millstream(); err != nil {
		return err
	}
	if err := b.idle(); err != nil {
		return err
	}
	if err := b.start(); err != nil {
		return err
	}
	defer b.stop()
	for _, m := range b.measurements() {
		if !o.only.MatchString(m.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring", m.name)
		if err := b.measure(m); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if err := b.disks(context.Background()); err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(b.figures)
	}
	return printFigures(b.figures)
}

// start starts both brokers, side by side for all measurements.
func (b *bench) start() error {
	kafkaDir, ours := filepath.Join(b.dir, "kafka"), filepath.Join(b.dir, "millstream")
	if err := errors.Join(os.Mkdir(kafkaDir, 0o755), os.Mkdir(ours, 0o755)); err != nil {
		return err
	}
	jars, err := peers.FindKafka()
	if err != nil {
		return err
	}
	if b.kafka, err = peers.NewKafkaBroker(jars, kafkaDir, peers.KafkaConfig{Heap: "1G"}); err != nil {
		return err
	}
	if b.serve, err = peers.NewServe(ours, "127.0.0.1:0"); err != nil {
		b.kafka.Kill()
		return err
	}
	return b.warmUp()
}

func (b *bench) stop() {
	b.kafka.Kill()
	b.serve.Kill()
}
