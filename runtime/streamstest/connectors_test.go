package streamstest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

// feed is a source that gives its lines at their times, by the virtual clock;
// its position is how many it has given.
type feed struct {
	events []event
	next   int
	ends   bool // else it waits for more
}

func (f *feed) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	f.next = 0
	if len(position) == 8 {
		f.next = int(binary.BigEndian.Uint64(position))
	}
	return nil
}

func (f *feed) Read(ctx context.Context, out *connectors.Batch) error {
	if f.next == len(f.events) {
		if f.ends {
			return io.EOF
		}
		<-ctx.Done()
		return ctx.Err()
	}
	e := f.events[f.next]
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(e.at)):
	}
	f.next++
	out.Add(connectors.Out{Value: []byte(e.line), Timestamp: e.at.UnixMilli(), Partition: -1})
	return nil
}

func (f *feed) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(f.next)) }
func (f *feed) Close() error     { return nil }

// kept is a sink that keeps what it gets, by its place in the topic: what comes
// again takes its own place.
type kept struct {
	byPlace map[[2]int64]int64
	writes  int
}

func (k *kept) Open(context.Context, connectors.SinkContext) error { return nil }
func (k *kept) Close() error                                       { return nil }
func (k *kept) Write(_ context.Context, records []connectors.Record) error {
	for i := range records {
		r := &records[i]
		k.writes++
		k.byPlace[[2]int64{int64(r.Partition), int64(r.Offset)}] = int64(binary.BigEndian.Uint64(r.Value))
	}
	return nil
}

// Sources and sinks run as in production; a kill in between neither loses nor
// repeats anything in the log, and the sink gets everything at least once.
func TestConnectorsThroughAKill(t *testing.T) {
	in := events(200, 40)
	sink := &kept{byPlace: map[[2]int64]int64{}}
	o := streamstest.Options{
		Start: t0, IdleAfter: time.Minute,
		Sources: []engine.Source{{Name: "feed", Topic: "lines", Source: &feed{events: in}}},
		Sinks:   []engine.Sink{{Name: "kept", Topic: "alerts", Sink: sink}},
	}
	streamstest.Run(t, logins(t), o, func(r *streamstest.Running) {
		r.Advance(150*time.Second + 50*time.Millisecond)
		r.Kill()
		r.Restart()
		r.Advance(10 * time.Minute)
		r.Wait()
		check(r.T(), "connectors", r, in)
		sum := int64(0)
		for v := range maps.Values(sink.byPlace) {
			sum += v
		}
		want := int64(0)
		alerts, _ := fold(in)
		for _, n := range alerts {
			want += n
		}
		if sum != want || len(sink.byPlace) != len(alerts) {
			t.Errorf("the sink has %d alerts of %d lines, expected %d of %d", len(sink.byPlace), sum, len(alerts), want)
		}
	})
}

// A bounded run ends by itself, with every window closed.
func TestABoundedRunIsJoined(t *testing.T) {
	in := events(100, 41)
	o := streamstest.Options{
		Start: t0, Engine: engine.Config{Bounded: true},
		Sources: []engine.Source{{Name: "feed", Topic: "lines", Source: &feed{events: in, ends: true}}},
	}
	streamstest.Run(t, logins(t), o, func(r *streamstest.Running) {
		r.Join()
		check(r.T(), "bounded", r, in)
		if r.Engine().State().Phase != engine.PhaseStopped {
			t.Errorf("the engine is %s", r.Engine().State().Phase)
		}
	})
}

// A version of the program that does not fit the state is refused, and the old
// one goes on.
func TestAChangedTopologyIsRefusedUnderOldState(t *testing.T) {
	in := events(60, 42)
	o := streamstest.Options{IdleAfter: time.Minute}
	streamstest.Run(t, logins(t), o, func(r *streamstest.Running) {
		send(r, in)
		r.Wait()
		b := streams.NewBuilder("logins")
		b.From[string, string]("lines").GroupByKey().Count(streams.Store("lines-per-host")).ToStream().To("totals")
		var changed *engine.ChangedError
		if err := r.RestartWith(build(t, b), o); !errors.As(err, &changed) {
			t.Fatalf("RestartWith another program: %v, expected a *ChangedError", err)
		}
		if err := r.RestartWith(logins(t), o); err != nil {
			t.Fatal(err)
		}
		r.Wait()
		r.Advance(5 * time.Minute)
		check(r.T(), "the old version", r, in)
	})
}

// A day of silence is cheap: idle time is told and recorded seldomer and seldomer.
func TestADayOfSilenceCostsLittle(t *testing.T) {
	d := streamstest.New(t, logins(t), streamstest.Options{Partitions: 1, Workers: 1, IdleAfter: time.Minute})
	send(d, []event{{"h bad", d.Now()}})
	d.Advance(24 * time.Hour)
	if n := d.Totals().Commits; n > 3*24*60 {
		t.Errorf("%d transactions in a day without a record, expected about two a minute", n)
	}
}

// given is a source that gives its records at once and ends.
type given struct {
	outs []connectors.Out
	next int
}

func (g *given) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	g.next = 0
	if len(position) == 8 {
		g.next = int(binary.BigEndian.Uint64(position))
	}
	return nil
}

func (g *given) Read(_ context.Context, out *connectors.Batch) error {
	for range 7 {
		if g.next == len(g.outs) {
			return io.EOF
		}
		out.Add(g.outs[g.next])
		g.next++
	}
	return nil
}

func (g *given) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(g.next)) }
func (g *given) Close() error     { return nil }

// A join says the same by the engine's bounded run and by the driver, and both
// what a fold by time says.
func TestTheDriverAndTheEngineAgreeOnAJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(50, 3))
	prices, orders := &given{}, &given{}
	opt := streamstest.Options{Engine: engine.Config{Bounded: true}}
	d := streamstest.New(t, priced(t), opt)
	toPrices, toOrders := streamstest.Input[string, int64](d, "prices"), streamstest.Input[string, int64](d, "orders")
	want := map[string][]int64{}
	price := map[string]int64{}
	for i := range 300 {
		key, at := string(rune('a'+r.IntN(5))), t0.Add(time.Duration(i)*time.Second)
		n := int64(i + 1)
		o := connectors.Out{Key: []byte(key), Value: binary.BigEndian.AppendUint64(nil, uint64(n)), Timestamp: at.UnixMilli(), Partition: -1}
		switch r.IntN(4) {
		case 0:
			toPrices.Send(key, n, at)
			prices.outs, price[key] = append(prices.outs, o), n
		case 1:
			o.Value = nil
			toPrices.Delete(key, at)
			prices.outs = append(prices.outs, o)
			delete(price, key)
		default:
			toOrders.Send(key, n, at)
			orders.outs = append(orders.outs, o)
			if p, ok := price[key]; ok {
				want[key] = append(want[key], n*p)
			}
		}
	}
	byKey := func(h streamstest.Harness) map[string][]int64 {
		got := map[string][]int64{}
		for _, r := range streamstest.Output[string, int64](h, "sums").ReadAll() {
			got[r.Key] = append(got[r.Key], r.Value)
		}
		return got
	}
	d.End()
	if got := byKey(d); !reflect.DeepEqual(got, want) {
		t.Errorf("driver: %v, expected %v", got, want)
	}
	opt.Sources = []engine.Source{{Name: "prices", Topic: "prices", Source: prices}, {Name: "orders", Topic: "orders", Source: orders}}
	streamstest.Run(t, priced(t), opt, func(r *streamstest.Running) {
		r.Join()
		if got := byKey(r); !reflect.DeepEqual(got, want) {
			t.Errorf("engine: %v, expected %v", got, want)
		}
	})
}
