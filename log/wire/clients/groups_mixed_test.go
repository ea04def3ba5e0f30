package clients

import (
	"slices"
	"testing"
)

// TestIntegrationAGroupMovesBetweenTheProtocols: a classic member, then one of the
// consumer protocol joins, the classic one leaves, and the way back; each record
// is seen once.
func TestIntegrationAGroupMovesBetweenTheProtocols(t *testing.T) {
	both := func(l library) bool {
		return slices.Contains(l.protocols, "consumer") && slices.Contains(l.protocols, "cooperative")
	}
	each(t, both, func(t *testing.T, l library, c client) {
		g := newGroupTest(t, l, c, "cooperative", false)
		a, b, d := g.group+"-a", g.group+"-b", g.group+"-d"
		g.join(a)
		g.settled(map[string]int{a: 6})
		g.send(20)
		g.protocol = "consumer"
		g.join(b)
		g.settled(map[string]int{a: 3, b: 3})
		g.send(20)
		g.leave(a)
		g.settled(map[string]int{b: 6})
		g.send(20)
		g.protocol = "cooperative"
		g.join(d)
		g.settled(map[string]int{b: 3, d: 3})
		g.leave(b)
		g.settled(map[string]int{d: 6})
		g.send(20)
		g.leave(d)
		g.once()
	})
}
