package connectors

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Secret is a password, token or key that shows itself to nobody but Reveal.
// Printed, logged or marshaled, also as a field of something else, it is "***".
//
// Its text form says where the value is:
//
//	env:NAME       the environment variable NAME
//	file:PATH      the content of a file, without one line end at its end; read
//	               anew at each Reveal, so that it can be exchanged
//	literal:VALUE  VALUE, whatever it begins with
//	VALUE          VALUE itself
//
// The zero value is no secret. A Secret may be used from any goroutine.
type Secret struct {
	// text is a function because fmt, which cannot call methods of unexported
	// fields, would print what it finds in anything else.
	text func() string
}

// hidden is what everybody sees of a secret.
const hidden = "***"

// NewSecret makes a secret of its text form; an empty text is no secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{func() string { return text }}
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil }

// ErrEmptySecret: the variable or file that should hold a secret is missing or empty.
var ErrEmptySecret = errors.New("holds no secret")

// maxSecretBytes bounds what is read of a file.
const maxSecretBytes = 1 << 20

// Reveal gets the value. Its errors name the variable or file, never what is in it.
// The value of no secret is "".
func (s Secret) Reveal() (string, error) {
	if s.text == nil {
		return "", nil
	}
	text := s.text()
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		v := os.Getenv(name)
		if v == "" {
			return "", fmt.Errorf("environment variable %s %w: set it, or name another", name, ErrEmptySecret)
		}
		return v, nil
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		return revealFile(path)
	}
	v, _ := strings.CutPrefix(text, "literal:")
	return v, nil
}

func revealFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes))
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	v := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if v == "" {
		return "", fmt.Errorf("file %s %w: write it there, or name another", path, ErrEmptySecret)
	}
	return v, nil
}

// UnmarshalText takes the text form, as configuration files have it.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// String hides the secret, as all that follow do.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

func (s Secret) GoString() string             { return s.String() }
func (s Secret) Format(f fmt.State, _ rune)   { io.WriteString(f, s.String()) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
