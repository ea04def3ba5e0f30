package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millstream-io/millstream/log/broker"
)

// TestTheProgramPrintsWhatTheREADMESays runs the whole program.
func TestTheProgramPrintsWhatTheREADMESays(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(readme), "```text\n")
	want, _, ok := strings.Cut(want, "```")
	if !ok {
		t.Fatal("the README has no output")
	}
	var out bytes.Buffer
	if err := run(t.Context(), strings.NewReader(conversation), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("printed\n%s\nand the README says\n%s", out.String(), want)
	}
}

// heard is what a new reader reads.
func heard(t *testing.T, r *room) (said []string) {
	t.Helper()
	err := r.replay(t.Context(), func(m broker.Message) {
		said = append(said, fmt.Sprintf("%d %s %s", m.Offset, m.Key, m.Value))
	})
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// TestWhatWasSaidOutlivesCrashes says one message, crashes the log, opens it
// again, and so on: after each crash a new reader reads all that was said.
func TestWhatWasSaidOutlivesCrashes(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i, line := range slices.Collect(strings.Lines(strings.Repeat(conversation, 3))) {
		r, err := openRoom(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := heard(t, r); !slices.Equal(got, want) {
			t.Fatalf("after crash %d a new reader reads %q, expected %q", i, got, want)
		}
		user, words, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := r.say(t.Context(), user, words); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("%d %s %s", i, user, words))
		r.log.Abandon()
		r.users[user].Close() // its goroutine: the log is gone, so there is nothing to tell
	}
}

// TestAllReadersSeeOneOrder: users who speak at once are put in an order, which
// keeps that of each user and is the same for every reader.
func TestAllReadersSeeOneOrder(t *testing.T) {
	r, err := openRoom(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	const users, each = 4, 25
	var wg sync.WaitGroup
	for u := range users {
		p, err := r.log.NewProducer(broker.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		r.users[fmt.Sprint(u)] = p
	}
	for u := range users {
		wg.Go(func() {
			for i := range each {
				if err := r.say(t.Context(), fmt.Sprint(u), fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	first := heard(t, r)
	if second := heard(t, r); len(first) != users*each || !slices.Equal(first, second) {
		t.Errorf("one reader reads %q, another %q", first, second)
	}
	next := map[string]int{}
	for offset, line := range first {
		f := strings.Fields(line)
		if f[0] != fmt.Sprint(offset) || f[2] != fmt.Sprint(next[f[1]]) {
			t.Errorf("message %d is %q, expected number %d of the user", offset, line, next[f[1]])
		}
		next[f[1]]++
	}
}

func TestAnEmptyRoomIsReadToItsEnd(t *testing.T) {
	r, err := openRoom(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if got := heard(t, r); got != nil {
		t.Errorf("reads %q", got)
	}
}
