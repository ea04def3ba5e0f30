package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// Templates for Config.Template.
const (
	// Generic passes the record's JSON object on as it stands, with "id" before
	// its members if it has none of its own.
	Generic = `{{withID .}}`
	// Slack is an incoming webhook's message: one line of text.
	Slack = `{"text":{{json (slack (summary .))}}}`
	// Alertmanager is one alert of POST /api/v2/alerts. Its labels, which
	// Alertmanager tells alerts apart by, are those of the value's member
	// "labels", app, key and alertname: the member "name", "alert" or "kind", or
	// the application. A value whose status, state or kind is "resolved", or whose
	// member "resolved" is true, ends the alert, at its ends_at; any other leaves
	// that to Alertmanager's resolve_timeout.
	Alertmanager = `[{{alertmanager .}}]`
)

// functions are those that templates may call.
var functions = template.FuncMap{
	"json":         toJSON,
	"get":          func(v any, path string) any { return get(v, path) },
	"default":      defaultTo,
	"join":         join,
	"rfc3339":      rfc3339,
	"slack":        slackEscaper.Replace,
	"withID":       withID,
	"summary":      summary,
	"alertmanager": alertmanager,
}

// body makes the body of an alert.
func (s *Sink) body(a *Alert) ([]byte, error) {
	var b bytes.Buffer
	if err := s.template.Execute(&b, a); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	if s.json && !json.Valid(b.Bytes()) {
		var v any
		return nil, fmt.Errorf("the template's body is not JSON: %w: %.200q", json.Unmarshal(b.Bytes(), &v), b.String())
	}
	return b.Bytes(), nil
}

// toJSON is the JSON of a value; members of objects are in the order of their names.
func toJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// defaultTo is v, or d if v is missing or empty: {{get .Value "users" | default "nobody"}}.
func defaultTo(d, v any) any {
	switch v := v.(type) {
	case nil:
		return d
	case string:
		if v == "" {
			return d
		}
	case []any:
		if len(v) == 0 {
			return d
		}
	}
	return v
}

// join is the elements of a list as text, with sep between them.
func join(sep string, list any) (string, error) {
	switch list := list.(type) {
	case nil:
		return "", nil
	case []any:
		parts := make([]string, len(list))
		for i, v := range list {
			if parts[i] = plain(v); parts[i] == "" {
				parts[i] = fmt.Sprint(v)
			}
		}
		return strings.Join(parts, sep), nil
	}
	return "", fmt.Errorf("join: expected a list, found %T", list)
}

// rfc3339 is a time in UTC: of an RFC 3339 text, or of milliseconds since the Unix epoch.
func rfc3339(v any) (string, error) {
	text := plain(v)
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.UnixMilli(ms).UTC().Format(timeFormat), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "", fmt.Errorf("rfc3339: %v is neither RFC 3339 nor milliseconds", v)
	}
	return t.UTC().Format(timeFormat), nil
}

// slackEscaper escapes what Slack's text format has a meaning for.
var slackEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// withID is the value with its id in front.
func withID(a *Alert) (string, error) {
	members, ok := a.Value.(map[string]any)
	if !ok {
		return "", errors.New("the value is not a JSON object: give a template of your own")
	}
	if _, has := members["id"]; has {
		return a.Raw, nil
	}
	id, err := toJSON(a.ID)
	if err != nil {
		return "", err
	}
	if len(members) == 0 {
		return `{"id":` + id + `}`, nil
	}
	return `{"id":` + id + `,` + a.Raw[1:], nil
}

// summary is a line of text for people.
func summary(a *Alert) string {
	at := func(path string) string { return plain(get(a.Value, path)) }
	var b strings.Builder
	b.WriteString(alertName(a))
	for _, part := range []struct{ before, text, after string }{
		{" ", orElse(at("status"), at("state")), ""}, {": ", orElse(at("key"), a.Key), ""}, {", ", at("count"), " records"},
		{" from ", at("window_start"), ""}, {" to ", at("window_end"), ""},
	} {
		if part.text != "" {
			b.WriteString(part.before + part.text + part.after)
		}
	}
	for _, name := range []string{"users", "addresses", "members"} {
		list := get(a.Value, name)
		if list == nil {
			list = get(a.Value, "data."+name)
		}
		if list, err := join(", ", list); err == nil && list != "" {
			b.WriteString("; " + name + " " + list)
		}
	}
	return b.String()
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// alertName is the name of the rule behind an alert.
func alertName(a *Alert) string {
	for _, member := range []string{"name", "alert", "kind"} {
		if text := plain(get(a.Value, member)); text != "" && text != "resolved" {
			return text
		}
	}
	return a.App
}

// alertmanager is the alert object of Alertmanager's API, version 2
// (https://prometheus.io/docs/alerting/latest/alerts_api).
func alertmanager(a *Alert) (string, error) {
	out := struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    string            `json:"startsAt,omitempty"`
		EndsAt      string            `json:"endsAt,omitempty"`
	}{
		Labels:      texts(get(a.Value, "labels")),
		Annotations: texts(get(a.Value, "annotations")),
	}
	out.Labels["alertname"], out.Labels["app"], out.Labels["key"] = alertName(a), a.App, orElse(plain(get(a.Value, "key")), a.Key)
	out.Annotations["id"] = a.ID
	for _, name := range []string{"incident", "count", "value"} {
		if text := plain(get(a.Value, name)); text != "" {
			out.Annotations[name] = text
		}
	}
	if out.Annotations["summary"] == "" {
		out.Annotations["summary"] = summary(a)
	}
	var err error
	if start := firstOf(a.Value, "starts_at", "since", "window_start"); start != nil {
		if out.StartsAt, err = rfc3339(start); err != nil {
			return "", err
		}
	}
	if resolved(a.Value) {
		out.EndsAt = a.Timestamp
		if end := firstOf(a.Value, "ends_at", "resolved_at", "at"); end != nil {
			if out.EndsAt, err = rfc3339(end); err != nil {
				return "", err
			}
		}
	}
	return toJSON(out)
}

// texts are the members of an object that are texts or numbers.
func texts(v any) map[string]string {
	found := map[string]string{}
	members, _ := v.(map[string]any)
	for name, member := range members {
		if text := plain(member); text != "" {
			found[name] = text
		}
	}
	return found
}

func firstOf(v any, names ...string) any {
	for _, name := range names {
		if found := get(v, name); plain(found) != "" {
			return found
		}
	}
	return nil
}

func resolved(v any) bool {
	if is, _ := get(v, "resolved").(bool); is {
		return true
	}
	for _, member := range []string{"status", "state", "kind"} {
		if plain(get(v, member)) == "resolved" {
			return true
		}
	}
	return false
}
