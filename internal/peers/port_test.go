package peers

import "testing"

func TestFreePortsAreNoClientsAndGivenOnce(t *testing.T) {
	given := map[int]bool{}
	for range 50 {
		p, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		if p < firstPort || p >= lastPort || given[p] {
			t.Errorf("port %d, given before: %v; expected a new one in %d..%d", p, given[p], firstPort, lastPort-1)
		}
		given[p] = true
	}
}
