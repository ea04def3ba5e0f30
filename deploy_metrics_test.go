package millstream

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestDashboardAndRulesUseMetricsThatExist holds the dashboard and the alert
// rules against docs/metrics.md, which a test of runtime/metrics holds against
// what is served.
func TestDashboardAndRulesUseMetricsThatExist(t *testing.T) {
	metric := regexp.MustCompile(`millstream_[a-z_]+`)
	suffix := regexp.MustCompile(`_(bucket|count|sum)$`)
	list, err := os.ReadFile("docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := metric.FindAllString(string(list), -1)
	for _, file := range []string{"docs/deploy/grafana-dashboard.json", "docs/deploy/prometheus-rules.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		used := metric.FindAllString(string(text), -1)
		if len(used) == 0 {
			t.Errorf("%s uses no metric of ours", file)
		}
		for _, m := range used {
			if !slices.Contains(known, m) && !slices.Contains(known, suffix.ReplaceAllString(m, "")) {
				t.Errorf("%s uses %s, which docs/metrics.md does not list", file, m)
			}
		}
	}
	text, err := os.ReadFile("docs/deploy/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct{ Panels []any }
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) == 0 {
		t.Errorf("docs/deploy/grafana-dashboard.json: %v, %d panels", err, len(dashboard.Panels))
	}
}
