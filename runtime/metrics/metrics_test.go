package metrics

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/engine"
)

type health struct{ live, ready error }

func (h health) Live() error  { return h.live }
func (h health) Ready() error { return h.ready }

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func TestHooksReachTheScrape(t *testing.T) {
	m := New()
	start := time.Unix(1000, 0)
	m.now = func() time.Time { return start.Add(7 * time.Second) }
	h := m.Hooks()
	h.Processed("0_1", "syslog", 40, 4000)
	h.Processed("0_1", "syslog", 2, 200)
	h.Written("alerts", 3, 30)
	h.Late("count", 5)
	h.DeadLettered("syslog", 6)
	h.Committed("0", 3*time.Millisecond, nil)
	h.Committed("0", 3*time.Millisecond, errors.New("disk"))
	h.Lag("0_1", "syslog", 1, 17)
	h.EndToEnd("alerts", time.Second)
	h.Checkpointed("0_1", time.Second, 100, 1000, start)
	h.Store("0_1", "counts", 12, 345, 9, 1)
	h.Restored("0_1", "counts", 8)
	h.RestoreProgress("0_1", "counts", 0, 8, 0, 0)
	h.RestoreProgress("0_1", "counts", 5, 8, 50, time.Second)
	h.RestoreProgress("0_1", "counts", 6, 8, 60, time.Second)
	h.RestoreProgress("0_1", "counts", 0, 3, 0, 0) // once more
	h.RestoreProgress("0_1", "counts", 1, 3, 10, time.Second)
	h.Standby("0_2", "counts", 4, 3, 30)
	h.Standby("0_2", "counts", 1, 3, 30)
	h.Standby("0_3", "counts", 4, 0, 0)
	h.Standby("0_3", "counts", -1, 0, 0)
	h.Disk(engine.DiskUsage{LogBytes: 9000, StateBytes: 800, FreeBytes: 70_000})
	h.Source("udp", 11, 1, nil)
	h.Sink("console", 4, 44, time.Millisecond, errors.New("closed"))
	h.Retried("console")
	h.SourceState(engine.SourceSnapshot{LagRecords: -1, LagBytes: 77, Dropped: 5,
		ConnectorSnapshot: engine.ConnectorSnapshot{Name: "udp", State: "running", InFlight: 3, LastSuccess: time.UnixMilli(1_500)}})
	h.SinkState(engine.SinkSnapshot{Lag: 21, Skipped: 2, ConnectorSnapshot: engine.ConnectorSnapshot{Name: "console", State: "retrying"}})

	code, body := get(t, m.Handler(health{}), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("GET /metrics: %d", code)
	}
	for _, line := range []string{
		`millstream_disk_bytes{part="log"} 9000`, `millstream_disk_bytes{part="state"} 800`, `millstream_disk_free_bytes 70000`,
		`millstream_records_in_total{task="0_1",topic="syslog"} 42`,
		`millstream_bytes_in_total{task="0_1",topic="syslog"} 4200`,
		`millstream_records_out_total{topic="alerts"} 3`,
		`millstream_late_records_total{operator="count"} 5`,
		`millstream_dead_letters_total{stage="syslog"} 6`,
		`millstream_commit_seconds_count{worker="0"} 2`,
		`millstream_commit_errors_total{worker="0"} 1`,
		`millstream_lag_records{partition="1",task="0_1",topic="syslog"} 17`,
		`millstream_end_to_end_seconds_count{topic="alerts"} 1`,
		`millstream_checkpoint_age_seconds{task="0_1"} 7`,
		`millstream_store_entries{store="counts",task="0_1"} 12`,
		`millstream_store_bytes{store="counts",task="0_1"} 345`,
		`millstream_cache_hits{store="counts",task="0_1"} 9`,
		`millstream_cache_misses{store="counts",task="0_1"} 1`,
		`millstream_restored_records_total{store="counts",task="0_1"} 8`,
		`millstream_restore_records_remaining{store="counts",task="0_1"} 2`,
		`millstream_restored_bytes_total{store="counts",task="0_1"} 70`,
		`millstream_standby_lag_records{store="counts",task="0_2"} 1`,
		`millstream_standby_records_total{store="counts",task="0_2"} 6`,
		`millstream_standby_bytes_total{store="counts",task="0_2"} 60`,
		`millstream_source_records_total{source="udp"} 11`,
		`millstream_sink_records_total{sink="console"} 4`,
		`millstream_connector_errors_total{connector="console"} 1`,
		`millstream_source_bytes_total{source="udp"} 1`,
		`millstream_sink_bytes_total{sink="console"} 44`,
		`millstream_connector_retries_total{connector="console"} 1`,
		`millstream_connector_up{connector="udp",kind="source"} 1`,
		`millstream_connector_up{connector="console",kind="sink"} 0`,
		`millstream_connector_in_flight_records{connector="udp",kind="source"} 3`,
		`millstream_connector_last_success_timestamp_seconds{connector="udp",kind="source"} 1.5`,
		`millstream_sink_lag_records{sink="console"} 21`,
		`millstream_sink_skipped_records{sink="console"} 2`,
		`millstream_source_lag_bytes{source="udp"} 77`,
		`millstream_source_dropped_records{source="udp"} 5`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("/metrics lacks the line %s", line)
		}
	}
}

// stateful is a health that tells more.
type stateful struct{ health }

func (stateful) State() engine.Snapshot {
	return engine.Snapshot{Name: "alerts", Phase: engine.PhaseRunning,
		Sinks: []engine.SinkSnapshot{{Name: "webhook", Topic: "alerts", State: "retrying", Error: "refused"}}}
}

func TestHealthOfAnEngineIsJSON(t *testing.T) {
	h := New().Handler(stateful{health{ready: errors.New("sink webhook is retrying")}})
	var got Checked
	code, body := get(t, h, "/readyz")
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 503 {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	if got.Status != "unavailable" || got.Reason != "sink webhook is retrying" || got.Phase != engine.PhaseRunning || len(got.Sinks) != 1 || got.Sinks[0].Error != "refused" {
		t.Errorf("not ready: %s", body)
	}
	if code, body := get(t, h, "/healthz"); code != 200 || !strings.Contains(body, `"status":"ok"`) || !strings.Contains(body, `"sources":[]`) {
		t.Errorf("live: %d %s", code, body)
	}
}

func TestHealthSaysWhatIsWrong(t *testing.T) {
	m := New()
	if code, body := get(t, m.Handler(health{}), "/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthy: got %d %q", code, body)
	}
	h := m.Handler(health{live: errors.New("alerts-0 is offline"), ready: errors.New("restoring task 0_1")})
	if code, body := get(t, h, "/healthz"); code != 503 || body != "alerts-0 is offline\n" {
		t.Errorf("not live: got %d %q", code, body)
	}
	if code, body := get(t, h, "/readyz"); code != 503 || body != "restoring task 0_1\n" {
		t.Errorf("not ready: got %d %q", code, body)
	}
}
