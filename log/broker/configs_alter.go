package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/internal/config"
)

// ConfigOp says what is done to a configuration, numbered as in IncrementalAlterConfigs.
type ConfigOp int8

// Operations. Append and subtract are for lists.
const (
	SetConfig      ConfigOp = 0
	DeleteConfig   ConfigOp = 1
	AppendConfig   ConfigOp = 2
	SubtractConfig ConfigOp = 3
)

// ConfigChange is one change of AlterConfig.
type ConfigChange struct {
	Op    ConfigOp
	Name  string
	Value string
}

// AlterConfig changes a resource's configurations, all or none. When it returns
// they are on disk and count. validateOnly checks and changes nothing.
//
// Errors: ErrUnknownTopic, ErrInvalidConfig (a value or a name that is not
// allowed), ErrInvalidRequest (an operation or resource that makes no sense, or a
// broker's configuration that needs a restart), ErrStorage.
func (b *Broker) AlterConfig(r Resource, changes []ConfigChange, validateOnly bool) error {
	return b.alterConfig(r, validateOnly, func(set map[string]string, defs *config.Set, inForce func(string) string) error {
		seen := map[string]bool{}
		for _, c := range changes {
			if seen[c.Name] {
				return fmt.Errorf("%w: duplicate configuration key %s", ErrInvalidRequest, c.Name)
			}
			seen[c.Name] = true
			if err := change(set, c, defs, inForce); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReplaceConfig makes the configurations given all that the resource sets
// (AlterConfigs, which IncrementalAlterConfigs replaced). Errors as of AlterConfig.
func (b *Broker) ReplaceConfig(r Resource, with map[string]string, validateOnly bool) error {
	return b.alterConfig(r, validateOnly, func(set map[string]string, _ *config.Set, _ func(string) string) error {
		clear(set)
		maps.Copy(set, with)
		return nil
	})
}

// change does one change to what is set.
func change(set map[string]string, c ConfigChange, defs *config.Set, inForce func(string) string) error {
	switch c.Op {
	case SetConfig:
		set[c.Name] = c.Value
		return nil
	case DeleteConfig:
		delete(set, c.Name)
		return nil
	case AppendConfig, SubtractConfig:
	default:
		return fmt.Errorf("%w: operation %d of %s: expected set 0, delete 1, append 2 or subtract 3", ErrInvalidRequest, c.Op, c.Name)
	}
	d := defs.Get(c.Name)
	if d == nil || d.Type != config.List {
		return fmt.Errorf("%w: cannot append to or subtract from %s: it is not a list", ErrInvalidConfig, c.Name)
	}
	now, ok := set[c.Name]
	if !ok {
		now = inForce(c.Name)
	}
	list := config.SplitList(now)
	for _, v := range config.SplitList(c.Value) {
		at := slices.Index(list, v)
		switch {
		case c.Op == AppendConfig && at < 0:
			list = append(list, v)
		case c.Op == SubtractConfig && at >= 0:
			list = slices.Delete(list, at, at+1)
		}
	}
	set[c.Name] = strings.Join(list, ",")
	return nil
}

// alterConfig finds what is set for the resource, lets edit change a copy, checks
// the result and makes it count.
func (b *Broker) alterConfig(r Resource, validateOnly bool, edit func(set map[string]string, defs *config.Set, inForce func(string) string) error) error {
	if err := b.alive(); err != nil {
		return err
	}
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	switch r.Type {
	case TopicResource:
		return b.alterTopicConfig(r.Name, validateOnly, edit)
	case BrokerLoggerResource:
		return b.alterLoggers(r.Name, validateOnly, edit)
	case BrokerResource:
		if err := b.checkBrokerName(r.Name); err != nil {
			return err
		}
		return b.alterResource(kindBroker, r, config.Broker, validateOnly, edit)
	case GroupResource, ClientMetricsResource:
		if err := checkNamed(r); err != nil {
			return err
		}
		if r.Type == GroupResource {
			return b.alterResource(kindGroup, r, config.Group, validateOnly, edit)
		}
		return b.alterResource(kindClientMetrics, r, config.ClientMetrics, validateOnly, edit)
	}
	return unknownResourceType(r.Type)
}

type configEdit = func(set map[string]string, defs *config.Set, inForce func(string) string) error

func (b *Broker) alterTopicConfig(name string, validateOnly bool, edit configEdit) error {
	ts := b.topicState(name)
	switch {
	case name == "":
		return fmt.Errorf("%w: default topic resources are not allowed: name a topic", ErrInvalidRequest)
	case ts == nil:
		if err := checkName(name); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	set := maps.Clone(ts.entry.Configs)
	if set == nil {
		set = map[string]string{}
	}
	before := maps.Clone(set)
	s := b.settings.Load()
	err := edit(set, config.Topic, func(n string) string {
		d := config.Topic.Get(n)
		if v, _, ok := s.topicDefault(d); ok {
			return v
		}
		return d.Default
	})
	if err != nil {
		return err
	}
	if err := checkTopicConfigs(changed(before, set)); err != nil {
		return err
	}
	return b.setTopicConfigs(ts, set, validateOnly)
}

// changed are the values that are not as before: only they are held to Kafka's bounds.
func changed(before, now map[string]string) map[string]string {
	out := map[string]string{}
	for n, v := range now {
		if old, ok := before[n]; !ok || old != v {
			out[n] = v
		}
	}
	return out
}

// setTopicConfigs makes set all that the topic sets. b.metaMu is held.
func (b *Broker) setTopicConfigs(ts *topicState, set map[string]string, validateOnly bool) error {
	entry := ts.entry
	entry.Configs = set
	n, err := b.newTopicState(entry)
	if err != nil || validateOnly {
		return err
	}
	m := *b.meta
	m.Topics = slices.Clone(m.Topics)
	for i := range m.Topics {
		if m.Topics[i].Name == entry.Name {
			m.Topics[i] = entry
		}
	}
	if err := b.writeMetaAnyway(&m); err != nil {
		return err
	}
	b.replaceTopic(ts, n)
	return nil
}

// replaceTopic puts a topic's new configuration in place of the old one's.
func (b *Broker) replaceTopic(old, n *topicState) {
	n.parts = old.parts
	for _, p := range n.parts {
		p.configure(n.set)
	}
	b.publish(n)
}

// alterResource is for the resources that are no topics. b.metaMu is held.
func (b *Broker) alterResource(kind string, r Resource, defs *config.Set, validateOnly bool, edit configEdit) error {
	set := maps.Clone(b.meta.Configs.get(kind, r.Name))
	if set == nil {
		set = map[string]string{}
	}
	before := maps.Clone(set)
	err := edit(set, defs, func(n string) string {
		if kind == kindBroker {
			v, _, _ := b.settings.Load().lookup(n)
			return v
		}
		return defs.Get(n).Default
	})
	if err != nil {
		return err
	}
	switch kind {
	case kindBroker:
		err = checkBrokerConfigs(set, before, r.Name != "")
	case kindGroup:
		err = errors.Join(checkSet(defs, set, "group"), b.checkGroupBounds(set))
	default:
		if err = checkSet(defs, set, "client metrics"); err != nil {
			err = fmt.Errorf("%w: %v", ErrInvalidRequest, err)
		}
	}
	if err != nil {
		return err
	}
	m := *b.meta
	m.Configs = m.Configs.with(kind, r.Name, set)
	if kind == kindBroker {
		if _, err := newSettings(&b.cfg, m.Configs); err != nil {
			return fmt.Errorf("%w: %v", ErrInvalidRequest, err)
		}
	}
	if validateOnly || maps.Equal(set, before) {
		return nil
	}
	if err := b.writeMetaAnyway(&m); err != nil {
		return err
	}
	if kind == kindBroker {
		return b.applySettings()
	}
	b.resources.Store(&b.meta.Configs)
	return nil
}

// checkSet holds configurations to their definitions; unknown ones are refused.
func checkSet(defs *config.Set, set map[string]string, what string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(set)) {
		d := defs.Get(name)
		if d == nil {
			err := fmt.Errorf("%w: unknown %s configuration name: %s", ErrInvalidConfig, what, name)
			if near := defs.Nearest(name); near != "" {
				err = fmt.Errorf("%w; did you mean %q?", err, near)
			}
			errs = append(errs, err)
		} else if err := d.Check(set[name]); err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", ErrInvalidConfig, err))
		}
	}
	return errors.Join(errs...)
}

// checkBrokerConfigs allows what may change while a broker runs. Names that
// Kafka does not know are kept, as Kafka keeps them.
func checkBrokerConfigs(set, before map[string]string, one bool) error {
	var restart, perBroker []string
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(changed(before, set))) {
		mode, known := config.Inert[name]
		d := config.Broker.Get(name)
		if d != nil {
			mode, known = d.Mode, true
		}
		switch {
		case known && mode == config.ReadOnly:
			restart = append(restart, name)
		case known && mode == config.PerBroker && !one:
			perBroker = append(perBroker, name)
		case d != nil:
			if err := d.Check(set[name]); err != nil {
				errs = append(errs, fmt.Errorf("%w: %w", ErrInvalidRequest, err))
			}
		}
	}
	if restart != nil {
		errs = append([]error{fmt.Errorf("%w: Cannot update these configs dynamically: %s: set them where the broker is started", ErrInvalidRequest, strings.Join(restart, ", "))}, errs...)
	}
	if perBroker != nil {
		errs = append([]error{fmt.Errorf("%w: Cannot update these configs at default cluster level, broker id must be specified: %s", ErrInvalidRequest, strings.Join(perBroker, ", "))}, errs...)
	}
	return errors.Join(errs...)
}

// checkGroupBounds holds a group's times to the broker's bounds.
func (b *Broker) checkGroupBounds(set map[string]string) error {
	var errs []error
	for name, of := range map[string]string{
		config.ConsumerSessionTimeoutMS: "session.timeout.ms", config.ConsumerHeartbeatIntervalMS: "heartbeat.interval.ms",
	} {
		v, ok := set[name]
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		if !ok || err != nil {
			continue
		}
		least, most := "group.consumer.min."+of, "group.consumer.max."+of
		if lo, hi := b.SettingInt(least), b.SettingInt(most); n < lo || n > hi {
			errs = append(errs, fmt.Errorf("%w: %s is %d, expected %d (%s) to %d (%s)", ErrInvalidConfig, name, n, lo, least, hi, most))
		}
	}
	return errors.Join(errs...)
}
