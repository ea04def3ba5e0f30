package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	xdg "github.com/xdg-go/scram"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/scram"
)

// exchange is one conversation of a mechanism. step takes a token of the client
// and gives the answer; done says that the client is user. An error ends it; a
// refusal is what the client may read of it.
type exchange interface {
	step(token []byte) (answer []byte, done bool, err error)
	user() string
}

// refusal is an error of authentication whose text the client may read: it
// tells nothing about which users exist.
type refusal string

func (r refusal) Error() string { return string(r) }

// newExchange begins a conversation; the mechanism is one that is served.
func newExchange(mechanism string, s *security, b *broker.Broker) (exchange, error) {
	if mechanism == Plain {
		return &plainExchange{check: s.plainUser}, nil
	}
	return newScramExchange(mechanismOf(mechanism), s.seed, b.ScramUsers)
}

// plainExchange is RFC 4616: one token, [authzid] NUL authcid NUL passwd.
type plainExchange struct {
	check func(user, password string) bool
	name  string
}

const refusedPassword = refusal("Authentication failed: Invalid username or password")

func (p *plainExchange) step(token []byte) ([]byte, bool, error) {
	if !utf8.Valid(token) {
		return nil, false, errors.New("PLAIN token: not UTF-8")
	}
	parts := strings.Split(string(token), "\x00")
	if len(parts) != 3 {
		return nil, false, fmt.Errorf("PLAIN token: expected 3 parts, found %d", len(parts))
	}
	authorize, name, password := parts[0], parts[1], parts[2]
	p.name = name
	switch {
	case name == "":
		return nil, false, refusal("Authentication failed: username not specified")
	case password == "":
		return nil, false, refusal("Authentication failed: password not specified")
	case !p.check(name, password):
		return nil, false, refusedPassword
	case authorize != "" && authorize != name:
		return nil, false, refusal("Authentication failed: Client requested an authorization id that is different from username")
	}
	return []byte{}, true, nil
}

func (p *plainExchange) user() string { return p.name }

// scramExchange is RFC 5802 without channel binding: client-first, server-first,
// client-final, server-final.
type scramExchange struct {
	conversation *xdg.ServerConversation
}

func newScramExchange(m scram.Mechanism, seed []byte, users func() *scram.Users) (exchange, error) {
	generator := xdg.SHA256
	if m == scram.SHA512 {
		generator = xdg.SHA512
	}
	server, err := generator.NewServer(func(name string) (xdg.StoredCredentials, error) {
		c, ok := users().Lookup(name, m)
		if !ok {
			c = m.Imagined(seed, name)
		}
		return xdg.StoredCredentials{
			KeyFactors: xdg.KeyFactors{Salt: string(c.Salt), Iters: int(c.Iterations)},
			StoredKey:  c.StoredKey, ServerKey: c.ServerKey,
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return &scramExchange{server.NewConversation()}, nil
}

func (e *scramExchange) step(token []byte) ([]byte, bool, error) {
	answer, err := e.conversation.Step(string(token))
	if err != nil {
		return nil, false, fmt.Errorf("SCRAM: %w", err)
	}
	if a := e.conversation.AuthzID(); a != "" && a != e.conversation.Username() {
		return nil, false, refusal("Authentication failed: Client requested an authorization id that is different from username")
	}
	return []byte(answer), e.conversation.Done() && e.conversation.Valid(), nil
}

func (e *scramExchange) user() string { return e.conversation.Username() }
