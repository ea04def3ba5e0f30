// Command conformance runs the test suites of other projects' clients against
// `millstream serve`, and prints what ran, passed and was skipped: franz-go's
// own integration tests, also with connections that are cut at random, and
// kafka-go's. Only the Makefile runs it; its tests run a part of each.
//
// A test has to pass unless testdata/ lists it: those fail on an Apache Kafka
// 4.3.1 as well (-target kafka -record writes the list anew), or can pass on a
// cluster of several brokers only.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (bool, error) {
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	against := f.String("target", "millstream", "the broker under test: millstream, or kafka (fetched with Maven)")
	only := f.String("suite", "", "run this suite only: "+strings.Join(suiteNames(), ", "))
	pattern := f.String("run", "", "run only tests that match this pattern of go test")
	record := f.Bool("record", false, "with -target kafka: write the list of tests that fail there")
	explain := f.Bool("explain", false, "print what listed tests said when they failed, too")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	if *only != "" && !slices.Contains(suiteNames(), *only) {
		return false, fmt.Errorf("no suite %q: there are %s", *only, strings.Join(suiteNames(), ", "))
	}
	ok := true
	for _, s := range suites {
		if *only != "" && s.name != *only {
			continue
		}
		if *pattern != "" {
			s.whole.run = []string{*pattern}
		}
		s.explain = *explain
		passed, err := s.against(ctx, *against, *record, out)
		if err != nil {
			return false, err
		}
		ok = ok && passed
	}
	return ok, nil
}

// suite is a foreign suite and the list of tests that need not pass.
type suite struct {
	name   string
	run    func(ctx context.Context, p part, progress io.Writer) (*results, error)
	whole  part
	exempt string // a file of testdata

	explain bool
}

var suites = []suite{
	{name: "kafka-go", run: runKafkaGo, whole: part{timeout: 20 * time.Minute}, exempt: "kafka-go.txt"},
	{name: "franz-go", run: runFranzGo, whole: part{records: 100_000, timeout: 20 * time.Minute}, exempt: "franz-go.txt"},
	{name: "franz-go-chaos", run: runFranzGo, whole: part{
		records: 50_000, timeout: 20 * time.Minute,
		run: []string{"TestGroupETL", "TestTxnEtl"}, env: []string{"KGO_TEST_CHAOS=1"},
	}, exempt: "franz-go.txt"},
}

func suiteNames() []string {
	var names []string
	for _, s := range suites {
		names = append(names, s.name)
	}
	return names
}

// against starts a broker with empty directories, runs the suite and prints its account.
func (s suite) against(ctx context.Context, broker string, record bool, out io.Writer) (bool, error) {
	dir, err := os.MkdirTemp("", "millstream-conformance")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	start, ok := starters[broker]
	if !ok {
		return false, fmt.Errorf("no target %q: there are millstream and kafka", broker)
	}
	b, err := start(dir)
	if err != nil {
		return false, err
	}
	defer b.Kill()
	fmt.Fprintf(out, "== %s on %s\n", s.name, broker)
	r, err := s.run(ctx, s.whole, out)
	if err != nil {
		return false, fmt.Errorf("%s: %w\nthe end of the broker's log:\n%s", s.name, err, b.LogTail(4000))
	}
	if record {
		if err := writeExempt(s.exempt, r); err != nil {
			return false, err
		}
	}
	return s.account(r, out)
}

var starters = map[string]func(dir string) (target, error){"millstream": startServe, "kafka": startKafka}

// account prints the totals, and the output of each test that had to pass and did not.
func (s suite) account(r *results, out io.Writer) (bool, error) {
	list, err := readExempt(s.exempt) // as it was when this command was built
	if err != nil {
		return false, err
	}
	ok := true
	var excused []string
	for _, name := range r.with("fail") {
		if why, listed := list.reason(name); listed {
			excused = append(excused, name+": "+why)
			if s.explain {
				fmt.Fprintf(out, "said  %s\n%s", name, r.output[name])
			}
			continue
		}
		ok = false
		fmt.Fprintf(out, "FAIL  %s\n%s", name, r.output[name])
	}
	for _, e := range excused {
		fmt.Fprintln(out, "listed", e)
	}
	if r.fault != "" {
		ok = false
		fmt.Fprintln(out, r.fault)
	}
	fmt.Fprintf(out, "%s: %d run, %d passed, %d failed (%d of them listed), %d skipped, in %v\n",
		s.name, len(r.verdict), r.count("pass"), r.count("fail"), len(excused), r.count("skip"), r.took.Round(time.Second))
	return ok, nil
}
