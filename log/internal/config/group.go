package config

// Group holds the configurations of groups: what is set for one group overrides
// the broker's group.consumer.* ones.
var Group = newSet(groupDefs)

// Names of group configurations that the broker reads.
const (
	ConsumerSessionTimeoutMS     = "consumer.session.timeout.ms"
	ConsumerHeartbeatIntervalMS  = "consumer.heartbeat.interval.ms"
	ConsumerAssignmentIntervalMS = "consumer.assignment.interval.ms"
)

const noShare = " Share groups are not served here: accepted and shown, without effect."
const noStreams = " Streams groups are not served here: accepted and shown, without effect."

var groupDefs = []*Def{
	def(Int, ConsumerAssignmentIntervalMS, "1000", "Least time between two assignments of a group of the consumer protocol.").atLeast(0).from("group.consumer.assignment.interval.ms"),
	def(Int, ConsumerHeartbeatIntervalMS, "5000", "How often members of the consumer protocol are asked to send a heartbeat.").atLeast(1).from("group.consumer.heartbeat.interval.ms"),
	def(Int, ConsumerSessionTimeoutMS, "45000", "How long a member of the consumer protocol may be silent before it is taken out of its group.").atLeast(1).from("group.consumer.session.timeout.ms"),
	def(Int, "share.assignment.interval.ms", "1000", "Least time between two assignments."+noShare).atLeast(0),
	def(String, "share.auto.offset.reset", "latest", "Where a share group without offsets begins."+noShare),
	def(Int, "share.delivery.count.limit", "5", "How often a record is delivered at most."+noShare).atLeast(2),
	def(Int, "share.heartbeat.interval.ms", "5000", "How often members send a heartbeat."+noShare).atLeast(1),
	def(String, "share.isolation.level", "read_uncommitted", "Whether records of open transactions are delivered."+noShare).oneOf("read_committed", "read_uncommitted"),
	def(Int, "share.partition.max.record.locks", "2000", "Records of a partition that may be acquired at once."+noShare).atLeast(100),
	def(Int, "share.record.lock.duration.ms", "30000", "How long a record stays acquired."+noShare).atLeast(1000),
	def(Boolean, "share.renew.acknowledge.enable", "true", "Whether a consumer may renew its hold on a record."+noShare),
	def(Int, "share.session.timeout.ms", "45000", "How long a member may be silent."+noShare).atLeast(1),
	def(Int, "streams.assignment.interval.ms", "1000", "Least time between two assignments."+noStreams).atLeast(0),
	def(Int, "streams.heartbeat.interval.ms", "5000", "How often members send a heartbeat."+noStreams).atLeast(1),
	def(Int, "streams.initial.rebalance.delay.ms", "3000", "How long the first assignment waits for more members."+noStreams).atLeast(0),
	def(Int, "streams.num.standby.replicas", "0", "Standby copies of each task's state."+noStreams).atLeast(0),
	def(Int, "streams.session.timeout.ms", "45000", "How long a member may be silent."+noStreams).atLeast(1),
}

// ClientMetrics holds the configurations of subscriptions to clients' metrics (KIP-714).
var ClientMetrics = newSet([]*Def{
	def(Int, "interval.ms", "300000", "How often clients push their metrics.").between(100, 3600000),
	def(List, "match", "", "Which clients are meant: selector=regular expression, all of which must match."),
	def(List, "metrics", "", "Prefixes of the names of the metrics that are asked for; * is all."),
})

// BrokerLogger is Kafka's level names for a logger, from the most talkative to silent.
var BrokerLogger = []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
