package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

const usage = `Counts syslog lines that contain a text, per host or source and window, and
prints an alert for each window that reaches a threshold.

Usage:
  syslog-alerts -demo                                        lines of its own, one minute
  syslog-alerts -input FILE [flags]                          a file to its end
  syslog-alerts -udp ADDR -tcp ADDR -http ADDR -dir DIR [-webhook URL] [flags]
                                                             a service: listens until SIGTERM
`

// helpGroups are the flags by what they are for, in the order of the help.
var helpGroups = []struct {
	title string
	flags []string
}{
	{"What is read", []string{"demo", "input", "udp", "tcp", "unix", "tls", "tls-cert", "tls-key", "tls-ca", "max-conns", "max-conns-per-peer", "idle-timeout", "max-ahead"}},
	{"What is counted (over kept state these cannot change)", []string{"match", "by", "window", "threshold", "grace", "emit", "year", "tz", "partitions"}},
	{"Where alerts go", []string{"o", "webhook", "webhook-body", "webhook-secret", "webhook-authorization", "webhook-ca", "webhook-timeout", "webhook-retry-for", "webhook-uncommitted", "webhook-rate"}},
	{"How it runs", []string{"dir", "log", "retention", "http", "config", "workers"}},
}

// printHelp is -h.
func printHelp(w io.Writer, fs *flag.FlagSet) error {
	var b strings.Builder
	b.WriteString(usage)
	for _, g := range helpGroups {
		fmt.Fprintf(&b, "\n%s:\n", g.title)
		for _, name := range g.flags {
			f := fs.Lookup(name)
			value, text := flag.UnquoteUsage(f)
			fmt.Fprintf(&b, "  %-25s %s%s\n", strings.TrimRight("-"+name+" "+value, " "), text, defaultOf(f))
		}
	}
	fmt.Fprintf(&b, `
Every flag can stand in the file of -config ("window: 2m") or in the environment
(%sWINDOW=2m; %sCONFIG names the file). A flag goes before
the environment, that before the file.

Exit codes: 0 fine, 1 failed, 2 wrong usage.
`, envPrefix, envPrefix)
	_, err := io.WriteString(w, b.String())
	return err
}

// defaultOf is a flag's default in brackets, nothing if the text says all.
func defaultOf(f *flag.Flag) string {
	switch f.DefValue {
	case "", "0", "0s", "false":
		return ""
	}
	return " (default " + f.DefValue + ")"
}
