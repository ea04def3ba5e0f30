package scram

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// RFC 7677 section 3: user "user", password "pencil".
func TestTheCredentialProvesTheExampleOfRFC7677(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	c, err := SHA256.FromPassword("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	const auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	if got := base64.StdEncoding.EncodeToString(SHA256.mac(c.ServerKey, auth)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("server signature %s", got)
	}
	proof, _ := base64.StdEncoding.DecodeString("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	key := SHA256.mac(c.StoredKey, auth)
	for i := range key {
		key[i] ^= proof[i]
	}
	h := SHA256.hash()()
	h.Write(key)
	if string(h.Sum(nil)) != string(c.StoredKey) {
		t.Error("the example's proof does not fit the stored key")
	}
}

func TestACredentialShowsNothing(t *testing.T) {
	c, err := SHA512.FromPassword("pencil", []byte("salt"), MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(c); s != "credential" || strings.Contains(fmt.Sprintf("%v", &Entry{Name: "a", Credential: c}), "salt") {
		t.Errorf("printed as %s", s)
	}
	if len(c.StoredKey) != 64 || len(c.ServerKey) != 64 {
		t.Errorf("keys of %d and %d bytes", len(c.StoredKey), len(c.ServerKey))
	}
}

func TestAlteringUsers(t *testing.T) {
	set := func(name string, m Mechanism, iterations int32) Upsertion {
		return Upsertion{name, m, iterations, []byte("salt"), []byte("salted")}
	}
	users, results := (*Users)(nil).Alter(nil, []Upsertion{set("a", SHA256, 4096), set("b", SHA512, 16384)})
	if len(users.Entries()) != 2 || results["a"] != nil || results["b"] != nil {
		t.Fatalf("%v, %v", users.Entries(), results)
	}
	for _, c := range []struct {
		what  string
		del   []Deletion
		put   []Upsertion
		user  string
		want  error
		count int // credentials afterwards
	}{
		{"a second mechanism", nil, []Upsertion{set("a", SHA512, 8192)}, "a", nil, 3},
		{"a new password", nil, []Upsertion{set("a", SHA256, 8192)}, "a", nil, 2},
		{"a deletion", []Deletion{{"a", SHA256}}, nil, "a", nil, 1},
		{"of what is not there", []Deletion{{"a", SHA512}}, nil, "a", ErrNotFound, 2},
		{"no name", nil, []Upsertion{set("", SHA256, 4096)}, "", ErrUnacceptable, 2},
		{"too few iterations", nil, []Upsertion{set("c", SHA256, 4095)}, "c", ErrUnacceptable, 2},
		{"too many", nil, []Upsertion{set("c", SHA256, 16385)}, "c", ErrUnacceptable, 2},
		{"no salt", nil, []Upsertion{{"c", SHA256, 4096, nil, []byte("x")}}, "c", ErrUnacceptable, 2},
		{"no password", nil, []Upsertion{{"c", SHA256, 4096, []byte("x"), nil}}, "c", ErrUnacceptable, 2},
		{"an unknown mechanism", nil, []Upsertion{set("c", 3, 4096)}, "c", ErrUnknownMechanism, 2},
		{"one credential twice", []Deletion{{"a", SHA256}}, []Upsertion{set("a", SHA256, 4096)}, "a", ErrDuplicate, 2},
		{"both mechanisms of a user", []Deletion{{"a", SHA256}}, []Upsertion{set("a", SHA512, 4096)}, "a", nil, 2},
		{"both mechanisms, one of them wrong", nil, []Upsertion{set("c", SHA256, 1), set("c", SHA512, 4096)}, "c", ErrUnacceptable, 2},
		{"the other is altered all the same", []Deletion{{"a", SHA256}, {"a", SHA256}, {"b", SHA512}}, nil, "b", nil, 1},
	} {
		after, results := users.Alter(c.del, c.put)
		if err := results[c.user]; !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, expected %v", c.what, err, c.want)
		}
		if n := len(after.Entries()); n != c.count {
			t.Errorf("%s: %d credentials, expected %d", c.what, n, c.count)
		}
	}
	if len(users.Entries()) != 2 {
		t.Error("altering changed the users themselves")
	}
}

func TestImaginedCredentialsAreStable(t *testing.T) {
	a, b := SHA256.Imagined([]byte("seed"), "eve"), SHA256.Imagined([]byte("seed"), "eve")
	if string(a.Salt) != string(b.Salt) || len(a.StoredKey) != 32 {
		t.Errorf("%x and %x", a.Salt, b.Salt)
	}
	if other := SHA256.Imagined([]byte("seed"), "adam"); string(other.Salt) == string(a.Salt) {
		t.Error("two names have one salt")
	}
}
