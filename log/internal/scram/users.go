package scram

import (
	"fmt"
	"maps"
	"slices"
)

// Users is an immutable set of credentials by name and mechanism. The nil Users
// is empty. Any number of goroutines may use it.
type Users struct {
	byName map[string]map[Mechanism]Credential
}

// Entry is a credential with its user, as it is kept in a file.
type Entry struct {
	Name       string    `json:"name"`
	Mechanism  Mechanism `json:"mechanism"`
	Credential `json:"credential"`
}

// NewUsers makes the set of entries.
func NewUsers(entries []Entry) *Users {
	u := &Users{byName: map[string]map[Mechanism]Credential{}}
	for _, e := range entries {
		u.put(e.Name, e.Mechanism, e.Credential)
	}
	return u
}

func (u *Users) put(name string, m Mechanism, c Credential) {
	if u.byName[name] == nil {
		u.byName[name] = map[Mechanism]Credential{}
	}
	u.byName[name][m] = c
}

// Lookup finds a user's credential for a mechanism.
func (u *Users) Lookup(name string, m Mechanism) (Credential, bool) {
	if u == nil {
		return Credential{}, false
	}
	c, ok := u.byName[name][m]
	return c, ok
}

// Mechanisms gives the iterations of every credential of a user; empty: no such user.
func (u *Users) Mechanisms(name string) map[Mechanism]int32 {
	found := map[Mechanism]int32{}
	if u != nil {
		for m, c := range u.byName[name] {
			found[m] = c.Iterations
		}
	}
	return found
}

// Names of all users, sorted.
func (u *Users) Names() []string {
	if u == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(u.byName))
}

// Entries of all users, sorted by name and mechanism.
func (u *Users) Entries() []Entry {
	var all []Entry
	for _, name := range u.Names() {
		for _, m := range slices.Sorted(maps.Keys(u.byName[name])) {
			all = append(all, Entry{name, m, u.byName[name][m]})
		}
	}
	return all
}

// Deletion removes a user's credential for one mechanism.
type Deletion struct {
	Name      string
	Mechanism Mechanism
}

// Upsertion sets a user's credential for one mechanism.
type Upsertion struct {
	Name       string
	Mechanism  Mechanism
	Iterations int32
	Salt       []byte
	Salted     []byte // the salted password
}

// Alter gives the users after a request, and what became of each user named in
// it: nil, or why nothing of that user changed. A credential that is named
// twice changes nothing of its user (KIP-554); the two mechanisms of a user may
// be set in one request, as Kafka's documentation shows it.
func (u *Users) Alter(deletions []Deletion, upsertions []Upsertion) (*Users, map[string]error) {
	results := map[string]error{}
	seen := map[Deletion]bool{}
	note := func(what Deletion, err error) {
		if seen[what] {
			err = fmt.Errorf("%w: a user credential cannot be altered twice in the same request", ErrDuplicate)
		}
		seen[what] = true
		if results[what.Name] == nil {
			results[what.Name] = err
		}
	}
	for _, d := range deletions {
		note(d, u.checkDeletion(d))
	}
	for _, s := range upsertions {
		note(Deletion{s.Name, s.Mechanism}, s.check())
	}
	next := NewUsers(u.Entries())
	for _, d := range deletions {
		if results[d.Name] != nil {
			continue
		}
		delete(next.byName[d.Name], d.Mechanism)
		if len(next.byName[d.Name]) == 0 {
			delete(next.byName, d.Name)
		}
	}
	for _, s := range upsertions {
		if results[s.Name] == nil {
			next.put(s.Name, s.Mechanism, s.Mechanism.FromSalted(s.Salted, s.Salt, s.Iterations))
		}
	}
	return next, results
}

func (u *Users) checkDeletion(d Deletion) error {
	if err := checkName(d.Name, d.Mechanism); err != nil {
		return err
	}
	if _, ok := u.Lookup(d.Name, d.Mechanism); !ok {
		return fmt.Errorf("%w: attempt to delete a user credential that does not exist", ErrNotFound)
	}
	return nil
}

func (s Upsertion) check() error {
	if err := checkName(s.Name, s.Mechanism); err != nil {
		return err
	}
	switch {
	case s.Iterations < MinIterations:
		return fmt.Errorf("%w: too few iterations: %d, expected at least %d", ErrUnacceptable, s.Iterations, MinIterations)
	case s.Iterations > MaxIterations:
		return fmt.Errorf("%w: too many iterations: %d, expected at most %d", ErrUnacceptable, s.Iterations, MaxIterations)
	case len(s.Salt) == 0:
		return fmt.Errorf("%w: the salt is empty", ErrUnacceptable)
	case len(s.Salted) == 0:
		return fmt.Errorf("%w: the salted password is empty", ErrUnacceptable)
	}
	return nil
}

func checkName(name string, m Mechanism) error {
	if name == "" {
		return fmt.Errorf("%w: username must not be empty", ErrUnacceptable)
	}
	if !m.Known() {
		return fmt.Errorf("%w: %d, expected 1 (SCRAM-SHA-256) or 2 (SCRAM-SHA-512)", ErrUnknownMechanism, m)
	}
	return nil
}
