// Package acl decides who may do what: Kafka's access control lists as a pure
// core (no goroutine, no clock, no disk, no network).
//
// A Set holds bindings and answers for a principal, a host, an operation and a
// resource. It is not the authorizer of a server: super users, what holds when
// no binding covers a resource, and persistence belong to the broker and the
// protocol server, which call it. A Set is immutable; With and Without make a
// new one, so that readers need no lock.
//
// The rules are those of KIP-11, KIP-290 (prefixes) and Kafka 4.3's standard
// authorizer.
package acl
