package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/wire"
)

// serveSecuritySettings say who may connect to `millstream serve` and what they may do.
var serveSecuritySettings = []string{
	"tls-cert", "tls-key", "tls-client-ca", "tls-client-auth", "sasl-mechanisms", "sasl-users", "first-user",
	"acl", "super-users", "allow-if-no-acl",
}

// secureListeners gives listeners the certificates and mechanisms that their protocols ask for.
func secureListeners(s *settings, specs []wire.ListenerSpec, plain bool, logger *slog.Logger) ([]wire.Listener, error) {
	files := wire.TLSFiles{
		Certificate: s.GetString("tls-cert"), Key: s.GetString("tls-key"), ClientCA: s.GetString("tls-client-ca"),
		ClientAuth: wire.ClientAuth(s.GetString("tls-client-auth")), Logger: logger,
	}
	var listeners []wire.Listener
	for _, spec := range specs {
		l := wire.Listener{Name: spec.Name, Addr: spec.Addr, Advertised: spec.Advertised}
		if spec.TLS() {
			if files.Certificate == "" {
				return nil, usagef("--listen: %s://%s needs a certificate: give --tls-cert and --tls-key", spec.Protocol, spec.Addr)
			}
			var err error
			if l.TLS, err = files.Load(); err != nil {
				return nil, usageError{err}
			}
		}
		if spec.SASL() {
			l.SASL = saslMechanisms(s, plain)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// saslMechanisms are those of --sasl-mechanisms: by default SCRAM, and PLAIN
// where there are users of it.
func saslMechanisms(s *settings, plain bool) []string {
	var names []string
	for name := range strings.SplitSeq(s.GetString("sasl-mechanisms"), ",") {
		if name = strings.ToUpper(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		return names
	}
	names = []string{wire.ScramSHA256, wire.ScramSHA512}
	if plain || s.GetString("sasl-users") != "" {
		names = append(names, wire.Plain)
	}
	return names
}

// serveSecurity is what holds for all listeners.
func serveSecurity(s *settings, logger *slog.Logger) (wire.Security, error) {
	var sec wire.Security
	if file := s.GetString("sasl-users"); file != "" {
		if _, err := readUsers(file); err != nil {
			return sec, usagef("--sasl-users: %w", err)
		}
		sec.PlainPassword = func(user string) (string, bool) {
			users, err := readUsers(file)
			if err != nil {
				logger.Error("no user of PLAIN can log in", "err", err)
			}
			password, ok := users[user]
			return password, ok
		}
	}
	if text := s.GetString("first-user"); text != "" {
		name, password, ok := strings.Cut(text, ":")
		if !ok || name == "" || password == "" {
			return sec, usagef("setting first-user (%s): expected NAME:PASSWORD", s.source["first-user"])
		}
		password, err := connectors.NewSecret(password).Reveal()
		if err != nil {
			return sec, usagef("setting first-user (%s): %w", s.source["first-user"], err)
		}
		sec.FirstUsers = []broker.ScramUser{ // clients may log in either way
			{Name: name, Password: password, Mechanism: wire.ScramSHA512}, {Name: name, Password: password, Mechanism: wire.ScramSHA256}}
	}
	if s.GetBool("acl") {
		sec.Authorization = &wire.Authorization{AllowIfNoACL: s.GetBool("allow-if-no-acl")}
		for u := range strings.SplitSeq(s.GetString("super-users"), ";") {
			if u = strings.TrimSpace(u); u != "" {
				sec.Authorization.SuperUsers = append(sec.Authorization.SuperUsers, u)
			}
		}
	} else if s.GetString("super-users") != "" || s.GetBool("allow-if-no-acl") {
		return sec, usagef("--super-users and --allow-if-no-acl mean something with --acl only: give it as well")
	}
	return sec, nil
}

// readUsers reads lines of NAME:PASSWORD; empty ones and those that begin with # are passed over.
func readUsers(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	users := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, password, ok := strings.Cut(line, ":")
		if !ok || name == "" || password == "" {
			return nil, fmt.Errorf("%s, line %d: expected NAME:PASSWORD", file, n)
		}
		users[name] = password
	}
	if len(users) == 0 && lines.Err() == nil {
		return nil, errors.New(file + " names no user")
	}
	return users, lines.Err()
}
