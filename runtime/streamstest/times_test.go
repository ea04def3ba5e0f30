package streamstest_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

// A time that no calendar has would make all that follows late, and is a sum
// away from overflowing: the record is bad.
func TestATimeBeyondTheYear9999IsABadRecord(t *testing.T) {
	b := streams.NewBuilder("times")
	b.From[string, string]("plain").To("out")
	b.From[string, string]("told", streams.EventTime(func(_, v string) time.Time {
		if v == "never" {
			return time.Unix(math.MaxInt64, 0)
		}
		return time.UnixMilli(1_700_000_000_000)
	})).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := streamstest.New(t, topo, streamstest.Options{Partitions: 1})
	plain, told := streamstest.Input[string, string](d, "plain"), streamstest.Input[string, string](d, "told")
	plain.Send("k", "far", time.UnixMilli(math.MaxInt64))
	plain.Send("k", "fine", time.UnixMilli(1_700_000_000_000))
	told.Send("k", "never", time.UnixMilli(1_700_000_000_000))
	told.Send("k", "also fine", time.UnixMilli(1_700_000_000_000))
	d.Run()
	var got []string
	for _, r := range streamstest.Output[string, string](d, "out").ReadAll() {
		got = append(got, r.Value)
	}
	if len(got) != 2 || strings.Contains(strings.Join(got, " "), "far") || strings.Contains(strings.Join(got, " "), "never") {
		t.Errorf("expected the two good records, found %q", got)
	}
	letters := d.DeadLetters()
	if len(letters) != 2 {
		t.Fatalf("expected two dead letters, found %+v", letters)
	}
	for _, l := range letters {
		if !strings.Contains(l.Reason, "years 1 to 9999") {
			t.Errorf("the reason is %q", l.Reason)
		}
	}
}

// A deletion that a table tells of at a commit has the time of the record that
// deleted, also through a repartition topic: there it deletes the copy.
func TestADeletionHasTheTimeOfItsRecord(t *testing.T) {
	b := streams.NewBuilder("times")
	changes := b.Table[string, string]("in", streams.Store("latest")).ToStream()
	changes.To("out")
	changes.Repartition(streams.Named("moved")).ToTable(streams.Store("copies")).ToStream().To("copies-out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := streamstest.New(t, topo, streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "in")
	began := time.UnixMilli(1_700_000_000_000).UTC()
	in.Send("k", "v", began)
	d.Run()
	in.Delete("k", began.Add(time.Minute))
	d.Run()
	in.Send("k", "again", began.Add(time.Hour))
	in.Delete("k", began.Add(2*time.Hour))
	d.Run()
	want := []time.Duration{0, time.Minute, 2 * time.Hour}
	for topic, want := range map[string][]time.Duration{"out": want, "copies-out": want[:2]} { // what came and went was never copied
		var got []time.Duration
		for _, r := range streamstest.Output[string, string](d, topic).ReadAll() {
			got = append(got, r.Time.Sub(began))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: records at %v, expected them at %v", topic, got, want)
		}
	}
	if l := d.DeadLetters(); len(l) > 0 {
		t.Errorf("dead letters: %+v", l)
	}
}

// What a program gives an impossible time is not written where nobody could use
// it: neither to a topic of the user's nor to one of its own.
func TestAnImpossibleTimeThatTheProgramMakesIsADeadLetter(t *testing.T) {
	for _, action := range []string{"dead-letter", "skip", "stop"} {
		b := streams.NewBuilder("times")
		moved := b.From[string, string]("in").Process(func(c *streams.Context[string, string], k, v string) {
			if v == "never" {
				c.ForwardAt(time.Unix(math.MinInt64, 0), k, v)
			}
			c.Forward(k, v)
		}, streams.Named("move"))
		moved.To("out", streams.Named("write"))
		moved.Repartition(streams.Named("moved")).To("out2")
		topo, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		d := streamstest.New(t, topo, streamstest.Options{Partitions: 1, Engine: engine.Config{OnBadRecord: action}})
		in := streamstest.Input[string, string](d, "in")
		in.Send("k", "never", time.UnixMilli(1_700_000_000_000))
		if err := d.Try(); action == "stop" {
			if err == nil || !strings.Contains(err.Error(), `operator "write": a record for topic out: its event time, -9223372036854775808 ms`) {
				t.Errorf("stop: %v", err)
			}
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"out", "out2"} {
			if got := streamstest.Output[string, string](d, topic).ReadAll(); len(got) != 1 {
				t.Errorf("%s: %s has %+v, expected the record with a time", action, topic, got)
			}
		}
		letters := d.DeadLetters()
		if want := map[string]int{"dead-letter": 2, "skip": 0}[action]; len(letters) != want {
			t.Errorf("%s: %d dead letters, expected %d: %+v", action, len(letters), want, letters)
		}
		for _, l := range letters {
			if !strings.Contains(l.Reason, "years 1 to 9999 (made of in-0, offset 0)") || l.Value == nil {
				t.Errorf("the dead letter is %+v", l)
			}
		}
	}
}
