// Package txn is the transaction coordinator's core: for each transactional id
// who owns it (producer id and epoch), whether a transaction is open, which
// partitions it wrote, and what was decided.
//
// It is stepped: an event and the time go in, a Step comes out, saying which
// record to append to __transaction_state, whether it must be on disk before it
// counts, and what follows once it counts (markers, a reply). It has no
// goroutine, clock, lock or disk. The caller (log/broker) serialises events per
// transactional id and calls Apply when the record is as durable as the Step
// asks; a Step that is not applied has not happened.
//
// Life of a transactional id:
//
//	(none) --Init--> Empty --Add--> Ongoing --End(commit)--> PrepareCommit --markers--> CompleteCommit
//	                   ^               |  |                                                   |
//	                   |  Init, timeout|  +--End(abort)--> PrepareAbort --markers--> CompleteAbort
//	                   |               +---(epoch + 1)-------^                                |
//	                   +-------------------------Init (epoch + 1)-----------------------------+
//
// Complete* are reached in memory when the markers are appended, and in the log
// only once the markers are on disk (Complete); the next transaction may begin
// before that. So that recovery can tell a marker that was lost from one that
// was written and followed by the next transaction's data, a Prepare record
// carries, beside Kafka's fields, the end offset of each partition at the
// decision (tag 10000 of each topic; Kafka's readers pass over it): an open
// transaction of the producer that begins below it is the decided one.
//
// Two protocols work side by side. By the first, producers add partitions by
// requests of their own and keep their epoch; by KIP-890's (EndAndBump, and Add
// from a produce request) each decision raises the epoch, so that a request
// that is late belongs to no later transaction, and one that is repeated is
// recognised by its epoch. The one above the last epoch serves for markers only:
// then the producer goes on with a new id (Next, Previous).
//
// Formats: docs/format/data-directory.md, "__transaction_state". Protocol:
// KIP-98, KIP-360 (recovery after errors), KIP-447, KIP-588 (timeouts do not
// fence for good), KIP-890 (epochs for each transaction).
package txn
