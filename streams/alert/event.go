package alert

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Status says whether an event begins (or repeats) an alert, or ends it.
type Status string

const (
	Firing   Status = "firing"
	Resolved Status = "resolved"
)

// Event is one notice of an alert. Times are UTC, to the millisecond, and within
// the years 1 to 9999: what is outside becomes their first or last moment.
type Event struct {
	// ID tells this notice from all others: application, kind, key and window
	// start with slashes between them; the second and later notices of one alert
	// (repeated, resolved) have a slash and their number after that. It is the
	// same after a crash or a replay of the same input.
	ID string `json:"id"`
	// Incident is the ID of the alert's first notice.
	Incident string `json:"incident"`
	Kind     string `json:"kind"` // the rule's name
	Status   Status `json:"status"`
	Key      string `json:"key"` // the key as text, or the group

	// WindowStart and WindowEnd are the span that was judged: of In the window in
	// which the alert fired; of Over the last d before it did; of Absent from the
	// last record to when it was missed.
	WindowStart time.Time `json:"window_start"`
	WindowEnd   time.Time `json:"window_end"`
	// StartsAt is when the condition began to hold (before For has passed), EndsAt
	// when it was found to be over: of resolved events only.
	StartsAt time.Time  `json:"starts_at"`
	EndsAt   *time.Time `json:"ends_at,omitempty"`

	// Value is the number that was judged: now, or of a resolved event when it
	// ended; of Absent the seconds without a record. Count is the number of records in it.
	Value float64 `json:"value"`
	Count int64   `json:"count"`
	// Number is 1 for the first notice of an alert, and one more for each that follows.
	Number int `json:"number"`

	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Members are the keys of a group's notice that are firing.
	Members []string `json:"members,omitempty"`
	// Data is what Collect gathered, as JSON. See DataOf.
	Data json.RawMessage `json:"data,omitempty"`
}

// DataOf decodes an event's Data: the zero A if there is none.
func DataOf[A any](e Event) (a A, err error) {
	if len(e.Data) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(e.Data, &a); err != nil {
		return a, fmt.Errorf("alert %s: its data is no %T: %w", e.ID, a, err)
	}
	return a, nil
}

// idTime is RFC 3339 with milliseconds where there are any.
const idTime = "2006-01-02T15:04:05.999Z"

// The years that RFC 3339, and so JSON, has.
var (
	firstTold = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastTold  = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
)

func moment(at int64) time.Time { return time.UnixMilli(at).UTC() }

// told is a moment as an event has it: one outside the years 1 to 9999 becomes
// their first or last.
func told(at int64) time.Time { return moment(min(max(at, firstTold), lastTold)) }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// identify fills Incident and ID from the other fields.
func (e *Event) identify(app string) {
	e.Incident = strings.Join([]string{app, e.Kind, e.Key, e.WindowStart.Format(idTime)}, "/")
	if e.ID = e.Incident; e.Number > 1 {
		e.ID = fmt.Sprintf("%s/%d", e.Incident, e.Number)
	}
}

// label sets a label of the event's own.
func (e *Event) label(name, value string) {
	if e.Labels == nil {
		e.Labels = map[string]string{}
	}
	e.Labels[name] = value
}
