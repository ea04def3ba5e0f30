// Package task runs one sub-topology on one partition: a processor.Unit, its
// inputs, its stream time, and its stores' committed entries.
//
// A Task is synchronous: it has no goroutine and no clock (`now` is passed in);
// its ports are a logclient.Writer, batches that the worker hands over, and a
// state.DB. A worker of runtime/engine calls it from one goroutine; only the
// methods of Reader (queries) and Frozen (checkpoints) may be called beside it.
//
// # Life
//
//	New ─Start─▶ running ─┬─ Add, Work, Tick ... Flush ─ commit ─▶ Committed ─▶ running
//	                      └─ any error ─▶ Drop ─Start (from committed state)─▶ running
//
// # Time
//
// Stream time never falls. It is the minimum over the inputs, each the greatest
// timestamp seen there. Behind a repartition topic the inputs are the upstream
// tasks: their time is in watermark records, and a record that is older than
// the task that sent it carries that task's time in a header, by which alone it
// is late or not. See time.go and wire.go.
//
// # Order
//
// Several inputs are merged by time, tables first. Behind a repartition topic
// each upstream task is a sequence of its own, so that the order does not depend
// on when it committed. See merge.go and lane.go.
//
// # State
//
// What a transaction changes is `pending`. When it is committed it goes to the
// overlay's active layer; a checkpoint freezes that layer and writes it to the
// local database beside the hot path. A reader looks into active, frozen,
// database, in this order. See overlay.go.
package task
