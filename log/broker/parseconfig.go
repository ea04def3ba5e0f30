package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/internal/config"
)

// Names of broker configurations that have a field in Config.
const (
	cleanerBackoff     = "log.cleaner.backoff.ms"
	cleanerDedupe      = "log.cleaner.dedupe.buffer.size"
	producerExpiration = "producer.id.expiration.ms"
)

// binding joins a broker's configuration by Kafka's name to a field of Config.
type binding struct {
	get func(c *Config) string // "": not set
	set func(c *Config, v string) error
}

func bindInt[T ~int | ~int32 | ~int64](field func(*Config) *T) binding {
	return binding{
		get: func(c *Config) string {
			if v := *field(c); v > 0 {
				return strconv.FormatInt(int64(v), 10)
			}
			return ""
		},
		set: func(c *Config, v string) error {
			n, err := parseInt(v, 0)
			*field(c) = T(n)
			return err
		},
	}
}

// bindTime is for a time given as a number of units.
func bindTime(unit time.Duration, field func(*Config) *time.Duration) binding {
	return binding{
		get: func(c *Config) string {
			if v := *field(c); v > 0 {
				return strconv.FormatInt(int64(v/unit), 10)
			}
			return ""
		},
		set: func(c *Config, v string) error {
			n, err := parseInt(v, 0)
			*field(c) = max(time.Duration(n)*unit, 1)
			return err
		},
	}
}

// bindings of Kafka's names. Times that are 0 by the file are the shortest there
// is, because 0 in Config is the default.
var bindings = map[string]binding{
	"node.id":                              bindInt(func(c *Config) *int32 { return &c.NodeID }),
	"broker.id":                            bindInt(func(c *Config) *int32 { return &c.NodeID }),
	"num.partitions":                       bindInt(func(c *Config) *int32 { return &c.DefaultPartitions }),
	"offsets.topic.num.partitions":         bindInt(func(c *Config) *int32 { return &c.InternalPartitions }),
	"transaction.state.log.num.partitions": bindInt(func(c *Config) *int32 { return &c.TransactionPartitions }),
	"log.retention.check.interval.ms":      bindTime(time.Millisecond, func(c *Config) *time.Duration { return &c.MaintenanceInterval }),
	cleanerBackoff:                         bindTime(time.Millisecond, func(c *Config) *time.Duration { return &c.CleanerInterval }),
	cleanerDedupe:                          bindInt(func(c *Config) *int64 { return &c.CleanerMemory }),
	producerExpiration:                     bindTime(time.Millisecond, func(c *Config) *time.Duration { return &c.ProducerIDExpiry }),
	"transaction.max.timeout.ms":           bindTime(time.Millisecond, func(c *Config) *time.Duration { return &c.MaxTransactionTimeout }),
	"transactional.id.expiration.ms":       bindTime(time.Millisecond, func(c *Config) *time.Duration { return &c.TransactionalIDExpiry }),
	"offsets.retention.minutes":            bindTime(time.Minute, func(c *Config) *time.Duration { return &c.OffsetsRetention }),
	"group.initial.rebalance.delay.ms":     bindTime(time.Millisecond, func(c *Config) *time.Duration { return &c.GroupInitialDelay }),
	"num.recovery.threads.per.data.dir": {
		get: func(*Config) string { return "" }, // the default is by the machine
		set: bindInt(func(c *Config) *int { return &c.OpenParallelism }).set,
	},
	"millstream.flush": {
		get: func(c *Config) string { return c.Flush.String() },
		set: func(c *Config, v string) (err error) { c.Flush, err = parseFlush(v); return err },
	},
	"log.dir":  {get: func(*Config) string { return "" }, set: setDir},
	"log.dirs": {get: func(c *Config) string { return c.Dir }, set: setDir},
}

func setDir(c *Config, v string) error {
	dirs := config.SplitList(v)
	if len(dirs) != 1 {
		return fmt.Errorf("expected one directory, found %d: there is one data directory", len(dirs))
	}
	c.Dir = dirs[0]
	return nil
}

// ParseConfig reads the configurations of a broker by Kafka's names
// (server.properties, millstream.yaml). Those that have a field of Config are put
// there; all stand in Config.Properties, where the server finds listeners and its
// own (Config.Property). Topic defaults have Kafka's broker names
// (log.retention.hours). It reports every problem: an unknown name with the nearest
// known one, a value out of bounds. ignored names what Kafka knows and has no
// meaning here, for a warning.
func ParseConfig(properties map[string]string) (cfg Config, ignored []string, err error) {
	var errs []error
	cfg.Properties = map[string]string{}
	// log.dirs overrides log.dir, node.id broker.id: the stronger comes later by name.
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		v := properties[name]
		d := config.Broker.Get(name)
		if d == nil {
			if ignore, err := otherName(name); err != nil {
				errs = append(errs, err)
			} else if ignore {
				ignored = append(ignored, name)
			} else {
				cfg.Properties[name] = v
			}
			continue
		}
		if err := d.Check(v); err != nil {
			errs = append(errs, err)
			continue
		}
		if bind, ok := bindings[name]; ok {
			if err := bind.set(&cfg, v); err != nil {
				errs = append(errs, fmt.Errorf("%s=%s: %w", name, v, err))
			}
		}
		cfg.Properties[name] = v
	}
	return cfg, ignored, errors.Join(errs...)
}

// otherName judges a name that is not in the table: the listener's own
// (listener.name.NAME.CONFIG) are known, Kafka's others ignored.
func otherName(name string) (ignore bool, err error) {
	if strings.HasPrefix(name, "listener.name.") {
		return false, nil
	}
	if _, ok := config.Inert[name]; ok {
		return true, nil
	}
	if near := config.Broker.Nearest(name); near != "" {
		return false, fmt.Errorf("unknown configuration %q; did you mean %q?", name, near)
	}
	return false, fmt.Errorf("unknown configuration %q", name)
}

// Property is a configuration by Kafka's name: as in Properties, else its default;
// "" if it has none.
func (c *Config) Property(name string) string {
	if v, ok := c.Properties[name]; ok {
		return v
	}
	if d := config.Broker.Get(name); d != nil && !d.Null {
		return d.Default
	}
	return ""
}

// staticConfigs are the broker's configurations by Kafka's names, where they
// differ from the defaults: from Properties, the fields, and TopicDefaults.
func staticConfigs(c *Config) map[string]string {
	out := maps.Clone(c.Properties)
	if out == nil {
		out = map[string]string{}
	}
	for name, bind := range bindings {
		if v := bind.get(c); v != "" && v != config.Broker.Get(name).Default {
			out[name] = v
		}
	}
	for name, v := range c.TopicDefaults {
		if d := config.Topic.Get(name); d != nil && len(d.Broker) > 0 {
			name = d.Broker[0].Name
		}
		out[name] = v
	}
	return out
}
