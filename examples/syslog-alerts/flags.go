package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/runtime/settings"
)

// config is what the flags, the environment and the settings file say.
type config struct {
	demo  bool
	input string // file or "-"

	udp, tcp, unix             string
	tls                        string
	tlsCert, tlsKey            string // files
	tlsCA                      string // file; "": clients need no certificate
	http                       string
	webhook                    connectors.Secret // URL
	webhookBody                string            // alert, slack, alertmanager or file:PATH
	webhookSecret, webhookAuth connectors.Secret
	webhookCA                  string // file
	webhookTimeout             time.Duration
	webhookRetryFor            time.Duration // 0: for good
	webhookMost                int           // alerts posted and not committed
	webhookRate                float64       // per second
	maxConns, maxConnsPerPeer  int
	idleTimeout                time.Duration // 0: never
	maxAhead                   time.Duration
	retention                  time.Duration
	by                         string // host or source
	match                      string
	window                     time.Duration
	threshold                  int64
	grace                      time.Duration
	emit                       string // breach or final
	output                     string // text or json
	year                       int    // 0: see syslog.YearRule
	tz                         *time.Location
	dir                        string // "": a temporary one
	log                        string // "": in dir
	partitions, workers        int
}

// listens reports whether there is an address to listen on.
func (c *config) listens() bool { return c.udp != "" || c.tcp != "" || c.tls != "" || c.unix != "" }

// usageError is wrong usage: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// envPrefix begins the variables of the environment that are settings.
const envPrefix = "SYSLOG_ALERTS_"

// defaultRetention of a service's lines, alerts and dead letters.
const defaultRetention = 7 * 24 * time.Hour

// newFlags declares every flag. tz and file are those that are not the
// config's own.
func newFlags(c *config) (fs *flag.FlagSet, tz, file *string) {
	fs = flag.NewFlagSet(appName, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.BoolVar(&c.demo, "demo", false, "send 300,000 lines through sockets of this machine and show the alerts")
	fs.StringVar(&c.input, "input", "", "read RFC 3164 lines from `FILE` (- is standard input) to its end")
	fs.StringVar(&c.udp, "udp", "", "listen for syslog on this UDP `ADDR`, such as 127.0.0.1:5514")
	fs.StringVar(&c.tcp, "tcp", "", "listen for syslog on this TCP `ADDR`")
	fs.StringVar(&c.tls, "tls", "", "listen for syslog over TLS on this TCP `ADDR`; needs -tls-cert and -tls-key")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "the certificate of -tls, a PEM `FILE`")
	fs.StringVar(&c.tlsKey, "tls-key", "", "its key, a PEM `FILE`")
	fs.StringVar(&c.tlsCA, "tls-ca", "", "senders over TLS need a certificate of these authorities, a PEM `FILE`")
	fs.StringVar(&c.unix, "unix", "", "listen for syslog on the unix socket at this `PATH`")
	fs.IntVar(&c.maxConns, "max-conns", 1024, "at most `N` connections of TCP and TLS at once; more are closed")
	fs.IntVar(&c.maxConnsPerPeer, "max-conns-per-peer", 256, "at most `N` of them from one IP address; 0: as many as there are")
	timeVar(fs, &c.idleTimeout, "idle-timeout", 0, "close a connection that is silent for this `TIME`; 0: never")
	fs.StringVar(&c.http, "http", "", "serve /metrics, /healthz, /readyz and /stores on this `ADDR`")

	fs.TextVar(&c.webhook, "webhook", connectors.Secret{}, "post each alert to this `URL`; env:NAME or file:PATH says where it stands")
	fs.StringVar(&c.webhookBody, "webhook-body", "alert", "the `BODY`: alert (JSON), slack, alertmanager, or file:PATH of a Go template")
	fs.TextVar(&c.webhookSecret, "webhook-secret", connectors.Secret{}, "sign what is posted with this `SECRET`: env:NAME, file:PATH or the secret itself")
	fs.TextVar(&c.webhookAuth, "webhook-authorization", connectors.Secret{}, "the Authorization header, a `SECRET` likewise")
	fs.StringVar(&c.webhookCA, "webhook-ca", "", "authorities to trust instead of the system's, a PEM `FILE`")
	timeVar(fs, &c.webhookTimeout, "webhook-timeout", 10*time.Second, "how long one post may take, a `TIME`")
	timeVar(fs, &c.webhookRetryFor, "webhook-retry-for", time.Hour, "after this `TIME` without success put alerts aside and go on; 0: never")
	fs.IntVar(&c.webhookMost, "webhook-uncommitted", 16, "a crash repeats at most `N` posts")
	fs.Float64Var(&c.webhookRate, "webhook-rate", 0, "post at most `N` alerts a second; 0: as fast as they are taken")

	fs.StringVar(&c.by, "by", "host", "count per `host` or per source: the word after the last \" from \"")
	fs.StringVar(&c.match, "match", "Invalid user", "count the lines that contain this `TEXT`")
	timeVar(fs, &c.window, "window", time.Minute, "the windows' length, a `TIME` such as 30s or 5m (with -demo 5s)")
	fs.Int64Var(&c.threshold, "threshold", 5, "alert when a window's count reaches `N`")
	timeVar(fs, &c.grace, "grace", 10*time.Second, "the `TIME` that a window waits for lines that are out of order (with -input 0s)")
	fs.StringVar(&c.emit, "emit", "breach", "alert at the `breach` of the threshold, or final: at the window's end (with -input final)")
	timeVar(fs, &c.maxAhead, "max-ahead", 0, "a line that is more than this `TIME` ahead of its coming counts as of when it came; 0: all times are taken")
	fs.IntVar(&c.year, "year", 0, "the `YEAR` of every line (RFC 3164 has none); without it the current one")
	tz = fs.String("tz", "UTC", "the time `ZONE` of the lines, such as Europe/Berlin")

	file = fs.String("config", "", "read settings from this YAML `FILE`: the flags' names without the dash")
	fs.StringVar(&c.output, "o", "text", "print `text` for people or json, one object a line")
	fs.StringVar(&c.dir, "dir", "", "keep log and state in `DIR` and go on there the next time")
	fs.StringVar(&c.log, "log", "", "the log is on the `CLUSTER` kafka://HOST:PORT,...; processes with the same one share the work (default: in -dir)")
	fs.Var((*days)(&c.retention), "retention", "keep lines, alerts and dead letters for this `TIME`, such as 36h; 0: for good (a service 7d)")
	fs.IntVar(&c.partitions, "partitions", 4, "partitions of the topics")
	fs.IntVar(&c.workers, "workers", 0, "workers (default one per core)")
	return fs, tz, file
}

// timeVar declares a flag that is a duration.
func timeVar(fs *flag.FlagSet, p *time.Duration, name string, value time.Duration, usage string) {
	*p = value
	fs.Var((*span)(p), name, usage)
}

// span is a duration whose mistakes say what is expected.
type span time.Duration

func (s *span) String() string { return time.Duration(*s).String() }

func (s *span) Set(text string) error {
	t, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("expected a time such as 30s or 5m")
	}
	*s = span(t)
	return nil
}

// days is a duration that may be given in days: "30d".
type days time.Duration

func (d *days) String() string {
	if t := time.Duration(*d); t == 0 || t%(24*time.Hour) != 0 {
		return t.String()
	}
	return strconv.FormatInt(int64(time.Duration(*d)/(24*time.Hour)), 10) + "d"
}

func (d *days) Set(s string) error {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		v, err := strconv.ParseInt(n, 10, 32)
		*d = days(v * int64(24*time.Hour))
		if err != nil || v > 36500 {
			return errors.New("expected a number of days, at most 36500")
		}
		return nil
	}
	t, err := time.ParseDuration(s)
	*d = days(t)
	if err != nil {
		return errors.New("expected a duration such as 36h or 30d")
	}
	return nil
}

// parseFlags reads and checks the command line, the environment and the settings
// file. errors other than flag.ErrHelp are usageErrors of one line.
func parseFlags(args []string, help io.Writer) (config, error) {
	var c config
	fs, tz, file := newFlags(&c)
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return c, errors.Join(flag.ErrHelp, printHelp(help, fs))
	}
	err = nearestFlag(fs, err)
	var from map[string]string
	if err == nil {
		from, err = fromElsewhere(fs, *file)
	}
	if err == nil {
		given := map[string]bool{}
		for name, where := range from {
			given[name] = where != "default"
		}
		c.fillIn(given)
		err = errors.Join(c.check(given, fs.Args()), c.loadZone(*tz))
	}
	if err != nil {
		return c, usageError{errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	return c, nil
}

// nearestFlag names the flag that was probably meant if err is of an unknown
// one, which package flag tells by its text alone.
func nearestFlag(fs *flag.FlagSet, err error) error {
	if err == nil {
		return nil
	}
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return err
	}
	var known []string
	fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if n := settings.Nearest(name, known); n != "" {
		return fmt.Errorf("unknown flag -%s: did you mean -%s?", name, n)
	}
	return fmt.Errorf("unknown flag -%s (-h shows all flags)", name)
}

// fromElsewhere sets the flags that the command line did not, from the
// environment, then from the settings file, and says where each came from.
func fromElsewhere(fs *flag.FlagSet, file string) (from map[string]string, err error) {
	places := settings.Config{EnvPrefix: envPrefix, File: file}
	var environ []string
	for _, kv := range os.Environ() {
		if name, ok := strings.CutPrefix(kv, envPrefix+"CONFIG="); !ok {
			environ = append(environ, kv)
		} else if file == "" {
			places.File = name
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		if f.Name != "config" { // names the file, and cannot stand in it
			places.Known = append(places.Known, f.Name)
		}
	})
	values, err := places.Load(environ)
	if err != nil {
		return nil, err
	}
	return settings.SetFlags(fs, values)
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
	// Lines of a year that is over would be gone at once.
	if !given["retention"] && c.listens() && c.dir != "" && c.year == 0 {
		c.retention = defaultRetention
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
