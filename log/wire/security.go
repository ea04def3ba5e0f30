package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/scram"
)

// SASL mechanisms that a Listener may name.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// Security of a server: how users prove who they are, and what they may do.
// What a listener asks for is in Listener.TLS and Listener.SASL. SCRAM users,
// access control lists and quotas are the broker's, set by Kafka's admin calls.
type Security struct {
	// Authorization turns access control lists on; nil: everybody who may connect
	// may do everything.
	Authorization *Authorization

	// PlainPassword finds the password of a user of PLAIN; false: no such user. It
	// is called at each authentication, so that passwords can be exchanged.
	PlainPassword func(user string) (password string, ok bool)
	// FirstUsers are SCRAM users that New makes where the broker has none yet, so
	// that somebody can make the others.
	FirstUsers []broker.ScramUser

	// MaxReauth closes a connection that has not authenticated anew for so long
	// (connections.max.reauth.ms, KIP-368); 0: never.
	MaxReauth time.Duration
	// FailureDelay is how long the answer to a failed authentication, and the
	// closing that follows, are put off (connection.failed.authentication.delay.ms);
	// 100 ms, negative: not at all.
	FailureDelay time.Duration

	// PrincipalRules make a principal of a client certificate's subject
	// (ssl.principal.mapping.rules); DEFAULT, the distinguished name as it is.
	PrincipalRules string
}

// security is what a server made of Config.Security.
type security struct {
	Security
	rules principalRules
	seed  []byte // of what is answered for SCRAM users that do not exist
}

// validate fills the defaults in and reports every problem at once.
func (s *Security) validate(listeners []Listener) error {
	var errs []error
	for _, l := range listeners {
		for _, m := range l.SASL {
			switch {
			case !slices.Contains([]string{Plain, ScramSHA256, ScramSHA512}, m):
				errs = append(errs, fmt.Errorf("listener %s: SASL mechanism %q, expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", l.Addr, m))
			case m == Plain && s.PlainPassword == nil:
				errs = append(errs, fmt.Errorf("listener %s: PLAIN needs users: set Security.PlainPassword", l.Addr))
			}
		}
	}
	if _, err := parsePrincipalRules(s.PrincipalRules); err != nil {
		errs = append(errs, err)
	}
	if a := s.Authorization; a != nil {
		for _, u := range a.SuperUsers {
			if kind, name, ok := strings.Cut(u, ":"); !ok || kind == "" || name == "" {
				errs = append(errs, fmt.Errorf("super user %q: expected Type:Name such as User:admin", u))
			}
		}
	}
	if s.MaxReauth < 0 {
		errs = append(errs, fmt.Errorf("MaxReauth is %v, expected 0 (never) or more", s.MaxReauth))
	}
	if s.FailureDelay == 0 {
		s.FailureDelay = 100 * time.Millisecond
	}
	return errors.Join(errs...)
}

// secure sets up what Config.Security says.
func (s *Server) secure() error {
	rules, err := parsePrincipalRules(s.cfg.Security.PrincipalRules)
	if err != nil {
		return err
	}
	s.security = &security{Security: s.cfg.Security, rules: rules, seed: make([]byte, 32)}
	if _, err := rand.Read(s.security.seed); err != nil {
		return fmt.Errorf("wire: random bytes: %w", err)
	}
	if a := s.cfg.Security.Authorization; a != nil {
		super := map[string]bool{}
		for _, u := range a.SuperUsers {
			super[u] = true
		}
		s.authorizer = &authorizer{rules: acl.Rules{SuperUsers: super, AllowIfNoneFound: a.AllowIfNoACL}, bindings: s.b.ACLs}
	}
	added, err := s.b.AddFirstScramUsers(s.cfg.Security.FirstUsers...)
	if err != nil {
		return err
	}
	if added {
		for _, u := range s.cfg.Security.FirstUsers {
			s.cfg.Logger.Info("made the first SCRAM user", "user", u.Name)
		}
	}
	return nil
}

// plainUser says whether the password is the user's, in a time that does not
// tell how much of it was right.
func (s *security) plainUser(user, password string) bool {
	want, ok := s.PlainPassword(user)
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && ok && want != ""
}

// mechanismOf is the number of a SCRAM mechanism; Unknown for others.
func mechanismOf(name string) scram.Mechanism {
	switch name {
	case ScramSHA256:
		return scram.SHA256
	case ScramSHA512:
		return scram.SHA512
	}
	return scram.Unknown
}
