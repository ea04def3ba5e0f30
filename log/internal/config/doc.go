// Package config knows Kafka's configurations: the names, types, defaults,
// bounds and meanings of what can be set on a topic, a broker, a group and a
// subscription to client metrics (Apache Kafka 4.3).
//
// It is pure: tables and checks. It is not the place of any value that is in
// force, which are the broker's (log/broker: topicconfig.go, settings.go), and
// it applies nothing. Everything in it is read-only after init and may be used
// by any goroutine.
package config
