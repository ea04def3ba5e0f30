package connectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const password = "correct-horse"

func TestASecretShowsItselfToNobodyButReveal(t *testing.T) {
	t.Setenv("MILLSTREAM_TEST_SECRET", password)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"env:MILLSTREAM_TEST_SECRET", "file:" + file, password, "literal:" + password} {
		s := NewSecret(text)
		if v, err := s.Reveal(); v != password || err != nil {
			t.Errorf("%s: Reveal is %q, %v", text, v, err)
		}
		var shown strings.Builder
		type config struct {
			Public Secret
			hidden Secret
			Ptr    *Secret
		}
		c := config{s, s, &s}
		slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "s", s, "c", c, "p", &c)
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "s", s, "c", c)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&shown, verb+verb+verb, s, c, &c)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(b)
		fmt.Fprint(&shown, errors.Join(fmt.Errorf("login with %v", s)), []Secret{s}, map[string]Secret{"a": s})
		if strings.Contains(shown.String(), password) || strings.Contains(shown.String(), fmt.Sprintf("%x", password)) {
			t.Errorf("%s is shown: %s", text, shown.String())
		}
	}
	var s Secret
	if err := s.UnmarshalText([]byte(password)); err != nil || s.IsZero() || !(Secret{}).IsZero() || (Secret{}).String() != "" {
		t.Errorf("unmarshaled: %v %v", s, err)
	}
}

func TestAMissingSecretIsNamedAndNotShown(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"env:MILLSTREAM_NO_SUCH_VARIABLE": "MILLSTREAM_NO_SUCH_VARIABLE", "file:" + empty: empty, "file:/no/such/file": "/no/such/file",
	} {
		if v, err := NewSecret(text).Reveal(); v != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; expected an error that names %s", text, v, err, want)
		}
	}
}

func TestErrorsAreSortedIntoThoseThatPassAndThoseThatDoNot(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}}
	for _, c := range []struct {
		err                  error
		transient, permanent bool
	}{
		{nil, false, false},
		{errors.New("x"), false, false},
		{refused, true, false},
		{context.DeadlineExceeded, true, false},
		{&net.OpError{Op: "listen", Err: syscall.EADDRINUSE}, false, false},
		{&net.DNSError{IsNotFound: true}, false, false},
		{&net.DNSError{IsTimeout: true}, true, false},
		{&fs.PathError{Op: "open", Err: fs.ErrNotExist}, false, false},
		{&fs.PathError{Op: "open", Err: syscall.EACCES}, false, false},
		{&RetryAfterError{Err: errors.New("x")}, true, false},
		{Permanent(refused), false, true},
		{Transient(errors.New("x")), true, false},
		{Transient(Permanent(errors.New("x"))), true, false},
		{Permanent(Transient(errors.New("x"))), false, true},
		{errors.Join(errors.New("a"), Permanent(errors.New("b"))), false, true},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("wrapped: %w", err)
		}
		if IsTransient(err) != c.transient || IsPermanent(err) != c.permanent {
			t.Errorf("%v: transient %v, permanent %v; expected %v, %v", err, IsTransient(err), IsPermanent(err), c.transient, c.permanent)
		}
	}
	if Permanent(nil) != nil || Transient(nil) != nil {
		t.Error("a mark of no error is an error")
	}
}
