package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// full is an output that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAnOutputThatTakesNothingIsAFailure(t *testing.T) {
	for _, out := range []string{"summary", "rows"} {
		var stderr bytes.Buffer
		args := append(generated(t, 200, 1), "-out", out)
		if code := run(t.Context(), args, stdio{full{}, &stderr}); code != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("-out %s: expected exit 1 and the reason, found %d: %s", out, code, &stderr)
		}
	}
}
