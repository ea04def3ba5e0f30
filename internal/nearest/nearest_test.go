package nearest

import "testing"

func TestNameFindsTheNearest(t *testing.T) {
	known := []string{"alerts", "lines", "out"}
	for name, want := range map[string]string{"outt": "out", "LINES": "lines", "alert": "alerts", "lnes": "lines", "metrics": "", "completely-else": ""} {
		if got := Name(name, known); got != want {
			t.Errorf("%s: %q, expected %q", name, got, want)
		}
	}
}
