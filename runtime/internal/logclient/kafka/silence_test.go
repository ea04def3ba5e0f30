package kafka

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

func TestWhoDoesNotAnswerIsLeftAloneForAWhile(t *testing.T) {
	s := newSilence()
	began := time.UnixMilli(1)
	at := func(sec int) { s.now = func() time.Time { return began.Add(time.Duration(sec) * time.Second) } }
	at(0)
	if s.missed("a"); s.is("a") {
		t.Fatal("the only broker is left alone")
	}
	s.heardOf(2)
	for _, step := range []struct {
		sec    int
		event  func(string)
		silent bool
	}{
		{0, s.missed, true}, {4, nil, true}, {4, s.missed, true}, {5, nil, false}, // others that wait count as one
		{5, s.missed, true}, {14, nil, true}, {15, nil, false},
		{15, s.missed, true}, {16, s.spoke, false},
		{17, s.missed, true}, {22, nil, false},
	} {
		at(step.sec)
		if step.event != nil {
			step.event("a")
		}
		if s.is("a") != step.silent {
			t.Errorf("after %d s: silent %v, expected %v", step.sec, !step.silent, step.silent)
		}
		if s.is("b") {
			t.Error("another broker is left alone")
		}
	}
}

// Only a deadline that gave the broker time says that it is silent.
func TestAnInterruptedReadIsNoSilence(t *testing.T) {
	far, near := net.Pipe()
	defer far.Close()
	s := newSilence()
	s.heardOf(2)
	dial := s.dialer(func(context.Context, string, string) (net.Conn, error) { return near, nil })
	conn, err := dial(t.Context(), "tcp", "a")
	if err != nil {
		t.Fatal(err)
	}
	read := func() {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Fatal("something came")
		}
	}
	conn.SetReadDeadline(time.Now())
	if read(); s.is("a") {
		t.Error("a read that was interrupted counts as silence")
	}
	conn.SetReadDeadline(time.Now().Add(silencePatience + 50*time.Millisecond))
	if read(); !s.is("a") {
		t.Error("a read without an answer does not count as silence")
	}
	_, err = dial(t.Context(), "tcp", "a")
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" || op.Timeout() || !errors.Is(err, errSilent) || !moving(err) {
		t.Errorf("calling it: %v, expected an error of dialling after which others are asked", err)
	}
}
