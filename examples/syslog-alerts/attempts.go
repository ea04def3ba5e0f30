package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/streams/serde"
)

// Attempts is the state of one key in one window: how many lines matched, and
// the first users and addresses that they name.
//
// Invariant: Users and Addresses hold at most maxNames names each.
type Attempts struct {
	Count     int64
	Users     []string
	Addresses []string
}

// maxNames bounds the state of one window, whatever is thrown at it.
const maxNames = 6

func newAttempts() Attempts { return Attempts{} }

// addAttempt counts a line.
func addAttempt(_ string, m syslog.Message, a Attempts) Attempts {
	a.Count++
	line := m.Raw()
	a.Users = addName(a.Users, userOf(line))
	a.Addresses = addName(a.Addresses, sourceOf(line))
	return a
}

func addName(names []string, name []byte) []string {
	if len(name) == 0 || len(names) >= maxNames {
		return names
	}
	for _, n := range names {
		if n == string(name) {
			return names
		}
	}
	return append(names, string(name))
}

var from, user = []byte(" from "), []byte(" user ")

// sourceOf is the word after the last " from ", nil if there is none.
func sourceOf(line []byte) []byte {
	i := bytes.LastIndex(line, from)
	if i < 0 {
		return nil
	}
	return word(line[i+len(from):])
}

// userOf is the word after the last " user " before the source, nil if there is none.
func userOf(line []byte) []byte {
	if i := bytes.LastIndex(line, from); i >= 0 {
		line = line[:i]
	}
	i := bytes.LastIndex(line, user)
	if i < 0 {
		return nil
	}
	return word(line[i+len(user):])
}

// word is the first word of b.
func word(b []byte) []byte {
	b = bytes.TrimLeft(b, " \t")
	if i := bytes.IndexAny(b, " \t\r\n"); i >= 0 {
		b = b[:i]
	}
	return b
}

// Serde is the state's encoding: count, then both lists, each as a number of
// names and the names with their lengths; numbers are varints.
func (Attempts) Serde() serde.Serde[Attempts] { return attemptsSerde{} }

type attemptsSerde struct{}

var errAttempts = errors.New("attempts: the value is cut or damaged")

func (attemptsSerde) Append(dst []byte, a Attempts) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(a.Count))
	for _, names := range [][]string{a.Users, a.Addresses} {
		dst = binary.AppendUvarint(dst, uint64(len(names)))
		for _, n := range names {
			dst = append(binary.AppendUvarint(dst, uint64(len(n))), n...)
		}
	}
	return dst, nil
}

func (attemptsSerde) Decode(b []byte) (Attempts, error) {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return Attempts{}, errAttempts
	}
	a := Attempts{Count: int64(count)}
	b = b[n:]
	for _, names := range []*[]string{&a.Users, &a.Addresses} {
		var ok bool
		if *names, b, ok = decodeNames(b); !ok {
			return Attempts{}, errAttempts
		}
	}
	if len(b) > 0 {
		return Attempts{}, errAttempts
	}
	return a, nil
}

func decodeNames(b []byte) (names []string, rest []byte, ok bool) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > maxNames {
		return nil, nil, false
	}
	b = b[n:]
	for range count {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, nil, false
		}
		names = append(names, string(b[n:n+int(size)]))
		b = b[n+int(size):]
	}
	return names, b, true
}

func (attemptsSerde) Aliases() bool            { return false }
func (attemptsSerde) Lifetime() serde.Lifetime { return serde.Safe }
func (attemptsSerde) Name() string             { return "attempts" }
func (attemptsSerde) Own(a Attempts) Attempts {
	a.Users, a.Addresses = slices.Clone(a.Users), slices.Clone(a.Addresses)
	return a
}
