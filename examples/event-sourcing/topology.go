package main

import (
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/topology"
)

// Event is what happened to an account, whose name is the record's key.
type Event struct {
	What   string `json:"what"` // opened, deposited, withdrawn
	Amount int64  `json:"amount,omitempty"`
}

// Rejection is an event that did not count, and why.
type Rejection struct {
	Event  Event  `json:"event"`
	Reason string `json:"reason"`
}

// buildTopology folds the events of each account into its balance, in the store
// "balances", and writes those that may not count to the topic "rejections".
func buildTopology() (*topology.Topology, error) {
	b := streams.NewBuilder("accounts")
	balances := streams.NewState[string, int64]("balances")
	b.From[string, Event]("events").
		Process(func(c *streams.Context[string, Rejection], account string, e Event) {
			balance, open := balances.Get(c, account)
			balance, reason := apply(balance, open, e)
			if reason != "" {
				c.Forward(account, Rejection{e, reason})
				return
			}
			balances.Put(c, account, balance)
		}, streams.Uses(balances)).
		To("rejections")
	return b.Build()
}

// apply is the balance after an event, or the reason why the event does not
// count. It looks at its arguments alone: the same events have the same balance.
func apply(balance int64, open bool, e Event) (after int64, reason string) {
	switch {
	case e.What == "opened" && open:
		return balance, "already open"
	case e.What == "opened":
		return 0, ""
	case !open:
		return balance, "no such account"
	case e.Amount <= 0:
		return balance, "not an amount"
	case e.What == "deposited":
		return balance + e.Amount, ""
	case e.What == "withdrawn" && e.Amount > balance:
		return balance, "overdrawn"
	case e.What == "withdrawn":
		return balance - e.Amount, ""
	}
	return balance, "unknown event"
}
