package wire

import (
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/quota"
)

// Throttling (KIP-13, KIP-124, KIP-219, KIP-599): a client that is over its
// quota is answered at once, with throttle_time_ms, and then nothing is read
// from its connection for that long. Quotas are the broker's
// (AlterClientQuotas), what is left of them is the server's.

// limit is the quota of a kind for the request's client; without limit if there is none.
func (r *request) limit(kind quota.Kind) quota.Limit {
	q := r.conn.srv.b.Quotas()
	if !q.Has(kind) {
		return quota.Limit{}
	}
	return q.Limit(kind, strings.TrimPrefix(r.conn.principal, "User:"), r.clientID)
}

// charge takes what the request used from its client's quotas, once its answer
// is ready and before it is written.
func (r *request) charge() {
	c := r.conn
	q, now := c.srv.b.Quotas(), c.srv.cfg.Now()
	switch r.api.key {
	case keyProduce:
		r.use(now, quota.ProducerBytes, float64(r.size))
	case keyFetch:
		r.use(now, quota.ConsumerBytes, float64(r.fetched))
	}
	if q.Has(quota.RequestTime) {
		busy := now.Sub(r.arrived) - r.waited
		r.use(now, quota.RequestTime, 100*max(0, busy).Seconds())
	}
	if r.throttle > 0 {
		c.muted = now.Add(r.throttle)
	}
}

func (r *request) use(now time.Time, kind quota.Kind, amount float64) {
	r.throttle = max(r.throttle, r.conn.srv.meters.Use(now, r.limit(kind), amount))
}

// throttled puts the time into an answer that can say it.
func (r *request) throttled(resp kmsg.Response) {
	if t, ok := resp.(kmsg.SetThrottleResponse); ok && r.throttle > 0 {
		t.SetThrottle(int32(min(r.throttle.Milliseconds(), math.MaxInt32)))
	}
}

// unmuted waits until the connection may be read again, or ends.
func (c *conn) unmuted() {
	for {
		left := c.muted.Sub(c.srv.cfg.Now())
		if left <= 0 {
			return
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
			return
		}
	}
}

// waiting notes that the request waits for others (records, members of a group)
// until the function that it gives is called. That time is not charged to
// request_percentage, and if the client goes away meanwhile, ctx ends.
//
//	defer r.waiting()()
func (r *request) waiting() func() {
	begin, stop := r.conn.srv.cfg.Now(), r.conn.watch()
	return func() {
		stop()
		r.waited += r.conn.srv.cfg.Now().Sub(begin)
	}
}

// mutate asks whether a request may make or remove so many partitions
// (controller_mutation_rate). From version strict on a client whose quota is
// used up is refused with the code that it gives; before, it is throttled.
func (r *request) mutate(partitions int, strict int16) int16 {
	l, now, m := r.limit(quota.ControllerMutation), r.conn.srv.cfg.Now(), r.conn.srv.meters
	if r.version() < strict {
		r.throttle = max(r.throttle, m.Use(now, l, float64(partitions)))
		return codeNone
	}
	over := m.Try(now, l, float64(partitions))
	r.throttle = max(r.throttle, over)
	if over > 0 {
		return codeThrottlingQuotaExceeded
	}
	return codeNone
}

// fetchDebt is how long the client must wait for what it read before; then a
// fetch is answered without records. at most most bytes, or fewer as the quota
// allows at once, go into the answer of one that has no debt.
func (r *request) fetchDebt(most int32) (debt time.Duration, bytes int32) {
	l := r.limit(quota.ConsumerBytes)
	if l.Rate <= 0 {
		return 0, most
	}
	debt = r.conn.srv.meters.Debt(r.conn.srv.cfg.Now(), l)
	r.throttle = max(r.throttle, debt)
	return debt, int32(min(float64(most), max(1, l.Burst())))
}

// tooFast says whether an address makes connections above its quota
// (connection_creation_rate, KIP-612).
func (s *Server) tooFast(host string) bool {
	q := s.b.Quotas()
	return q.Has(quota.ConnectionRate) && s.meters.Try(s.cfg.Now(), q.ConnectionLimit(host), 1) > 0
}
