package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// told is a counts that was told of tests of package p: "pass TestA", "fail TestB/x".
func told(events ...string) *counts {
	var c counts
	for _, e := range events {
		action, test, _ := strings.Cut(e, " ")
		c.add(event{Action: "output", Package: "p", Test: test, Output: "words of " + test + "\n"})
		c.add(event{Action: action, Package: "p", Test: test})
	}
	return &c
}

func TestATestThatPassesAtItsSecondTryIsCountedAndTold(t *testing.T) {
	c := told("pass TestA", "pass TestB/x", "fail TestB/y", "fail TestB", "skip TestC")
	if again := c.again(); len(again) != 1 || again[0] != (top{"p", "TestB"}) {
		t.Fatalf("%v run again, expected TestB", again)
	}
	c.secondTry(top{"p", "TestB"}, told("pass TestB/x", "pass TestB/y", "pass TestB"))
	if s := c.sum(); s.passed != 4 || s.failed != 0 || s.skipped != 1 {
		t.Errorf("%+v, expected 4 passed, none failed, one skipped", s)
	}
	var out bytes.Buffer
	c.tellFailures(&out)
	if s := out.String(); !strings.Contains(s, "AGAIN p TestB failed, and passed") || !strings.Contains(s, "words of TestB/y") {
		t.Errorf("it tells %q", s)
	}
}

func TestATestThatFailsTwiceFails(t *testing.T) {
	for name, second := range map[string]*counts{
		"fails":       told("pass TestB/x", "fail TestB/y", "fail TestB"),
		"partly":      told("fail TestB/x", "pass TestB/y", "fail TestB"),
		"never began": told(),
		"died":        {faults: []string{"it died"}},
	} {
		c := told("pass TestA", "pass TestB/x", "fail TestB/y", "fail TestB")
		c.secondTry(top{"p", "TestB"}, second)
		if s := c.sum(); s.passed != 2 || s.failed != 2 {
			t.Errorf("%s: %+v, expected what the first try said", name, s)
		}
	}
}

func TestManyFailuresAndFaultsHaveNoSecondTry(t *testing.T) {
	if again := told("fail TestA", "fail TestB", "fail TestC", "fail TestD").again(); again != nil {
		t.Errorf("of four failures %v run again", again)
	}
	c := told("fail TestA")
	c.fault("run the tests of p", errors.New("exit status 2"))
	if again := c.again(); again != nil {
		t.Errorf("beside a fault %v run again", again)
	}
	if c.sum().failed != 2 {
		t.Errorf("a fault counts as no failure: %+v", c.sum())
	}
}
