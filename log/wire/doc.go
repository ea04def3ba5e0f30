// Package wire serves a log/broker to Kafka clients: listeners, connections,
// frames, and one file NN_name.go per API key with the handler of that key.
//
// It is not a proxy and keeps nothing of its own on disk: what outlives a
// connection is the broker's. Messages are kmsg's; own code encodes only the
// record batches' way from a segment to the socket (fetch). api.go is the
// table of what is served, and docs/PROTOCOL.md is generated from it.
//
// cmd/millstream and runtime/engine call New, Listen and Serve. A Server may
// be used from any goroutine. Each connection has one goroutine that reads a
// request, runs its handler and writes the answer, so the requests of a
// connection are handled in order; a handler that must wait for the disk after
// its work is ordered (produce) leaves the waiting to the connection's second
// goroutine (request.later), and answers still go out in order.
//
// Frames, as Kafka draws them (all numbers big endian):
//
//	request   size int32 | key int16 | version int16 | correlation int32 | client id nullable string | [tags] | body
//	answer    size int32 | correlation int32 | [tags] | body
//
// Tags are there where the version is flexible, except in the answer to
// ApiVersions, whose reader does not know yet what the server speaks.
//
// Everything is bounded: see Config.
package wire
