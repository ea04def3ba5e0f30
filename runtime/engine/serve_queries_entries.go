package engine

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
)

// entryJSON is an entry for everybody.
type entryJSON struct {
	Key         json.RawMessage `json:"key"`
	Window      *windowJSON     `json:"window,omitempty"`
	Value       json.RawMessage `json:"value"`
	TimestampMS int64           `json:"timestamp_ms"` // of the record that changed it last
}

type windowJSON struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"` // exclusive
}

// entryOf decodes an entry as a store keeps it.
func entryOf(v *StoreView, key, value []byte) (e entryJSON, err error) {
	if v.spec.Kind == state.Window {
		start, plain, err := splitKey(key)
		if err != nil {
			return e, err
		}
		e.Window = &windowJSON{time.UnixMilli(start).UTC(), time.UnixMilli(start + v.spec.SizeMS).UTC()}
		key = plain
	}
	at, encoded, err := splitValue(value)
	if err != nil {
		return e, err
	}
	e.TimestampMS = at
	// What does not decode is shown as bytes: the entry is there.
	e.Key = jsonOf(v.spec.KeyText, key)
	e.Value = jsonOf(v.spec.ValText, encoded)
	return e, nil
}

func jsonOf(s serde.Text, encoded []byte) json.RawMessage {
	if s == nil {
		s = serde.TextOf(serde.Bytes())
	}
	b, _ := s.AppendJSON(nil, encoded) // with an error, the bytes
	return b
}

// get answers for one key.
func (h *storesHandler) get(a *answer, r *http.Request) error {
	q, v, err := h.view(a, r)
	if err != nil {
		return err
	}
	known := []string{"key", "key_base64"}
	if v.spec.Kind == state.Window {
		known = append(known, "time")
	}
	values, err := params(r, known...)
	if err != nil {
		return err
	}
	plain, err := neededKey(values, v)
	if err != nil {
		return err
	}
	stored := plain
	if v.spec.Kind == state.Window {
		if values.Get("time") == "" {
			return badRequest("time is missing: the moment whose window is asked for, such as 2026-03-02T12:00:00Z; fetch gives several windows")
		}
		at, err := timeParam(values, "time", 0)
		if err != nil {
			return err
		}
		stored = state.AppendWindowKey(nil, v.windowOf(at), plain)
	}
	value, ok, err := v.lookUp(plain, stored)
	if err != nil {
		return err
	}
	if !ok {
		return &requestError{http.StatusNotFound, "no such key"}
	}
	e, err := entryOf(v, stored, value)
	if err != nil {
		return err
	}
	return a.json(struct {
		Store string `json:"store"`
		entryJSON
		Tasks []taskAnswer `json:"tasks"`
	}{v.spec.Called(), e, taskAnswers(q.Answers())})
}

func neededKey(values url.Values, v *StoreView) ([]byte, error) {
	b, err := keyParam(values, "key", v.spec.KeyText)
	if err == nil && b == nil {
		err = badRequest("key is missing: %s", expected(v.spec.KeyText))
	}
	return b, err
}

func expected(s serde.Text) string {
	if s == nil {
		return "give its bytes as key_base64"
	}
	return "expected " + s.Type()
}

// keys answers with a range of a key-value store.
func (h *storesHandler) keys(a *answer, r *http.Request) error {
	q, v, err := h.view(a, r)
	if err != nil {
		return err
	}
	if v.spec.Kind == state.Window {
		return badRequest("store %q has windows: ask for fetch?key=&from=&to=, or all?from=&to=", v.spec.Called())
	}
	values, err := params(r, "from", "from_base64", "to", "to_base64", "limit", "next")
	if err != nil {
		return err
	}
	var in span
	if in.from, err = keyParam(values, "from", v.spec.KeyText); err != nil {
		return err
	}
	if in.to, err = keyParam(values, "to", v.spec.KeyText); err != nil {
		return err
	}
	return h.entries(a, q, v, values, in)
}

// all answers with everything, of windows with those of a span of time.
func (h *storesHandler) all(a *answer, r *http.Request) error {
	q, v, err := h.view(a, r)
	if err != nil {
		return err
	}
	known := []string{"limit", "next"}
	if v.spec.Kind == state.Window {
		known = append(known, "from", "to")
	}
	values, err := params(r, known...)
	if err != nil {
		return err
	}
	var in span
	if v.spec.Kind == state.Window {
		if in, err = windowSpan(values, nil); err != nil {
			return err
		}
	}
	return h.entries(a, q, v, values, in)
}

// fetch answers with a key's windows.
func (h *storesHandler) fetch(a *answer, r *http.Request) error {
	q, v, err := h.view(a, r)
	if err != nil {
		return err
	}
	if v.spec.Kind != state.Window {
		return badRequest("store %q has no windows: ask for get?key=", v.spec.Called())
	}
	values, err := params(r, "key", "key_base64", "from", "to", "limit", "next")
	if err != nil {
		return err
	}
	plain, err := neededKey(values, v)
	if err != nil {
		return err
	}
	in, err := windowSpan(values, plain)
	if err != nil {
		return err
	}
	return h.entries(a, q, v, values, in)
}

func windowSpan(values url.Values, plain []byte) (span, error) {
	from, err := timeParam(values, "from", math.MinInt64)
	if err != nil {
		return span{}, err
	}
	to, err := timeParam(values, "to", math.MaxInt64)
	return windowsOf(plain, from, to), err
}

// entries streams the entries of a span as one JSON object. "tasks" comes after
// them, "next" if there are more, "error" if something broke off.
func (h *storesHandler) entries(a *answer, q *Query, v *StoreView, values url.Values, in span) error {
	limit, err := limitParam(values)
	if err != nil {
		return err
	}
	if in.first, in.after, err = nextParam(values, v); err != nil {
		return err
	}
	in.limit = limit + 1 // whether there are more
	open, _ := json.Marshal(v.spec.Called())
	a.Write(append(append([]byte(`{"store":`), open...), `,"entries":[`...))
	a.broken = func(err error) { endEntries(a, q, "", err) }
	n, next := uint64(0), ""
	var lastTask int32
	var last []byte
	err = v.scan(in, func(p int32, key, value []byte) (bool, error) {
		if n == limit {
			next = nextAfter(lastTask, last)
			return false, nil
		}
		e, err := entryOf(v, key, value)
		if err != nil {
			return false, err
		}
		b, err := json.Marshal(e)
		if err != nil {
			return false, err
		}
		if n > 0 {
			a.Write([]byte(",\n"))
		}
		_, err = a.Write(b)
		n++
		lastTask, last = p, append(last[:0], key...)
		return true, err
	})
	if err != nil {
		return err
	}
	endEntries(a, q, next, nil)
	return nil
}

func endEntries(a *answer, q *Query, next string, err error) {
	a.Write([]byte("]"))
	for _, f := range []struct {
		name  string
		on    bool
		value any
	}{
		{"next", next != "", next},
		{"error", err != nil, text(err)},
		{"tasks", true, taskAnswers(q.Answers())},
	} {
		if !f.on {
			continue
		}
		b, _ := json.Marshal(f.value) // strings and numbers
		a.Write(append([]byte(`,"`+f.name+`":`), b...))
	}
	a.Write([]byte("}\n"))
}

// nextAfter is where a next answer begins: after an entry of a task.
func nextAfter(partition int32, key []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(binary.AppendUvarint(nil, uint64(partition)), key...))
}

func nextParam(values url.Values, v *StoreView) (partition int32, after []byte, err error) {
	text := values.Get("next")
	if text == "" {
		return 0, nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	p, size := binary.Uvarint(b)
	if err != nil || size <= 0 || p >= uint64(v.tasks) {
		return 0, nil, badRequest("next: %q is not what an answer of this store gave", text)
	}
	return int32(p), b[size:], nil
}
