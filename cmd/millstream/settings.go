package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/millstream-io/millstream/log/broker"
	places "github.com/millstream-io/millstream/runtime/settings"
)

// setting is one value that a flag, a MILLSTREAM_* variable or millstream.yaml
// can give. The environment's name is the key in capitals with underscores.
type setting struct {
	key  string
	def  any // its type is the setting's
	help string
}

// knownSettings are all settings of the binary. A key that is not here is refused.
var knownSettings = []setting{
	{"data-dir", "data", "data directory of the log"},
	{"flush", "commit", "durability of an acknowledgement: commit (on disk) or os (page cache)"},
	{"commit-interval", 100 * time.Millisecond, "time between commits of a running topology"},
	{"checkpoint-interval", 5 * time.Second, "time between checkpoints of a task"},
	{"workers", 0, "goroutines that run tasks; 0: one per core"},
	{"partitions", 1, "serve: partitions of topics that clients make without a number"},
	{"listen", "127.0.0.1:9092", "serve: where to listen: [PROTOCOL://]HOST:PORT, several with commas; PLAINTEXT (default), SSL, SASL_PLAINTEXT, SASL_SSL"},
	{"advertise", "", "serve: what clients are told to connect to, HOST:PORT for each listener; default: where it listens"},
	{"insecure", false, "serve: allow listeners beyond loopback without TLS"},
	{"tls-cert", "", "serve: PEM file of the certificate of SSL and SASL_SSL listeners, read anew when it changes"},
	{"tls-key", "", "serve: PEM file of its key; default: in --tls-cert"},
	{"tls-client-ca", "", "serve: PEM file of the authorities that sign clients' certificates"},
	{"tls-client-auth", "none", "serve: clients' certificates: none, requested or required"},
	{"sasl-mechanisms", "", "serve: what SASL listeners offer: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; default: SCRAM, and PLAIN with --sasl-users"},
	{"sasl-users", "", "serve: file of the users of PLAIN, a line NAME:PASSWORD each, read at each login"},
	{"first-user", "", "serve: NAME:PASSWORD of a SCRAM user to make where there is none yet; PASSWORD may be env:VARIABLE or file:PATH"},
	{"acl", false, "serve: clients may do what access control lists allow, and nothing else"},
	{"super-users", "", "serve: who may do everything, such as User:admin;User:ops"},
	{"allow-if-no-acl", false, "serve: everybody may use what no access control list names"},
	{"http", "", "serve: HOST:PORT of /metrics, /healthz and /readyz; default: none"},
	{"pprof", false, "serve: /debug/pprof on --http too"},
	{"log-level", "warn", "serve: what is logged to stderr: debug, info, warn or error"},
	{"brokers", "127.0.0.1:9092", "brokers to connect to, HOST:PORT, several with commas"},
	{"tls", false, "connect with TLS (implied by --ca-file, --cert-file)"},
	{"ca-file", "", "PEM file of the authorities that sign brokers' certificates; default: the system's"},
	{"cert-file", "", "PEM file of the certificate to show to brokers"},
	{"key-file", "", "PEM file of its key"},
	{"sasl", "", "log in with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"},
	{"user", "", "name to log in with"},
	{"password", "", "password to log in with; better in MILLSTREAM_PASSWORD or the settings file"},
	{"timeout", 10 * time.Second, "how long a request to the brokers may take"},
}

// shorthands of flags.
var shorthands = map[string]string{"brokers": "b"}

// secretSettings are never printed.
var secretSettings = []string{"password", "first-user"}

// kafkaNames are what Kafka's brokers call some of the settings: they may stand
// in the file, and clients see them so. A setting of our own name goes first.
var kafkaNames = []struct{ key, kafka string }{
	{"data-dir", "log.dirs"}, {"flush", "millstream.flush"}, {"partitions", "num.partitions"},
	{"listen", "listeners"}, {"advertise", "advertised.listeners"},
	{"tls-cert", "ssl.keystore.location"}, {"tls-client-ca", "ssl.truststore.location"}, {"tls-client-auth", "ssl.client.auth"},
	{"sasl-mechanisms", "sasl.enabled.mechanisms"}, {"super-users", "super.users"}, {"allow-if-no-acl", "allow.everyone.if.no.acl.found"},
}

// isKafkaName tells names of Kafka's broker configurations from ours.
func isKafkaName(key string) bool { return strings.Contains(key, ".") || key == "listeners" }

// settingPlaces is where they may stand, beside the command line.
var settingPlaces = places.Config{Known: settingKeys(), EnvPrefix: "MILLSTREAM_", File: "millstream.yaml", Optional: true, Others: isKafkaName}

func settingKeys() []string {
	keys := make([]string, len(knownSettings))
	for i, s := range knownSettings {
		keys[i] = s.key
	}
	return keys
}

// addSettings gives a command flags for some of the settings.
func addSettings(cmd *cobra.Command, keys ...string) {
	for _, s := range knownSettings {
		if !slices.Contains(keys, s.key) {
			continue
		}
		switch def := s.def.(type) {
		case string:
			cmd.Flags().StringP(s.key, shorthands[s.key], def, s.help)
		case int:
			cmd.Flags().Int(s.key, def, s.help)
		case bool:
			cmd.Flags().Bool(s.key, def, s.help)
		case time.Duration:
			cmd.Flags().Duration(s.key, def, s.help)
		}
	}
}

// settings are the values in force for a command.
type settings struct {
	*viper.Viper
	source map[string]string // key: "flag", "environment", a file's name, "default"
	// properties are broker configurations by Kafka's names, as the file has them.
	properties map[string]string
}

// loadSettings resolves flag > environment > file > default and refuses unknown
// keys with the nearest known one.
func loadSettings(cmd *cobra.Command) (*settings, error) {
	s := &settings{viper.New(), map[string]string{}, map[string]string{}}
	for _, k := range knownSettings {
		s.SetDefault(k.key, k.def)
		s.source[k.key] = "default"
	}
	name, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	where := settingPlaces
	if name != "" {
		where.File, where.Optional = name, false
	}
	values, err := where.Load(os.Environ())
	if err != nil {
		return nil, usageError{err}
	}
	for key, v := range values {
		s.source[key] = v.From
		if isKafkaName(key) {
			s.properties[key] = v.Text
		} else {
			s.Set(key, v.Text)
		}
	}
	if _, _, err := broker.ParseConfig(s.properties); err != nil {
		return nil, usageError{fmt.Errorf("settings file %s: %w", where.File, err)}
	}
	s.takeKafkaNames()
	for _, k := range knownSettings {
		if f := cmd.Flags().Lookup(k.key); f != nil && f.Changed {
			s.Set(k.key, f.Value.String())
			s.source[k.key] = "flag"
		}
	}
	return s, s.validate()
}

// takeKafkaNames gives settings that are not set what the file says by Kafka's names.
func (s *settings) takeKafkaNames() {
	if v, ok := s.properties["log.dir"]; ok && s.properties["log.dirs"] == "" {
		s.properties["log.dirs"] = v
		s.source["log.dirs"] = s.source["log.dir"]
	}
	for _, n := range kafkaNames {
		if v, ok := s.properties[n.kafka]; ok && s.source[n.key] == "default" {
			s.Set(n.key, v)
			s.source[n.key] = s.source[n.kafka]
		}
	}
	if s.properties["authorizer.class.name"] != "" && s.source["acl"] == "default" {
		s.Set("acl", true)
		s.source["acl"] = s.source["authorizer.class.name"]
	}
}

// validate reports every value that does not fit its setting at once.
func (s *settings) validate() error {
	var errs []error
	for _, k := range knownSettings {
		v := s.GetString(k.key)
		switch k.def.(type) {
		case int:
			var n int
			if _, err := fmt.Sscanf(v, "%d\n", &n); err != nil || n < 0 {
				errs = append(errs, usagef("setting %s (%s) is %q: it must be a number, 0 or more", k.key, s.source[k.key], v))
			}
		case bool:
			if _, err := strconv.ParseBool(v); err != nil {
				errs = append(errs, usagef("setting %s (%s) is %q: it must be true or false", k.key, s.source[k.key], v))
			}
		case time.Duration:
			if d, err := time.ParseDuration(v); err != nil || d <= 0 {
				errs = append(errs, usagef("setting %s (%s) is %q: it must be a duration above 0 such as 100ms", k.key, s.source[k.key], v))
			}
		}
	}
	if f := s.GetString("flush"); f != "commit" && f != "os" {
		errs = append(errs, usagef("setting flush (%s) is %q: it must be commit or os", s.source["flush"], f))
	}
	return errors.Join(errs...)
}
