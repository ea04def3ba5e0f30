package broker

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/internal/config"
)

// settings are the broker's configurations in force: what its Config says, and
// what was altered while it ran. A value is never changed: Broker.settings
// points to the newest, which replaces its predecessor under Broker.metaMu.
type settings struct {
	static map[string]string // from Config, by Kafka's names: what is not the default
	forAll map[string]string // altered for all brokers
	forOne map[string]string // altered for this broker

	topics         topicSettings // of a topic that sets nothing
	internalTopics topicSettings // of a coordinator's
	cleanerMemory  int64
	cleanerEvery   time.Duration
	producerExpiry time.Duration
}

// newSettings resolves what is in force.
func newSettings(cfg *Config, configs resourceConfigs) (*settings, error) {
	s := &settings{
		static: staticConfigs(cfg),
		forAll: configs.get(kindBroker, ""),
		forOne: configs.get(kindBroker, strconv.Itoa(int(cfg.NodeID))),
	}
	s.internalTopics = defaultSettings(cfg.Flush)
	if err := s.internalTopics.finish(""); err != nil {
		return nil, err
	}
	defaults := map[string]string{}
	for _, d := range config.Topic.All() {
		if v, _, ok := s.topicDefault(d); ok {
			defaults[d.Name] = v
		}
	}
	var err error
	if s.topics, err = resolveConfig("(defaults)", defaults, defaultSettings(cfg.Flush)); err != nil {
		return nil, err
	}
	s.cleanerMemory, s.cleanerEvery, s.producerExpiry = cfg.CleanerMemory, cfg.CleanerInterval, cfg.ProducerIDExpiry
	for name, field := range map[string]*time.Duration{cleanerBackoff: &s.cleanerEvery, producerExpiration: &s.producerExpiry} {
		if v, ok := s.altered(name); ok {
			if *field, err = parseMS(v, 0); err != nil {
				return nil, err
			}
		}
	}
	if v, ok := s.altered(cleanerDedupe); ok {
		if s.cleanerMemory, err = parseInt(v, 1); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// altered finds what was altered while a broker ran.
func (s *settings) altered(name string) (string, bool) {
	if v, ok := s.forOne[name]; ok {
		return v, true
	}
	v, ok := s.forAll[name]
	return v, ok
}

// lookup finds the value of a broker's configuration and where it comes from;
// false if it is not set at all.
func (s *settings) lookup(name string) (string, ConfigSource, bool) {
	for _, l := range s.layers() {
		if v, ok := l.values[name]; ok {
			return v, l.source, true
		}
	}
	if d := config.Broker.Get(name); d != nil && !d.Null {
		return d.Default, DefaultConfig, true
	}
	return "", DefaultConfig, false
}

type settingsLayer struct {
	values map[string]string
	source ConfigSource
}

// layers are where a broker's configuration may be set, the strongest first.
func (s *settings) layers() [3]settingsLayer {
	return [3]settingsLayer{{s.forOne, DynamicBrokerConfig}, {s.forAll, DynamicDefaultBrokerConfig}, {s.static, StaticBrokerConfig}}
}

// topicDefault is what the broker's configurations say of a topic's; false: nothing,
// so that the definition's own default holds.
func (s *settings) topicDefault(d *config.Def) (string, ConfigSource, bool) {
	for _, syn := range d.Broker {
		for _, l := range s.layers() {
			if v, ok := l.values[syn.Name]; ok {
				return inUnit(v, syn.Unit), l.source, true
			}
		}
	}
	if v, ok := s.static[d.Name]; ok && len(d.Broker) == 0 {
		return v, StaticBrokerConfig, true
	}
	return "", DefaultConfig, false
}

// inUnit turns hours and minutes into milliseconds; -1 stays.
func inUnit(v string, unit int64) string {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if unit == 1 || err != nil || n < 0 {
		return v
	}
	return strconv.FormatInt(n*unit, 10)
}

// Setting is the value in force of a broker's configuration by Kafka's name: as
// altered, as configured, or the default; empty if it is not set. It may be
// called for each request: it costs map look-ups, no lock.
func (b *Broker) Setting(name string) string {
	v, _, _ := b.settings.Load().lookup(name)
	return v
}

// SettingInt is Setting of a number; 0 if it is not set.
func (b *Broker) SettingInt(name string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(b.Setting(name)), 10, 64)
	return n
}

// SettingMS is Setting of a number of milliseconds.
func (b *Broker) SettingMS(name string) time.Duration {
	d, _ := parseMS(b.Setting(name), -1)
	return d
}

// GroupConfig is the value of a group's configuration by Kafka's name
// (consumer.session.timeout.ms): as set for the group, else the broker's, else
// the default.
func (b *Broker) GroupConfig(group, name string) string {
	if v, ok := b.resourceConfig(kindGroup, group)[name]; ok {
		return v
	}
	d := config.Group.Get(name)
	if d == nil {
		return ""
	}
	for _, syn := range d.Broker {
		if v, _, ok := b.settings.Load().lookup(syn.Name); ok {
			return v
		}
	}
	return d.Default
}

// resourceConfig is what was set for a resource that is no topic; never changed.
func (b *Broker) resourceConfig(kind, name string) map[string]string {
	return (*b.resources.Load()).get(kind, name)
}

// applySettings makes what the metadata says count. b.metaMu is held, or nobody
// else has the broker yet.
func (b *Broker) applySettings() error {
	s, err := newSettings(&b.cfg, b.meta.Configs)
	if err != nil {
		return err
	}
	b.settings.Store(s)
	b.resources.Store(&b.meta.Configs)
	b.mu.RLock()
	topics := slices.Collect(maps.Values(b.topics))
	b.mu.RUnlock()
	for _, ts := range topics {
		n, err := b.newTopicState(ts.entry)
		if err != nil {
			return err
		}
		b.replaceTopic(ts, n)
	}
	return nil
}
