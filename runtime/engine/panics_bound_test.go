package engine

import (
	"errors"
	"testing"

	"github.com/millstream-io/millstream/runtime/internal/task"
)

func TestWhatAPanicDoesByItsAction(t *testing.T) {
	at := &task.PanicError{Topic: "in", Partition: 1, Offset: 7}
	var p panics
	for i := range maxPanics {
		if !p.takes("retry", at) {
			t.Fatalf("retry gives up at panic %d", i+1)
		}
	}
	if p.takes("retry", at) {
		t.Error("retry never gives up")
	}
	if p.poisoned() != nil {
		t.Error("a record that is processed again is not put aside")
	}
	for _, err := range []error{&task.PanicError{}, errors.New("no panic")} {
		if p.takes("skip", err) {
			t.Errorf("%v: there is no record to put aside", err)
		}
	}
	if p.takes("stop", at) {
		t.Error("stop goes on")
	}
	if !p.takes("dead-letter", at) {
		t.Fatal("dead-letter stops")
	}
	if reason, aside, keep := p.poisoned()("in", 1, 7); reason == "" || !aside || !keep {
		t.Errorf("found %q, %v, %v", reason, aside, keep)
	}
	if _, aside, _ := p.poisoned()("in", 1, 8); aside {
		t.Error("another record is put aside")
	}
}
