package broker

import (
	"maps"
	"slices"
	"strconv"

	"github.com/millstream-io/millstream/log/internal/config"
	"github.com/millstream-io/millstream/log/internal/group"
)

// groupConfig is what the coordinator's cores run with.
func (b *Broker) groupConfig() group.Config {
	policy := b.Setting("group.consumer.migration.policy")
	return group.Config{
		OffsetsRetentionMS: b.cfg.OffsetsRetention.Milliseconds(),
		RetentionCheckMS:   b.SettingInt("offsets.retention.check.interval.ms"),
		InitialDelayMS:     b.cfg.GroupInitialDelay.Milliseconds(),
		MinSessionMS:       b.SettingInt("group.min.session.timeout.ms"),
		MaxSessionMS:       b.SettingInt("group.max.session.timeout.ms"),
		MaxSize:            int(b.SettingInt("group.max.size")),
		ConsumerMaxSize:    int(b.SettingInt("group.consumer.max.size")),
		MaxBytes:           b.SettingInt("millstream.group.max.bytes"),
		MaxAllBytes:        b.SettingInt("millstream.groups.max.bytes"),
		Memory:             &b.groups.memory,
		RegexRefreshMS:     b.SettingInt("group.consumer.regex.refresh.interval.ms"),
		Assignors:          config.SplitList(b.Setting("group.consumer.assignors")),
		NoUpgrade:          policy == "disabled" || policy == "downgrade",
		NoDowngrade:        policy == "disabled" || policy == "upgrade",
		NoMix:              policy == "disabled",
		Consumer:           b.consumerSettings,
		Topics:             groupTopics{b},
	}
}

// consumerSettings are a consumer group's own configurations in force.
func (b *Broker) consumerSettings(name string) group.Settings {
	ms := func(key string) int64 {
		n, _ := strconv.ParseInt(b.GroupConfig(name, key), 10, 64)
		return n
	}
	return group.Settings{
		SessionMS:            ms(config.ConsumerSessionTimeoutMS),
		HeartbeatMS:          ms(config.ConsumerHeartbeatIntervalMS),
		AssignmentIntervalMS: ms(config.ConsumerAssignmentIntervalMS),
	}
}

// ConsumerGroups says whether the consumer protocol (KIP-848) is served
// (group.coordinator.rebalance.protocols).
func (b *Broker) ConsumerGroups() bool {
	return slices.Contains(config.SplitList(b.Setting("group.coordinator.rebalance.protocols")), "consumer")
}

// OffsetMetadataFits says whether the metadata of a committed offset is within
// offset.metadata.max.bytes.
func (b *Broker) OffsetMetadataFits(metadata string) bool {
	return int64(len(metadata)) <= b.SettingInt("offset.metadata.max.bytes")
}

// groupTopics is the broker's topics as the group coordinator sees them. It is
// used under a shard's mutex and takes Broker.mu for moments.
type groupTopics struct{ b *Broker }

func (t groupTopics) Version() uint64 { return t.b.topicsVersion.Load() }

func (t groupTopics) Topic(name string) (group.TopicID, int32, bool) {
	v, ok := t.b.TopicView(name)
	return v.ID, int32(len(v.Partitions)), ok
}

func (t groupTopics) TopicName(id group.TopicID) (string, bool) {
	v, ok := t.b.TopicViewByID(id)
	return v.Name, ok
}

func (t groupTopics) Names() []string {
	t.b.mu.RLock()
	defer t.b.mu.RUnlock()
	return slices.Sorted(maps.Keys(t.b.topics))
}
