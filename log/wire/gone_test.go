package wire

import (
	"testing"

	"github.com/millstream-io/millstream/log/broker"
)

func TestALongPollEndsWithItsClient(t *testing.T) {
	var e ended
	ts := newTestServer(t, countEnds(&e), func(_ *broker.Config, w *Config) { w.IdleTimeout = 1 << 40 })
	top := ts.topic("t", 1)
	c := ts.dial()
	req := fetchRequest(12, top, 0)
	req.MinBytes, req.MaxWaitMillis = 1, 1<<30 // longer than any test
	c.write(req)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if why := <-e.c; why != ClosedByPeer {
		t.Errorf("closed as %s", why)
	}
}

func TestALongPollOutlivesTheLookForItsClient(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	c := ts.dial()
	req := fetchRequest(12, top, 0)
	req.MinBytes, req.MaxWaitMillis = 1, 1200 // longer than watchAfter
	c.write(req)
	next := fetchRequest(12, top, 0) // the request behind it is seen, but not taken
	c.write(next)
	if p := fetched(t, c.read(req)); p.ErrorCode != 0 {
		t.Errorf("error %d", p.ErrorCode)
	}
	if p := fetched(t, c.read(next)); p.ErrorCode != 0 {
		t.Errorf("the next: error %d", p.ErrorCode)
	}
}
