package engine

import (
	"net/http"
	"slices"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
)

// storesJSON is the answer to GET /stores.
type storesJSON struct {
	Application string      `json:"application"`
	Instance    string      `json:"instance,omitempty"` // of a cluster, that answers
	Phase       Phase       `json:"phase"`
	Stores      []storeJSON `json:"stores"`
}

type storeJSON struct {
	Name        string          `json:"name"`
	Kind        string          `json:"kind"` // "key-value" or "window"
	Key         serdeJSON       `json:"key"`
	Value       serdeJSON       `json:"value"`
	Windows     *windowsJSON    `json:"windows,omitempty"`
	SubTopology int             `json:"sub_topology"`
	Changelog   string          `json:"changelog,omitempty"` // its topic
	Tasks       []storeTaskJSON `json:"tasks"`
}

type serdeJSON struct {
	Type  string `json:"type"` // in Go
	Serde string `json:"serde"`
}

type windowsJSON struct {
	SizeMS      int64 `json:"size_ms"`
	AdvanceMS   int64 `json:"advance_ms"`
	GraceMS     int64 `json:"grace_ms"`
	RetentionMS int64 `json:"retention_ms"`
}

// storeTaskJSON is where one task runs.
type storeTaskJSON struct {
	ID       string   `json:"id"`
	State    string   `json:"state"`              // "here", "elsewhere", "restoring" (here), "nowhere" (for the moment)
	Instance string   `json:"instance,omitempty"` // of a cluster
	Endpoint string   `json:"endpoint,omitempty"` // where that instance answers
	Standbys []string `json:"standbys,omitempty"` // instances that keep a copy
}

func (h *storesHandler) list(a *answer, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	out := storesJSON{Application: h.e.plan.App, Instance: h.e.instance, Phase: h.e.phase(), Stores: []storeJSON{}}
	for i := range h.e.plan.Subs {
		for j := range h.e.plan.Subs[i].Stores {
			out.Stores = append(out.Stores, h.e.storeJSON(&h.e.plan.Subs[i], j))
		}
	}
	return a.json(out)
}

func (h *storesHandler) describe(a *answer, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	if _, err := viewStore(h.e.plan, r.PathValue("store")); err != nil {
		return err
	}
	sub, index, _ := h.e.plan.FindStore(r.PathValue("store"))
	return a.json(h.e.storeJSON(sub, index))
}

func (e *Engine) storeJSON(sub *plan.Sub, index int) storeJSON {
	spec := sub.Stores[index].Spec
	s := storeJSON{
		Name: spec.Called(), Kind: "key-value", Key: serdeOf(spec.KeyText), Value: serdeOf(spec.ValText),
		SubTopology: sub.ID, Changelog: sub.Stores[index].Changelog, Tasks: []storeTaskJSON{},
	}
	if spec.Kind == state.Window {
		s.Kind = "window"
		s.Windows = &windowsJSON{spec.SizeMS, spec.AdvanceMS, spec.GraceMS, spec.RetentionMS}
	}
	for p := range sub.Tasks {
		s.Tasks = append(s.Tasks, e.whereIs(plan.TaskID{Sub: sub.ID, Partition: p}))
	}
	return s
}

func serdeOf(s serde.Text) serdeJSON {
	if s == nil {
		return serdeJSON{"bytes", "unknown"}
	}
	return serdeJSON{s.Type(), s.Name()}
}

func (e *Engine) whereIs(id plan.TaskID) storeTaskJSON {
	t := storeTaskJSON{ID: id.String(), State: "nowhere"}
	e.mu.Lock()
	_, here := e.readers[id]
	e.mu.Unlock()
	owner, known := e.ownerOf(id)
	switch {
	case here:
		t.State, t.Instance, t.Endpoint = "here", e.instance, e.cfg.Advertise
	case !e.clustered() || (known && owner.Name == e.instance):
		t.State, t.Instance, t.Endpoint = "restoring", e.instance, e.cfg.Advertise
	case known:
		t.State, t.Instance, t.Endpoint = "elsewhere", owner.Name, owner.Endpoint
	}
	for _, in := range e.assigned().Instances {
		if slices.Contains(in.Standbys, e.unitOf(id)) {
			t.Standbys = append(t.Standbys, in.Name)
		}
	}
	return t
}
