package main

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/wire"
)

// standardAuthorizer is what Kafka calls access control lists that are on.
const standardAuthorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

// brokerConfig puts the settings of both kinds, and --property, together.
func brokerConfig(cmd *cobra.Command, s *settings, specs []wire.ListenerSpec, logger *slog.Logger) (broker.Config, error) {
	given, _ := cmd.Flags().GetStringArray("property")
	for _, kv := range given {
		name, value, err := assignment("--property", kv)
		if err != nil {
			return broker.Config{}, err
		}
		if i := slices.IndexFunc(kafkaNames, func(n struct{ key, kafka string }) bool { return n.kafka == name }); i >= 0 {
			return broker.Config{}, usagef("--property %s: say --%s", name, kafkaNames[i].key)
		}
		s.properties[name] = value
		s.source[name] = "flag"
	}
	for _, n := range kafkaNames {
		if v := s.GetString(n.key); v != "" && (s.source[n.key] != "default" || n.key == "data-dir") {
			s.properties[n.kafka] = v
		}
	}
	delete(s.properties, "log.dir")
	s.properties["listeners"], s.properties["advertised.listeners"] = listenersText(specs)
	if s.GetBool("acl") && s.properties["authorizer.class.name"] == "" {
		s.properties["authorizer.class.name"] = standardAuthorizer
	}
	cfg, ignored, err := broker.ParseConfig(s.properties)
	if err != nil {
		return cfg, usageError{err}
	}
	if len(ignored) > 0 {
		logger.Warn("configurations without a meaning here", "names", strings.Join(ignored, ", "))
	}
	cfg.Logger = logger
	return cfg, nil
}

// listenersText is what Kafka's listeners and advertised.listeners say.
func listenersText(specs []wire.ListenerSpec) (listeners, advertised string) {
	var at, told []string
	for _, l := range specs {
		at = append(at, l.Name+"://"+l.Addr)
		if l.Advertised != "" {
			told = append(told, l.Name+"://"+l.Advertised)
		}
	}
	return strings.Join(at, ","), strings.Join(told, ",")
}

// wireConfig takes the server's own configurations by Kafka's names.
func wireConfig(bc *broker.Config) (wire.Config, error) {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(bc.Property(name), 10, 64) // ParseConfig has checked it
		return n
	}
	wc := wire.Config{
		NoAutoCreate:     bc.Property("auto.create.topics.enable") == "false",
		MaxRequestBytes:  int32(number("socket.request.max.bytes")),
		MaxFetchBytes:    int32(number("fetch.max.bytes")),
		MaxFetchSessions: int(number("max.incremental.fetch.session.cache.slots")),
		IdleTimeout:      time.Duration(number("connections.max.idle.ms")) * time.Millisecond,
	}
	if n := number("queued.max.request.bytes"); n > 0 {
		wc.MaxInFlightBytes = n
	}
	wc.Security.MaxReauth = time.Duration(number("connections.max.reauth.ms")) * time.Millisecond
	wc.Security.FailureDelay = time.Duration(number("connection.failed.authentication.delay.ms")) * time.Millisecond
	if wc.Security.FailureDelay == 0 {
		wc.Security.FailureDelay = -1
	}
	wc.Security.PrincipalRules = bc.Property("ssl.principal.mapping.rules")
	for _, name := range []string{"ssl.keystore.type", "ssl.truststore.type"} {
		if v := bc.Property(name); v != "PEM" {
			return wc, usagef("%s=%s: certificates are PEM files here: export them (openssl pkcs12 -in STORE -out FILE.pem)", name, v)
		}
	}
	for _, name := range []string{"ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.truststore.certificates", "ssl.key.password", "ssl.keystore.password"} {
		if bc.Property(name) != "" {
			return wc, usagef("%s: not supported: name PEM files without a password by ssl.keystore.location and ssl.truststore.location", name)
		}
	}
	return wc, nil
}

// jaasUser is a user of PLAIN in the form of JAAS: user_NAME="PASSWORD".
var jaasUser = regexp.MustCompile(`\buser_([^\s=]+)\s*=\s*"((?:[^"\\]|\\.)*)"`)

// jaasUsers are the users of PLAIN that sasl.jaas.config names, for all
// listeners or for one.
func jaasUsers(bc *broker.Config) map[string]string {
	users := map[string]string{}
	for name, text := range bc.Properties {
		if name != "sasl.jaas.config" && !strings.HasSuffix(name, ".plain.sasl.jaas.config") {
			continue
		}
		for _, m := range jaasUser.FindAllStringSubmatch(text, -1) {
			users[m[1]] = strings.ReplaceAll(m[2], `\"`, `"`)
		}
	}
	return users
}

// addSecurity joins what the settings and the JAAS lines say of users.
func addSecurity(into *wire.Security, sec wire.Security, jaas map[string]string) {
	into.Authorization, into.FirstUsers, into.PlainPassword = sec.Authorization, sec.FirstUsers, sec.PlainPassword
	if len(jaas) == 0 {
		return
	}
	file := sec.PlainPassword
	into.PlainPassword = func(user string) (string, bool) {
		if file != nil {
			if password, ok := file(user); ok {
				return password, true
			}
		}
		password, ok := jaas[user]
		return password, ok
	}
}

// checkMechanisms refuses PLAIN without users, in the words of the settings.
func checkMechanisms(listeners []wire.Listener, sec *wire.Security) error {
	for _, l := range listeners {
		if slices.Contains(l.SASL, wire.Plain) && sec.PlainPassword == nil {
			return usageError{fmt.Errorf("listener %s offers PLAIN, but there is no user: give --sasl-users", l.Name)}
		}
	}
	return nil
}
