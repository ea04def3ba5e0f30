package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// check reports every problem at once. given are the settings that are not the
// defaults, rest the arguments that are no flags.
func (c *config) check(given map[string]bool, rest []string) error {
	var errs []error
	wrong := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(len(rest) == 0, "unexpected argument %q: all arguments are flags", first(rest))
	c.checkMode(given, wrong)
	c.checkService(given, wrong)
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
	if len(errs) == 0 && c.listens() { // what is left to see: certificates, paths, addresses given twice
		if err := c.listenOn().Validate(); err != nil {
			wrong(false, "%w", err)
		}
	}
	return errors.Join(errs...)
}

// checkMode judges what the three ways to run allow beside each other.
func (c *config) checkMode(given map[string]bool, wrong func(ok bool, format string, args ...any)) {
	live := !c.demo && c.listens()
	wrong(c.demo || live || c.input != "", "nothing to read: give -demo, -input FILE, or -udp ADDR and -tcp ADDR (-h shows all flags)")
	wrong(!given["input"] || c.input != "", "-input: the file's name is empty")
	wrong(c.input == "" || !c.demo && !live, "-input does not go with -demo, -udp or -tcp")
	wrong(c.input != "-" || c.dir == "", "-input - does not go with -dir: standard input cannot be read again")
	wrong(!c.demo || c.dir == "", "-demo does not go with -dir: it runs in a temporary directory")
	wrong(c.log == "" || strings.HasPrefix(c.log, "kafka://"), "-log %s: expected kafka://HOST:PORT and more with commas", c.log)
	wrong(c.log == "" || c.dir != "", "-log needs -dir DIR: where this process keeps its state and its name among the others")
	for _, name := range []string{"log", "webhook", "retention", "max-ahead", "max-conns", "max-conns-per-peer", "idle-timeout"} {
		wrong(live || !given[name] || c.input == "" && !c.demo, "-%s is for listening (-udp, -tcp, -tls, -unix)", name)
	}
}

// checkService judges what only a service has.
func (c *config) checkService(given map[string]bool, wrong func(ok bool, format string, args ...any)) {
	wrong(c.tls == "" || c.tlsCert != "" && c.tlsKey != "", "-tls needs -tls-cert FILE and -tls-key FILE")
	for _, name := range []string{"tls-cert", "tls-key", "tls-ca"} {
		wrong(c.tls != "" || !given[name], "-%s needs -tls ADDR", name)
	}
	ofWebhook := c.webhookMost >= 1 && c.webhookMost <= 10_000 && c.webhookTimeout > 0 && c.webhookRate >= 0 && c.webhookRetryFor >= 0
	if !c.webhook.IsZero() && ofWebhook { // what the flags below say is not said twice
		if _, err := c.newWebhook(); err != nil {
			wrong(false, "%w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		wrong(!given[name] || !strings.HasPrefix(name, "webhook-") || !c.webhook.IsZero(), "-%s needs -webhook URL", name)
	}
	wrong(c.webhookMost >= 1 && c.webhookMost <= 10_000, "-webhook-uncommitted %d: expected 1 to 10000", c.webhookMost)
	wrong(c.webhookTimeout > 0, "-webhook-timeout %v: expected more than 0", c.webhookTimeout)
	wrong(c.webhookRate >= 0, "-webhook-rate %v: expected at least 0", c.webhookRate)
	wrong(c.webhookRetryFor >= 0, "-webhook-retry-for %v: expected at least 0", c.webhookRetryFor)
	c.checkAddresses(wrong)
	wrong(c.maxConns >= 1, "-max-conns %d: expected at least 1", c.maxConns)
	wrong(c.maxConnsPerPeer >= 0, "-max-conns-per-peer %d: expected at least 0", c.maxConnsPerPeer)
	wrong(c.idleTimeout >= 0, "-idle-timeout %v: expected at least 0", c.idleTimeout)
	wrong(c.maxAhead >= 0, "-max-ahead %v: expected at least 0", c.maxAhead)
	wrong(c.retention == 0 || c.retention >= time.Minute, "-retention %v: expected 0 or at least 1m", c.retention)
}

// checkAddresses judges what can be without binding or a name server: a name
// that is not found may be there the next time.
func (c *config) checkAddresses(wrong func(ok bool, format string, args ...any)) {
	for _, at := range []struct{ flag, network, addr string }{
		{"udp", "udp", c.udp}, {"tcp", "tcp", c.tcp}, {"tls", "tcp", c.tls}, {"http", "tcp", c.http},
	} {
		if at.addr == "" {
			continue
		}
		host, port, err := net.SplitHostPort(at.addr)
		if err == nil {
			_, err = net.LookupPort(at.network, port)
		}
		if err == nil && host != "" && strings.Trim(host, "0123456789.") == "" {
			_, err = netip.ParseAddr(host)
		}
		wrong(err == nil, "-%s %s: expected HOST:PORT or :PORT, with a port of 0 to 65535, such as 127.0.0.1:5514", at.flag, at.addr)
	}
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
