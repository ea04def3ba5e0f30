package streamstest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
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
