package quota

import (
	"fmt"
	"maps"
	"slices"
)

// Settings are the quotas of all entities. They are immutable; the nil Settings
// have none. Any number of goroutines may use them.
type Settings struct {
	byKind [kinds]map[key]float64 // nil where no entity has a quota of that kind
}

// Entry is an entity with its quotas, by configuration key, as it is kept in a file.
type Entry struct {
	Entity Entity             `json:"entity"`
	Values map[string]float64 `json:"values"`
}

// NewSettings makes settings of entries; the first that is wrong is an error.
func NewSettings(entries []Entry) (*Settings, error) {
	s := new(Settings)
	for _, e := range entries {
		k, err := e.Entity.key()
		if err != nil {
			return nil, err
		}
		for config, value := range e.Values {
			kind, err := k.check(config, value)
			if err != nil {
				return nil, err
			}
			s.put(kind, k, value)
		}
	}
	return s, nil
}

func (s *Settings) put(kind Kind, k key, value float64) {
	if s.byKind[kind] == nil {
		s.byKind[kind] = map[key]float64{}
	}
	s.byKind[kind][k] = value
}

func (s *Settings) clone() *Settings {
	next := new(Settings)
	if s != nil {
		for kind, m := range s.byKind {
			next.byKind[kind] = maps.Clone(m)
		}
	}
	return next
}

// Entries lists all, in a stable order.
func (s *Settings) Entries() []Entry {
	if s == nil {
		return nil
	}
	byKey := map[key]map[string]float64{}
	for kind, m := range s.byKind {
		for k, value := range m {
			if byKey[k] == nil {
				byKey[k] = map[string]float64{}
			}
			byKey[k][Kind(kind).Key()] = value
		}
	}
	var all []Entry
	for _, k := range slices.SortedFunc(maps.Keys(byKey), compareKeys) {
		all = append(all, Entry{k.entity(), byKey[k]})
	}
	return all
}

// Op sets or removes one quota of an entity.
type Op struct {
	Key    string
	Value  float64
	Remove bool
}

// Alteration changes quotas of one entity.
type Alteration struct {
	Entity Entity
	Ops    []Op
}

// Alter gives the settings after the changes, and per change nil or why none
// of it was made. An entity that is there twice is changed once, by the first.
func (s *Settings) Alter(changes []Alteration) (*Settings, []error) {
	next, seen := s.clone(), map[key]bool{}
	errs := make([]error, len(changes))
	for i, c := range changes {
		k, err := c.Entity.key()
		if err == nil && seen[k] {
			err = fmt.Errorf("%w request: this entity is there twice", ErrInvalid)
		}
		seen[k] = true
		if err == nil {
			err = next.alter(k, c.Ops)
		}
		errs[i] = err
	}
	return next, errs
}

// alter checks all before it changes anything.
func (s *Settings) alter(k key, ops []Op) error {
	seen := map[string]bool{}
	for _, op := range ops {
		if seen[op.Key] {
			return fmt.Errorf("%w request: duplicate key %s", ErrInvalid, op.Key)
		}
		seen[op.Key] = true
		if op.Remove {
			op.Value = 1
		}
		if _, err := k.check(op.Key, op.Value); err != nil {
			return err
		}
	}
	for _, op := range ops {
		kind := Kind(slices.Index(keys[:], op.Key))
		if !op.Remove {
			s.put(kind, k, op.Value)
			continue
		}
		if delete(s.byKind[kind], k); len(s.byKind[kind]) == 0 {
			s.byKind[kind] = nil
		}
	}
	return nil
}

// Limit is the quota that applies to a client, and whose it is: all clients
// with the same Owner share it.
type Limit struct {
	Owner Owner
	Rate  float64 // units per second, as Kind says; 0: unlimited
}

// Owner shares a quota.
type Owner struct {
	Kind             Kind
	User, Client, IP string
}

// Limit finds the quota of a client: the most specific one that is set, in the
// order user and client id, user and any client id, user, any user and client
// id, any user and any client id, any user, client id, any client id.
func (s *Settings) Limit(kind Kind, user, client string) Limit {
	if s == nil || s.byKind[kind] == nil {
		return Limit{}
	}
	m := s.byKind[kind]
	u, c, any := name{named, user}, name{named, client}, name{kind: isDefault}
	both, onlyUser, onlyClient := Owner{Kind: kind, User: user, Client: client}, Owner{Kind: kind, User: user}, Owner{Kind: kind, Client: client}
	for _, l := range [...]struct {
		key
		Owner
	}{
		{key{user: u, client: c}, both}, {key{user: u, client: any}, both}, {key{user: u}, onlyUser},
		{key{user: any, client: c}, both}, {key{user: any, client: any}, both}, {key{user: any}, onlyUser},
		{key{client: c}, onlyClient}, {key{client: any}, onlyClient},
	} {
		if rate, ok := m[l.key]; ok {
			return Limit{l.Owner, rate}
		}
	}
	return Limit{}
}

// ConnectionLimit finds the quota of new connections from an IP address.
func (s *Settings) ConnectionLimit(ip string) Limit {
	if s == nil || s.byKind[ConnectionRate] == nil {
		return Limit{}
	}
	for _, n := range [...]name{{named, ip}, {kind: isDefault}} {
		if rate, ok := s.byKind[ConnectionRate][key{ip: n}]; ok {
			return Limit{Owner{Kind: ConnectionRate, IP: ip}, rate}
		}
	}
	return Limit{}
}

// Match is one component of a filter: entities that have the type with that
// name, with its default (Name nil), or with any of both.
type Match struct {
	Part
	AnyName bool
}

// Select lists the entries that have every component; strict: and no other.
func (s *Settings) Select(filter []Match, strict bool) ([]Entry, error) {
	if err := checkFilter(filter); err != nil {
		return nil, err
	}
	var found []Entry
	for _, e := range s.Entries() {
		if (!strict || len(e.Entity) == len(filter)) && e.Entity.has(filter) {
			found = append(found, e)
		}
	}
	return found, nil
}

func checkFilter(filter []Match) error {
	seen := map[string]bool{}
	for _, m := range filter {
		switch {
		case m.Type == "":
			return fmt.Errorf("%w filter: empty entity type", ErrInvalid)
		case m.Type != User && m.Type != ClientID && m.Type != IP:
			return fmt.Errorf("%w filter: %w %q", ErrInvalid, ErrUnknownType, m.Type)
		case seen[m.Type]:
			return fmt.Errorf("%w filter: entity type %s appears more than once", ErrInvalid, m.Type)
		}
		seen[m.Type] = true
	}
	if seen[IP] && len(seen) > 1 {
		return fmt.Errorf("%w filter: ip cannot be combined with user or client-id", ErrInvalid)
	}
	return nil
}

func (e Entity) has(filter []Match) bool {
	for _, m := range filter {
		at := slices.IndexFunc(e, func(p Part) bool { return p.Type == m.Type })
		if at < 0 {
			return false
		}
		if m.AnyName {
			continue
		}
		if p := e[at]; (p.Name == nil) != (m.Name == nil) || p.Name != nil && *p.Name != *m.Name {
			return false
		}
	}
	return true
}

// Has says whether any entity has a quota of the kind.
func (s *Settings) Has(kind Kind) bool { return s != nil && s.byKind[kind] != nil }
