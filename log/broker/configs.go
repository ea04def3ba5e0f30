package broker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/internal/config"
)

// ResourceType says what a configuration is of, numbered as in Kafka's protocol (ConfigResource.Type).
type ResourceType int8

// Types of resources.
const (
	TopicResource         ResourceType = 2
	BrokerResource        ResourceType = 4
	BrokerLoggerResource  ResourceType = 8
	ClientMetricsResource ResourceType = 16
	GroupResource         ResourceType = 32
)

// Resource is what has configurations. A broker's name is its node id, or empty
// for the default of all brokers.
type Resource struct {
	Type ResourceType
	Name string
}

// ConfigType is the type of a value, numbered as in DescribeConfigs.
type ConfigType = config.Type

// ConfigSource says where a value comes from, numbered as in DescribeConfigs.
type ConfigSource int8

// Sources.
const (
	DynamicTopicConfig         ConfigSource = 1
	DynamicBrokerConfig        ConfigSource = 2
	DynamicDefaultBrokerConfig ConfigSource = 3
	StaticBrokerConfig         ConfigSource = 4
	DefaultConfig              ConfigSource = 5
	DynamicBrokerLoggerConfig  ConfigSource = 6
	ClientMetricsConfig        ConfigSource = 7
	GroupConfig                ConfigSource = 8
)

// ConfigEntry is one configuration of a resource.
type ConfigEntry struct {
	Name      string
	Value     string
	Unset     bool // there is no value, nor a default; or it is sensitive
	Type      ConfigType
	Source    ConfigSource
	ReadOnly  bool // it changes with a restart only
	Sensitive bool
	Doc       string
	// Synonyms are all places that say a value, the strongest first.
	Synonyms []ConfigSynonym
}

// ConfigSynonym is a place that says a configuration's value.
type ConfigSynonym struct {
	Name, Value string
	Source      ConfigSource
}

// DescribeConfig lists a resource's configurations by name. Errors: ErrUnknownTopic,
// ErrInvalidRequest.
func (b *Broker) DescribeConfig(r Resource) ([]ConfigEntry, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	switch r.Type {
	case TopicResource:
		return b.describeTopicConfig(r.Name)
	case BrokerResource:
		if err := b.checkBrokerName(r.Name); err != nil {
			return nil, err
		}
		return b.describeBrokerConfig(r.Name), nil
	case BrokerLoggerResource:
		if err := b.checkLoggerResource(r.Name); err != nil {
			return nil, err
		}
		return b.describeLoggers(), nil
	case GroupResource, ClientMetricsResource:
		if err := checkNamed(r); err != nil {
			return nil, err
		}
		return b.describeOther(r), nil
	}
	return nil, unknownResourceType(r.Type)
}

func unknownResourceType(t ResourceType) error {
	return fmt.Errorf("%w: resource type %d: expected topic 2, broker 4, broker logger 8, client metrics 16 or group 32", ErrInvalidRequest, t)
}

func (b *Broker) checkBrokerName(name string) error {
	if id := strconv.Itoa(int(b.cfg.NodeID)); name != "" && name != id {
		return fmt.Errorf("%w: unexpected broker id, expected %s or an empty string, but received %s", ErrInvalidRequest, id, name)
	}
	return nil
}

func checkNamed(r Resource) error {
	if r.Name != "" {
		return nil
	}
	if r.Type == GroupResource {
		return fmt.Errorf("%w: default group resources are not allowed: name a group", ErrInvalidRequest)
	}
	return fmt.Errorf("%w: the subscription's name is empty", ErrInvalidRequest)
}

func (b *Broker) describeTopicConfig(topic string) ([]ConfigEntry, error) {
	t, ok := b.Topic(topic)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, topic)
	}
	return b.describeTopic(t), nil
}

// DescribeTopicSpec lists the configurations that a topic made of the spec has.
func (b *Broker) DescribeTopicSpec(spec TopicSpec) []ConfigEntry {
	return b.describeTopic(Topic{Name: spec.Name, Configs: spec.Configs})
}

func (b *Broker) describeTopic(t Topic) []ConfigEntry {
	s := b.settings.Load()
	var out []ConfigEntry
	for _, d := range config.Topic.All() {
		if _, set := t.Configs[d.Name]; strings.HasPrefix(d.Name, "internal.") && !set {
			continue
		}
		e := newEntry(d)
		if v, ok := t.Configs[d.Name]; ok {
			e.Synonyms = append(e.Synonyms, ConfigSynonym{d.Name, v, DynamicTopicConfig})
		}
		if !t.Internal {
			for _, syn := range d.Broker {
				e.Synonyms = append(e.Synonyms, s.synonyms(syn.Name)...)
			}
		}
		e.settle(d)
		if !t.Internal && e.Source != DynamicTopicConfig {
			if v, source, ok := s.topicDefault(d); ok {
				e.Value, e.Source, e.Unset = v, source, false
			}
		}
		out = append(out, e)
	}
	return out
}

func newEntry(d *config.Def) ConfigEntry {
	return ConfigEntry{Name: d.Name, Type: d.Type, Sensitive: d.Sensitive(), Doc: d.Doc, Source: DefaultConfig}
}

// settle takes the value from the strongest synonym, or the definition's default,
// and hides what is sensitive.
func (e *ConfigEntry) settle(d *config.Def) {
	if len(e.Synonyms) > 0 && e.Synonyms[0].Name == e.Name {
		e.Value, e.Source = e.Synonyms[0].Value, e.Synonyms[0].Source
	} else {
		e.Value, e.Unset = d.Default, d.Null
	}
	if e.Sensitive {
		e.Value, e.Unset = "", true
		for i := range e.Synonyms {
			e.Synonyms[i].Value = ""
		}
	}
}

// synonyms are all places that say a broker's configuration, with its default.
func (s *settings) synonyms(name string) []ConfigSynonym {
	var out []ConfigSynonym
	for _, l := range s.layers() {
		if v, ok := l.values[name]; ok {
			out = append(out, ConfigSynonym{name, v, l.source})
		}
	}
	if d := config.Broker.Get(name); d != nil && !d.Null {
		out = append(out, ConfigSynonym{name, d.Default, DefaultConfig})
	}
	return out
}

func (b *Broker) describeBrokerConfig(name string) []ConfigEntry {
	s := b.settings.Load()
	if name == "" {
		return describeSet(config.Broker, s.forAll, DynamicDefaultBrokerConfig)
	}
	var out []ConfigEntry
	for _, d := range config.Broker.All() {
		e := newEntry(d)
		e.ReadOnly = d.Mode == config.ReadOnly
		e.Synonyms = s.synonyms(d.Name)
		e.settle(d)
		out = append(out, e)
	}
	// What was altered without a meaning here is shown too.
	others := map[string]string{}
	for _, values := range []map[string]string{s.forAll, s.forOne} {
		for n := range values {
			if config.Broker.Get(n) == nil {
				others[n] = values[n]
			}
		}
	}
	for _, e := range describeSet(config.Broker, others, DynamicDefaultBrokerConfig) {
		e.Synonyms = s.synonyms(e.Name)
		e.Source = e.Synonyms[0].Source
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, c ConfigEntry) int { return strings.Compare(a.Name, c.Name) })
	return out
}

// describeSet describes what was set, all from one source.
func describeSet(defs *config.Set, set map[string]string, source ConfigSource) []ConfigEntry {
	var out []ConfigEntry
	for _, name := range slices.Sorted(maps.Keys(set)) {
		d := defs.Get(name)
		if d == nil {
			d = &config.Def{Name: name, Type: config.String, Mode: config.ClusterWide}
		}
		e := newEntry(d)
		e.Value, e.Source = set[name], source
		e.Synonyms = []ConfigSynonym{{name, set[name], source}}
		out = append(out, e)
	}
	return out
}

// describeOther describes groups and subscriptions to client metrics.
func (b *Broker) describeOther(r Resource) []ConfigEntry {
	kind, defs, source := kindGroup, config.Group, GroupConfig
	if r.Type == ClientMetricsResource {
		kind, defs, source = kindClientMetrics, config.ClientMetrics, ClientMetricsConfig
	}
	set := b.resourceConfig(kind, r.Name)
	s := b.settings.Load()
	var out []ConfigEntry
	for _, d := range defs.All() {
		e := newEntry(d)
		if v, ok := set[d.Name]; ok {
			e.Synonyms = append(e.Synonyms, ConfigSynonym{d.Name, v, source})
		}
		for _, syn := range d.Broker {
			e.Synonyms = append(e.Synonyms, s.synonyms(syn.Name)...)
		}
		e.settle(d)
		if len(e.Synonyms) > 0 && e.Source == DefaultConfig {
			e.Value, e.Source = e.Synonyms[0].Value, e.Synonyms[0].Source
		}
		out = append(out, e)
	}
	return out
}

// ConfigResources lists the resources of the types given that have
// configurations of their own, which for topics and brokers is all that there
// are; without types those of every type.
func (b *Broker) ConfigResources(types ...ResourceType) []Resource {
	if len(types) == 0 {
		types = []ResourceType{TopicResource, BrokerResource, BrokerLoggerResource, ClientMetricsResource, GroupResource}
	}
	configs := *b.resources.Load()
	id := strconv.Itoa(int(b.cfg.NodeID))
	var out []Resource
	add := func(t ResourceType, names ...string) {
		for _, n := range names {
			out = append(out, Resource{t, n})
		}
	}
	for _, t := range types {
		switch t {
		case TopicResource:
			for _, topic := range b.Topics() {
				add(t, topic.Name)
			}
		case BrokerResource:
			add(t, id)
		case BrokerLoggerResource:
			add(t, id)
		case ClientMetricsResource:
			add(t, slices.Sorted(maps.Keys(configs[kindClientMetrics]))...)
		case GroupResource:
			add(t, slices.Sorted(maps.Keys(configs[kindGroup]))...)
		}
	}
	return out
}
