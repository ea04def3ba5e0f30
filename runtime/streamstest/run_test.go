package streamstest_test

import (
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
)

// A day of lines, one window a minute, by the engine of production with its
// embedded log: the virtual clock closes the last windows.
func TestADayOfWindows(t *testing.T) {
	began := time.Now()
	streamstest.Run(t, logins(t), streamstest.Options{IdleAfter: time.Minute}, func(r *streamstest.Running) {
		lines := streamstest.Input[string, string](r, "lines")
		var in []event
		for until := r.Now().Add(24 * time.Hour); r.Now().Before(until); {
			for _, host := range []string{"host-1", "host-2", "host-3"} {
				e := event{host + " bad", r.Now()}
				in = append(in, e)
				lines.SendValue(e.line, e.at)
			}
			r.Advance(20 * time.Second)
		}
		r.Advance(5 * time.Minute)
		alerts, _ := fold(in)
		if len(alerts) != 3*24*60 {
			t.Fatalf("the test's fold has %d windows", len(alerts))
		}
		check(r.T(), "a day", r, in)
	})
	t.Logf("a day took %v", time.Since(began))
}
