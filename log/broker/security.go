package broker

import (
	"crypto/rand"
	"fmt"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/quota"
	"github.com/millstream-io/millstream/log/internal/scram"
)

// securitySection is what the metadata file holds of users, access control
// lists and quotas. docs/format/data-directory.md, "millstream.metadata".
type securitySection struct {
	ACLs   []acl.Binding `json:"acls,omitempty"`
	Users  []scram.Entry `json:"scram_users,omitempty"`
	Quotas []quota.Entry `json:"client_quotas,omitempty"`
}

// security is the section in the form that is asked at each request. It is
// immutable and replaced as a whole, after the file is on disk.
type security struct {
	acls   *acl.Set
	users  *scram.Users
	quotas *quota.Settings
}

func (s *securitySection) load() (*security, error) {
	if s == nil {
		s = new(securitySection)
	}
	for _, b := range s.ACLs {
		if err := b.Check(); err != nil {
			return nil, fmt.Errorf("%s: %v: %w", metadataFile, b, err)
		}
	}
	quotas, err := quota.NewSettings(s.Quotas)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", metadataFile, err)
	}
	return &security{acls: acl.NewSet(s.ACLs...), users: scram.NewUsers(s.Users), quotas: quotas}, nil
}

func (s *security) section() *securitySection {
	c := &securitySection{ACLs: s.acls.All(), Users: s.users.Entries(), Quotas: s.quotas.Entries()}
	if len(c.ACLs)+len(c.Users)+len(c.Quotas) == 0 {
		return nil
	}
	return c
}

// ACLs are the bindings in force. The broker keeps them and asks nobody: the
// protocol server does (wire.Authorization).
func (b *Broker) ACLs() *acl.Set { return b.security.Load().acls }

// ScramUsers are the users that can authenticate with SCRAM.
func (b *Broker) ScramUsers() *scram.Users { return b.security.Load().users }

// Quotas are the client quotas in force.
func (b *Broker) Quotas() *quota.Settings { return b.security.Load().quotas }

// CreateACLs adds bindings that the caller has checked; those that are there
// already change nothing. All are on disk when it returns nil; else none is in force.
func (b *Broker) CreateACLs(bindings []acl.Binding) error {
	return b.changeSecurity(func(s *security) { s.acls = s.acls.With(bindings...) })
}

// DeleteACLs removes what the filters select and gives, per filter, the
// bindings that it selected.
func (b *Broker) DeleteACLs(filters []acl.Filter) (removed [][]acl.Binding, err error) {
	err = b.changeSecurity(func(s *security) {
		for _, f := range filters {
			removed = append(removed, s.acls.Matching(f))
		}
		for _, f := range filters {
			s.acls = s.acls.Without(f.Matches)
		}
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// AlterScramUsers removes and sets credentials. Per user it gives nil or why
// nothing of that user changed (scram's sentinels); err is about the disk.
func (b *Broker) AlterScramUsers(deletions []scram.Deletion, upsertions []scram.Upsertion) (results map[string]error, err error) {
	err = b.changeSecurity(func(s *security) { s.users, results = s.users.Alter(deletions, upsertions) })
	return results, err
}

// AlterQuotas changes client quotas. Per change it gives nil or why it was not
// made (quota's sentinels); err is about the disk.
func (b *Broker) AlterQuotas(changes []quota.Alteration) (results []error, err error) {
	err = b.changeSecurity(func(s *security) { s.quotas, results = s.quotas.Alter(changes) })
	return results, err
}

// ScramUser is a user with its password, of which only a proof is kept.
type ScramUser struct {
	Name, Password string
	Mechanism      string // SCRAM-SHA-512 (the default) or SCRAM-SHA-256
}

// AddFirstScramUsers makes users where there is no SCRAM user yet, so that
// somebody can make the others; otherwise it does nothing and says false.
func (b *Broker) AddFirstScramUsers(users ...ScramUser) (added bool, err error) {
	if len(b.ScramUsers().Names()) > 0 || len(users) == 0 {
		return false, nil
	}
	var entries []scram.Entry
	for _, u := range users {
		e, err := u.entry()
		if err != nil {
			return false, err
		}
		entries = append(entries, e)
	}
	err = b.changeSecurity(func(s *security) {
		if added = len(s.users.Names()) == 0; added {
			s.users = scram.NewUsers(entries)
		}
	})
	return added && err == nil, err
}

func (u ScramUser) entry() (scram.Entry, error) {
	m := scram.SHA512
	switch {
	case u.Name == "":
		return scram.Entry{}, fmt.Errorf("broker: a SCRAM user without a name")
	case u.Password == "":
		return scram.Entry{}, fmt.Errorf("broker: SCRAM user %s has no password", u.Name)
	case u.Mechanism == scram.SHA256.String():
		m = scram.SHA256
	case u.Mechanism != "" && u.Mechanism != scram.SHA512.String():
		return scram.Entry{}, fmt.Errorf("broker: SCRAM user %s: mechanism %q, expected SCRAM-SHA-256 or SCRAM-SHA-512", u.Name, u.Mechanism)
	}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return scram.Entry{}, fmt.Errorf("broker: a salt for SCRAM user %s: %w", u.Name, err)
	}
	c, err := m.FromPassword(u.Password, salt, firstUserIterations)
	return scram.Entry{Name: u.Name, Mechanism: m, Credential: c}, err
}

// firstUserIterations of a password that a person may have chosen; the bound of Kafka's tools.
const firstUserIterations = scram.MaxIterations

// changeSecurity writes what change makes of the present state and then puts it in force.
func (b *Broker) changeSecurity(change func(*security)) error {
	if err := b.alive(); err != nil {
		return err
	}
	b.metaMu.Lock()
	defer b.metaMu.Unlock()
	next := *b.security.Load()
	change(&next)
	m := *b.meta
	m.Security = next.section()
	if err := b.writeMeta(&m); err != nil {
		return err
	}
	b.security.Store(&next)
	return nil
}

// loadSecurity puts what the metadata file says in force.
func (b *Broker) loadSecurity() error {
	s, err := b.meta.Security.load()
	if err != nil {
		return err
	}
	b.security.Store(s)
	return nil
}
