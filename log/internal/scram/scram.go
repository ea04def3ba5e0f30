// Package scram holds the credentials of users that authenticate with
// SCRAM-SHA-256 or SCRAM-SHA-512 (RFC 5802, RFC 7677): how they are derived,
// checked and altered. It is pure: no clock, no disk, no network. The
// conversation itself is the protocol server's, by a library.
//
// A credential proves a password without holding it: neither the password nor
// the salted password, which would do for logging in, is ever kept.
package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"

	"github.com/xdg-go/stringprep"
)

// Mechanism is numbered as in Kafka's protocol.
type Mechanism int8

// The mechanisms.
const (
	Unknown Mechanism = iota
	SHA256
	SHA512
	endOfMechanisms
)

// Bounds of the iteration count, Kafka's.
const (
	MinIterations = 4096
	MaxIterations = 16384
)

func (m Mechanism) String() string {
	switch m {
	case SHA256:
		return "SCRAM-SHA-256"
	case SHA512:
		return "SCRAM-SHA-512"
	}
	return fmt.Sprintf("UNKNOWN(%d)", int8(m))
}

// Known is true for the two mechanisms.
func (m Mechanism) Known() bool { return m > Unknown && m < endOfMechanisms }

func (m Mechanism) hash() func() hash.Hash {
	if m == SHA512 {
		return sha512.New
	}
	return sha256.New
}

// size of the mechanism's hash in bytes.
func (m Mechanism) size() int {
	if m == SHA512 {
		return sha512.Size
	}
	return sha256.Size
}

// Credential is what a server keeps of a user's password.
//
// Invariant: StoredKey and ServerKey have the length of the mechanism's hash.
type Credential struct {
	Salt       []byte `json:"salt"`
	StoredKey  []byte `json:"stored_key"`
	ServerKey  []byte `json:"server_key"`
	Iterations int32  `json:"iterations"`
}

// String tells nothing: credentials do not belong into logs.
func (Credential) String() string { return "credential" }

// FromSalted derives the credential from the salted password that an admin
// client sends.
func (m Mechanism) FromSalted(salted, salt []byte, iterations int32) Credential {
	clientKey := m.mac(salted, "Client Key")
	stored := m.hash()()
	stored.Write(clientKey)
	return Credential{Salt: salt, StoredKey: stored.Sum(nil), ServerKey: m.mac(salted, "Server Key"), Iterations: iterations}
}

// FromPassword derives the credential from a password, prepared by SASLprep
// (RFC 4013) where it has characters that this maps.
func (m Mechanism) FromPassword(password string, salt []byte, iterations int32) (Credential, error) {
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil {
		password = prepared
	}
	salted, err := pbkdf2.Key(m.hash(), password, salt, int(iterations), m.size())
	if err != nil {
		return Credential{}, fmt.Errorf("scram: deriving a credential: %w", err)
	}
	return m.FromSalted(salted, salt, iterations), nil
}

// Imagined is the credential to answer with where no such user exists: the same
// for the same name as long as seed is, never matched by a password, so that a
// caller cannot tell which names exist.
func (m Mechanism) Imagined(seed []byte, name string) Credential {
	return Credential{
		Salt: m.mac(seed, "salt of "+name)[:16], Iterations: MinIterations,
		StoredKey: m.mac(seed, "stored key of "+name), ServerKey: m.mac(seed, "server key of "+name),
	}
}

func (m Mechanism) mac(key []byte, text string) []byte {
	h := hmac.New(m.hash(), key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// Errors of altering users.
var (
	// ErrUnacceptable: an empty name, or iterations out of bounds.
	ErrUnacceptable = errors.New("scram: unacceptable credential")
	// ErrUnknownMechanism: neither SCRAM-SHA-256 nor SCRAM-SHA-512.
	ErrUnknownMechanism = errors.New("scram: unknown mechanism")
	// ErrNotFound: no such credential.
	ErrNotFound = errors.New("scram: no such user credential")
	// ErrDuplicate: the same user twice in one request.
	ErrDuplicate = errors.New("scram: a user twice in one request")
)
