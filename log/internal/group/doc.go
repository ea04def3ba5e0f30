// Package group is the group coordinator's core: the offsets that groups
// commit, plainly or in transactions, and the membership of both group
// protocols, the classic one (join, sync, heartbeat, leave) and the consumer
// protocol of KIP-848 (one heartbeat, assignment by the server).
//
// It is stepped: an event and the time go in, a Step comes out with the records
// to append to __consumer_offsets and the replies to give. It has no goroutine,
// clock, lock or disk. The caller (log/broker) serialises events, appends the
// records, and hands the outcome to Done, which gives the replies that depended
// on them. Requests that wait for others (join, sync) carry a Token, which comes
// back in the Reply, perhaps many events later.
//
// A name has its offsets and is either a classic group or a consumer group.
// What a consumer group is follows from the log alone: an event computes
// records and changes nothing, Done replays them. A classic group's rebalance
// is not in the log, only its outcome.
//
// Life of a classic group:
//
//	Empty --join--> PreparingRebalance --all joined, or time--> CompletingRebalance --leader's sync--> Stable
//	  ^                 ^      |                                     |                                   |
//	  |  last one left  |      |                                     +---- join, leave, expiry ----------+
//	  +-----------------+------+                                     v
//	                    +------------------------------- PreparingRebalance
//
// A consumer group is Empty without members, Assigning while the target
// assignment is of an older epoch than the group, Reconciling while a member is
// not yet what the target says, else Stable. Its members:
//
//	Stable --target changed, owns too much--> UnrevokedPartitions --revoked--> next line
//	Stable --target changed---------------------------------------------------> Stable, or
//	         UnreleasedPartitions while another member still owns what is to come
//
// A classic group becomes a consumer group when a member of the consumer
// protocol joins it, and back when the last of those leaves; in between members
// of both protocols share it (migration policy "bidirectional").
//
// A pending (transactional) offset counts when the transaction's marker is in
// __consumer_offsets, unless a later record of the log overtook it.
//
// Formats: docs/format/data-directory.md, "__consumer_offsets". Protocol:
// KIP-211 (expiry), KIP-345 (static members), KIP-394 (member ids), KIP-447
// (require_stable), KIP-559 (protocol types), KIP-848 (consumer protocol).
package group
