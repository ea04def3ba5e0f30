package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"
)

// countOptions are what `bench count` was asked for.
type countOptions struct {
	records    int // of one round
	rounds     int // 0: as many as processing needs for minSeconds
	keys       int // 0: the 1,000 hosts of the peers' input, by Zipf's law; else that many, uniformly
	partitions int32
	groupBy    bool
	seed       int64
	dir        string

	workers            int
	flush              string
	commitInterval     time.Duration
	checkpointInterval time.Duration
}

// minSeconds is how long the measured part lasts at least when rounds are ours to choose.
const minSeconds = 20

// countResult is the one JSON object on stdout.
type countResult struct {
	Records                   int64   `json:"records"`
	Matched                   int64   `json:"matched"`
	Windows                   int64   `json:"windows"`
	Verified                  bool    `json:"verified"`
	Seconds                   float64 `json:"seconds"`
	RecordsPerSecond          float64 `json:"records_per_second"`
	CeilingRecordsPerSecond   float64 `json:"ceiling_records_per_second"`
	OneWorkerRecordsPerSecond float64 `json:"one_worker_records_per_second"`
	Workers                   int     `json:"workers"`
	Commits                   int64   `json:"commits"`
	Checkpoints               int64   `json:"checkpoints"` // of the task that has the fewest
	BadgerBytes               int64   `json:"badger_bytes"`
	ChangelogRecords          int64   `json:"changelog_records"`
	CPUSeconds                float64 `json:"cpu_seconds"`
	PeakRSSBytes              int64   `json:"peak_rss_bytes"`
	Guarantee                 string  `json:"guarantee"`
	Flush                     string  `json:"flush"`
	CommitIntervalMS          int64   `json:"commit_interval_ms"`
	GroupBy                   bool    `json:"groupby"`
	Keys                      int     `json:"keys"`
	Rounds                    int     `json:"rounds"`
}

func newBenchCount() *cobra.Command {
	o := countOptions{}
	cmd := &cobra.Command{
		Use:   "count",
		Short: "Count syslog lines per host and minute, exactly once",
		Long: `Preloads a generated syslog topic, runs the public program over it (filter,
group by key, count in windows of a minute, results to a topic; exactly once),
checks every window's final count against a fold, and reports records per
second beside those of a hand-written loop over the same input.`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runBenchCount(cmd, o) },
	}
	f := cmd.Flags()
	f.IntVar(&o.records, "records", 5_000_000, "records of one round")
	f.IntVar(&o.rounds, "rounds", 0, "rounds of the input, event time going on (0: enough for 20 s)")
	f.IntVar(&o.keys, "keys", 0, "hosts, uniformly (0: 1,000 hosts, a few of them busy)")
	f.BoolVar(&o.groupBy, "groupby", false, "group by a host taken from the line: through a repartition topic")
	f.Int64Var(&o.seed, "seed", 42, "seed of the generator")
	f.StringVar(&o.dir, "dir", "", "where to make the temporary directory (default: the system's)")
	f.Int32Var(&o.partitions, "partitions", 6, "partitions of the topics")
	addSettings(cmd, "workers", "flush", "commit-interval", "checkpoint-interval")
	return cmd
}

func runBenchCount(cmd *cobra.Command, o countOptions) error {
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	s, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	o.workers = s.GetInt("workers")
	o.flush, o.commitInterval = s.GetString("flush"), s.GetDuration("commit-interval")
	o.checkpointInterval = s.GetDuration("checkpoint-interval")
	if o.workers == 0 {
		o.workers = runtime.GOMAXPROCS(0)
	}
	if err := o.validate(); err != nil {
		return err
	}
	r, err := o.run(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := printCount(cmd.OutOrStdout(), r, asJSON); err != nil {
		return err
	}
	if !r.Verified {
		return errors.New("bench count: the counts differ from the fold over the input")
	}
	return nil
}

func (o *countOptions) validate() error {
	var errs []error
	if o.records < 1 {
		errs = append(errs, usagef("--records is %d: it must be 1 or more", o.records))
	}
	if o.rounds < 0 || o.keys < 0 {
		errs = append(errs, usagef("--rounds and --keys must not be negative"))
	}
	if o.keys == 1 || o.keys > 10_000_000 {
		errs = append(errs, usagef("--keys is %d: it must be from 2 to 10,000,000", o.keys))
	}
	if o.partitions < 1 {
		errs = append(errs, usagef("--partitions is %d: it must be 1 or more", o.partitions))
	}
	return errors.Join(errs...)
}

// run preloads, measures and checks in a directory that it removes.
func (o *countOptions) run(ctx context.Context, stderr io.Writer) (r countResult, err error) {
	dir, err := os.MkdirTemp(o.dir, "millstream-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	in := newCountInput(o)
	if o.rounds == 0 {
		// How fast this program is here, to know how many rounds fill the time.
		probe, err := o.once(ctx, filepath.Join(dir, "probe"), in, 1, o.workers, stderr)
		if err != nil {
			return r, err
		}
		o.rounds = max(1, int(1.15*minSeconds*probe.rate()/float64(o.records))+1)
	}
	// One worker needs no more than a few seconds to show its rate.
	single, err := o.once(ctx, filepath.Join(dir, "single"), in, max(1, o.rounds/6), 1, stderr)
	if err != nil {
		return r, err
	}
	main, err := o.once(ctx, filepath.Join(dir, "main"), in, o.rounds, o.workers, stderr)
	if err != nil {
		return r, err
	}
	r = main.result(o)
	r.OneWorkerRecordsPerSecond = single.rate()
	r.Verified = main.verified && single.verified
	return r, nil
}

func printCount(w io.Writer, r countResult, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, `records          %d in %.1f s, %d rounds
matched          %d in %d windows, verified: %t
rate             %.2f M records/s with %d workers, %.2f M with one
hand-written     %.2f M records/s on as many cores: this is %.0f %% of it
commits          %d, every %d ms, %s, flush=%s
checkpoints      %d, %.1f MB in Badger, %d changelog records
CPU, memory      %.1f s, %.0f MB at most
`, r.Records, r.Seconds, r.Rounds, r.Matched, r.Windows, r.Verified,
		r.RecordsPerSecond/1e6, r.Workers, r.OneWorkerRecordsPerSecond/1e6,
		r.CeilingRecordsPerSecond/1e6, 100*r.RecordsPerSecond/r.CeilingRecordsPerSecond,
		r.Commits, r.CommitIntervalMS, r.Guarantee, r.Flush,
		r.Checkpoints, float64(r.BadgerBytes)/1e6, r.ChangelogRecords,
		r.CPUSeconds, float64(r.PeakRSSBytes)/1e6)
	return err
}
