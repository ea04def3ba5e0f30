package syslog

import (
	"errors"
	"testing"

	"github.com/millstream-io/millstream/streams/serde"
)

func TestMessageTakesLinesApart(t *testing.T) {
	tests := []struct {
		line, host, app, pid, text string
		severity, facility         int
	}{
		{"<38>Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user x", "LabSZ", "sshd", "24200", "Invalid user x", 6, 4},
		{"Dec 10 06:55:46 LabSZ sshd: Invalid user x", "LabSZ", "sshd", "", "Invalid user x", 5, 1},
		{"Dec 10 06:55:46 LabSZ last message repeated 2 times", "LabSZ", "", "", "last message repeated 2 times", 5, 1},
		{"2024-12-10T06:55:46.123456+01:00 LabSZ sshd[1]: x", "LabSZ", "sshd", "1", "x", 5, 1},
		{"<165>1 2003-10-11T22:14:15.003Z host app 12 ID47 - hello", "host", "app", "12", "hello", 5, 20},
		{"nonsense", "", "", "", "", 5, 1},
		{"<38>1 nonsense", "", "", "", "", 6, 4},
		{"", "", "", "", "", 5, 1},
	}
	for _, tt := range tests {
		m := NewMessage([]byte(tt.line))
		if m.Hostname() != tt.host || m.AppName() != tt.app || m.ProcID() != tt.pid || string(m.Text()) != tt.text ||
			m.Severity() != tt.severity || m.Facility() != tt.facility {
			t.Errorf("%q: host %q app %q pid %q text %q severity %d facility %d", tt.line,
				m.Hostname(), m.AppName(), m.ProcID(), m.Text(), m.Severity(), m.Facility())
		}
	}
}

func TestMessageTimestampIsTheOneInTheLine(t *testing.T) {
	at, ok := NewMessage([]byte("Dec 10 06:55:46 h p: x")).Timestamp()
	if !ok || at.Year() != 0 || at.Format("01-02 15:04:05") != "12-10 06:55:46" {
		t.Errorf("%v %v", at, ok)
	}
	if _, ok := NewMessage([]byte("nonsense")).Timestamp(); ok {
		t.Error("a line without a time has one")
	}
}

func TestSerdeIsFoundByTypeAndBorrows(t *testing.T) {
	s, err := serde.For[Message](nil)
	if err != nil {
		t.Fatal(err)
	}
	if serde.LifetimeOf(s) != serde.Borrowed || s.Aliases() {
		t.Error("messages must be borrowed")
	}
	line := []byte("Dec 10 06:55:46 h p: x")
	m, err := s.Decode(line)
	if err != nil {
		t.Fatal(err)
	}
	own, clone := s.Own(m), m.Clone()
	line[0] = 'X'
	if m.String()[0] != 'X' || own.String()[0] != 'D' || clone.String()[0] != 'D' {
		t.Error("Decode must borrow, Own and Clone must copy")
	}
	if b, err := s.Append([]byte("a"), NewMessage([]byte("b"))); err != nil || string(b) != "ab" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := s.Append(nil, Message{}); !errors.Is(err, serde.ErrNull) {
		t.Errorf("the zero message is null, got %v", err)
	}
}

func TestInternedNamesKeepTheirOwnBytes(t *testing.T) {
	b := []byte("host-a")
	s := intern(b)
	b[5] = 'b'
	if s != "host-a" || intern(b) != "host-b" || intern([]byte("host-a")) != "host-a" {
		t.Fatal("an interned name shares bytes with its line")
	}
}
