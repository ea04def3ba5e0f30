// Package engine runs a topology on a log: New checks everything, Run works
// until its context is done or a bounded run has ended, Close gives the
// directories back. Get, Range, Fetch and All read committed state meanwhile.
//
// It is the only package of the runtime with goroutines of its own: workers
// that run tasks, one that follows the group's assignments (shepherd), some that
// restore tasks before they run, one that follows the state of tasks that run
// elsewhere (standbys), one per source and per sink, one that writes
// checkpoints, one that trims topics. What they run is synchronous and tested without them:
// runtime/internal/{plan,task,restore}.
//
// # Life of a transaction
//
// A worker reads batches, runs them through its tasks' units, and at every
// commit interval, or sooner when a bound is hit, ends one transaction: the
// units' outputs and changelogs, watermark records, one position record per
// task, the input offsets. When the log has acknowledged it, and not before,
// the changelog entries become the committed overlay, which queries see and
// checkpoints write to the local database (invariant I1).
//
// # Outcomes of errors
//
//	fenced            embedded: another process runs the application: Run returns the error, nothing is
//	                  touched. On a cluster: others took this instance for gone; its tasks begin
//	                  anew from committed state where they are still, or again, its own. Run
//	                  returns the error if another process has its name
//	rebalanced,       the transaction's effects are dropped, positions are read anew and
//	unknown outcome   the worker's tasks rebuilt from committed state; Run goes on
//	retryable, the    aborted, tasks rebuilt, tried again with jittered backoff until it
//	log out of disk   works (space returns, say) or Run is asked to end
//	bad record        Config.OnBadRecord: dead letter (default), skip, stop
//	panic at a record Config.OnPanic: stop (default), dead letter, skip, retry
//	panic elsewhere,  aborted; Run returns a *task.PanicError that names the operator and,
//	or OnPanic stop   where there is one, its input record
//	checkpoints fail  their entries wait; once they reach Config.UncheckpointedBytes and the
//	                  fourth attempt in a row fails, Run returns an error
//	a connector       tried again by its own Retry, for good unless that is bounded; see
//	                  package connectors. A panic of it, an error that contradicts itself,
//	                  a Permanent one and one of its first Open that does not pass: Run
//	                  returns the error
//	a connector that  its context is done, it does not come back for 10 s: it is left behind,
//	does not stop     nothing of it is committed, Run returns a *ConnectorStuckError
//	anything else     aborted; Run returns the error; a later start goes on where the last
//	                  commit stood
//
// Every abort counts in Totals.Aborts and calls Hooks.Committed with its error.
//
// # Guarantees
//
// exactly_once is what the transaction above gives. at_least_once, on a cluster,
// writes without one: results, then changelogs, then the group's offsets, then the
// position record, from which a restart goes on (guarantee.go). An embedded log runs
// the same transactions for both, which cost no more there.
//
// Engine's methods may be called from any goroutine.
package engine
