// Package quota holds client quotas and what is left of them: Kafka's
// producer_byte_rate, consumer_byte_rate, request_percentage and
// controller_mutation_rate per user, client id or both, and
// connection_creation_rate per IP address (KIP-13, KIP-124, KIP-219, KIP-546,
// KIP-599, KIP-612).
//
// It is pure: no goroutine and no clock; the caller passes now in. It tells how
// long a client is to be throttled; the protocol server says so in the answer
// and reads nothing from the connection meanwhile. Settings are immutable and
// persisted by the broker; Meters are the state of one server.
package quota
