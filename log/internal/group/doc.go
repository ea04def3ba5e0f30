// Package group is the group coordinator's core: the offsets that groups
// commit, plainly or in transactions, and the membership of the classic group
// protocol (join, sync, heartbeat, leave).
//
// It is stepped: an event and the time go in, a Step comes out with the records
// to append to __consumer_offsets and the replies to give. It has no goroutine,
// clock, lock or disk. The caller (log/broker) serialises events, appends the
// records, and hands the outcome to Done, which gives the replies that depended
// on them. Requests that wait for others (join, sync) carry a Token, which comes
// back in the Reply, perhaps many events later.
//
// Life of a group's membership:
//
//	Empty --join--> PreparingRebalance --all joined, or time--> CompletingRebalance --leader's sync--> Stable
//	  ^                 ^      |                                     |                                   |
//	  |  last one left  |      |                                     +---- join, leave, expiry ----------+
//	  +-----------------+------+                                     v
//	                    +------------------------------- PreparingRebalance
//
// A pending (transactional) offset counts when the transaction's marker is in
// __consumer_offsets, unless a later record of the log overtook it.
//
// Formats: docs/format/data-directory.md, "__consumer_offsets". Protocol:
// KIP-345 (static members), KIP-447 (require_stable), KIP-211 (expiry).
package group
