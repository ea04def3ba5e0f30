// Package badgerstore keeps the checkpoints of a process's stores in Badger: a
// state.DB on one directory, which one process owns at a time.
//
// It is not the truth: everything in it can be rebuilt from the changelogs,
// which is also the way out of every corruption. It knows nothing of topics,
// offsets or serdes; what a checkpoint record holds is its caller's business.
// The engine opens it; tasks read and checkpoint through state.DB. Calls for
// different tasks may run at once. docs/format/badger.md draws what is kept
// under which key and says what a flipped byte does.
//
// # Invariants
//
// Cited by number elsewhere (DESIGN: the runtime).
//
//   - I1: Badger holds no value whose transaction is not committed and as durable
//     as the log promises. The engine checkpoints committed, durable values only.
//   - I2: A checkpoint record names, per changelog partition of its task, (offset,
//     leader epoch), and the cluster and topic ids; every committed record below
//     those offsets is in Badger. Here that means: the record is written in the
//     checkpoint's last transaction, and Badger replays its transactions in order
//     up to the first torn one, so a record that is read was preceded by all that
//     it stands for. The engine validates it by epoch, log start and age.
//   - I3: Recovery rolls the changelog forward from the record with absolute puts,
//     so a checkpoint that was cut between its transactions (values newer than
//     the record in force) gives the same state as one that never began.
//   - I4: An unclean start under a new boot id with flush=os discards the
//     directory and rebuilds, because the log may have lost what Badger kept.
package badgerstore
