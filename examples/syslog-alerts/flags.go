package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors/syslog"
)

// config is what the flags say.
type config struct {
	demo     bool
	input    string // file or "-"
	udp, tcp string
	http     string

	by        string // host or source
	match     string
	window    time.Duration
	threshold int64
	grace     time.Duration
	emit      string // breach or final
	output    string // text or json
	year      int    // 0: see syslog.YearRule
	tz        *time.Location

	dir        string // "": a temporary one
	partitions int
	workers    int
}

// usageError is wrong usage: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// parseFlags reads and checks the command line. errors other than flag.ErrHelp
// are usageErrors of one line.
func parseFlags(args []string, help io.Writer) (config, error) {
	var c config
	var tz string
	fs := flag.NewFlagSet("syslog-alerts", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&c.demo, "demo", false, "send 300,000 lines through sockets of this machine and show the alerts")
	fs.StringVar(&c.input, "input", "", "read RFC 3164 lines from `FILE` (- is standard input) to its end")
	fs.StringVar(&c.udp, "udp", "", "listen for syslog on this UDP `ADDR`, such as 127.0.0.1:5514")
	fs.StringVar(&c.tcp, "tcp", "", "listen for syslog on this TCP `ADDR`")
	fs.StringVar(&c.http, "http", "", "serve /metrics, /healthz and /readyz on this `ADDR`")
	fs.StringVar(&c.by, "by", "host", "count per `host` or per source: the word after the last \" from \"")
	fs.StringVar(&c.match, "match", "Invalid user", "count the lines that contain this `TEXT`")
	fs.DurationVar(&c.window, "window", time.Minute, "length of the windows (with -demo 5s)")
	fs.Int64Var(&c.threshold, "threshold", 5, "alert when a window's count reaches `N`")
	fs.DurationVar(&c.grace, "grace", 10*time.Second, "how long a window waits for lines that are out of order (with -input 0)")
	fs.StringVar(&c.emit, "emit", "breach", "alert at the `breach` of the threshold, or final: when the window closes (with -input final)")
	fs.StringVar(&c.output, "o", "text", "print `text` for people or json, one object a line")
	fs.IntVar(&c.year, "year", 0, "the `YEAR` of every line (RFC 3164 has none); without it the current one")
	fs.StringVar(&tz, "tz", "UTC", "the time `ZONE` of the lines, such as Europe/Berlin")
	fs.StringVar(&c.dir, "dir", "", "keep log and state in `DIR` and go on there the next time")
	fs.IntVar(&c.partitions, "partitions", 4, "partitions of the topics")
	fs.IntVar(&c.workers, "workers", 0, "workers (default one per core)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(help, "Usage: syslog-alerts -demo | -input FILE | -udp ADDR -tcp ADDR [flags]")
			fs.SetOutput(help)
			fs.PrintDefaults()
			return c, flag.ErrHelp
		}
		return c, usageError{err}
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	c.fillIn(given)
	err := errors.Join(c.check(given, fs.Args()), c.loadZone(tz))
	if err != nil {
		return c, usageError{errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	return c, nil
}

// fillIn sets the defaults that depend on the mode.
func (c *config) fillIn(given map[string]bool) {
	if c.input != "" {
		if !given["grace"] {
			c.grace = 0
		}
		if !given["emit"] {
			c.emit = "final"
		}
	}
	if c.demo {
		if !given["window"] {
			c.window = 5 * time.Second
		}
		c.udp, c.tcp = either(c.udp, "127.0.0.1:0"), either(c.tcp, "127.0.0.1:0")
	}
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (c *config) loadZone(name string) (err error) {
	if c.tz, err = time.LoadLocation(name); err != nil {
		return fmt.Errorf("-tz: %w", err)
	}
	return nil
}

// check reports every problem at once.
func (c *config) check(given map[string]bool, rest []string) error {
	var errs []error
	wrong := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(len(rest) == 0, "unexpected argument %q: all arguments are flags", first(rest))
	live := !c.demo && (c.udp != "" || c.tcp != "")
	wrong(c.demo || live || c.input != "", "nothing to read: give -demo, -input FILE, or -udp ADDR and -tcp ADDR (-h shows all flags)")
	wrong(!given["input"] || c.input != "", "-input: the file's name is empty")
	wrong(c.input == "" || !c.demo && !live, "-input does not go with -demo, -udp or -tcp")
	wrong(c.input != "-" || c.dir == "", "-input - does not go with -dir: standard input cannot be read again")
	wrong(!c.demo || c.dir == "", "-demo does not go with -dir: it runs in a temporary directory")
	wrong(c.by == "host" || c.by == "source", "-by %s: expected host or source", c.by)
	wrong(c.emit == "breach" || c.emit == "final", "-emit %s: expected breach or final", c.emit)
	wrong(c.output == "text" || c.output == "json", "-o %s: expected text or json", c.output)
	wrong(c.match != "", "-match: the text is empty")
	wrong(c.window >= time.Millisecond && c.window%time.Millisecond == 0, "-window %v: expected whole milliseconds, at least 1ms", c.window)
	wrong(c.grace >= 0 && c.grace%time.Millisecond == 0, "-grace %v: expected whole milliseconds, at least 0", c.grace)
	wrong(c.threshold >= 1, "-threshold %d: expected at least 1", c.threshold)
	wrong(c.partitions >= 1 && c.partitions <= 1024, "-partitions %d: expected 1 to 1024", c.partitions)
	wrong(c.workers >= 0, "-workers %d: expected at least 0", c.workers)
	wrong(!given["year"] || c.year >= 1 && c.year <= 9999, "-year %d: expected 1 to 9999", c.year)
	return errors.Join(errs...)
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// settings are the flags that the state depends on: the engine refuses to go on
// over the state of others.
func (c *config) settings() map[string]string {
	return map[string]string{
		"by": c.by, "match": c.match, "window": c.window.String(), "threshold": strconv.FormatInt(c.threshold, 10),
		"grace": c.grace.String(), "emit": c.emit, "partitions": strconv.Itoa(c.partitions),
		"year": strconv.Itoa(c.year), "tz": c.tz.String(),
	}
}

// parser says how lines are read.
func (c *config) parser() syslog.ParserConfig {
	p := syslog.ParserConfig{Location: c.tz}
	if c.year != 0 {
		p.Years, p.Year = syslog.FixedYear, c.year
	}
	return p
}
