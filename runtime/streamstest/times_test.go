package streamstest_test

import (
	"math"
	"strings"
	"testing"
	"time"

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
