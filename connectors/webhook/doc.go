// Package webhook posts the records of a topic to an HTTP endpoint: alerts to a
// chat, a pager, Alertmanager or a program.
//
// Each record is one POST. Its value, JSON, goes through a text/template, which
// makes the body; its id, made of the record alone, goes into the header
// Idempotency-Key. So a repeat has the same id and, byte for byte, the same
// body, and a receiver that keeps the ids does everything once.
//
// It is not a client for APIs that need an answer's content, and it does not
// follow redirects. docs/connectors/webhook.md is its guide.
//
// # What becomes of an answer
//
//	2xx                               acknowledged
//	429, 408, 5xx                     posted again, not before its Retry-After
//	no answer in Config.Timeout,      posted again; the receiver may have it already
//	connection refused, lost, TLS
//	any other 4xx, 3xx, 1xx           dead letter with status and the beginning of the answer
//
// # Bad input
//
//	value is not JSON                 dead letter
//	null value                        passed over: there is nothing to post
//	template fails on the value, or   dead letter with what is wrong where
//	its body is not JSON
//	URL, template, header, limit,     error of New, all of them at once
//	certificate, missing secret
//	secret exchanged for nothing      an error that is tried again; nothing is posted without it
//	answer without end, or too large  4 KiB of it are looked at, 64 KiB read
//	Retry-After of a year             Config.MaxRetryAfter
//
// # Repeats
//
// A record is posted again after an answer that is not an acknowledgement, and
// after a kill, when its offset was not committed yet: at most
// Config.MaxUncommitted records for each kill. Nothing else is posted twice.
//
// # Order
//
// Records with the same key are posted one after the other, in their order, and
// a later one waits for an earlier one that has to be posted again. Records with
// different keys, or without one, may overtake each other.
//
// A Sink is called from one goroutine; it posts from several of its own.
package webhook
