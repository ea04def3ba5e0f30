package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// parts are what `make integration` runs of each suite; `make conformance` runs all.
var parts = map[string]part{
	"kafka-go": {timeout: 4 * time.Minute, run: []string{
		"^TestConn$", "^TestSASL$", "^TestUnsupportedSASLMechanism$", "^TestClientCreateTopics", "^TestClientDeleteTopics", "^TestClientProduceAndConsume|^TestClientProduce",
		"^TestClientFetch", "^TestClientListOffsets", "^TestClientDescribeGroups", "^TestClientCreateACLs", "^TestClientTxnOffsetCommit", "^TestWriter$", "^TestBatchQueue",
	}},
	"franz-go":       {timeout: 4 * time.Minute, records: 5000, run: []string{"^TestGroupETL$", "^TestTxnEtl$", "^TestSCRAMAuth", "^TestConsumeRegex$", "^TestPing$"}},
	"franz-go-chaos": {timeout: 4 * time.Minute, records: 2000, env: []string{"KGO_TEST_CHAOS=1"}, run: []string{"^TestTxnEtl$"}},
}

func TestIntegrationAPartOfEachSuitePasses(t *testing.T) {
	peers.NeedIntegration(t)
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			s.whole = parts[s.name]
			var out strings.Builder
			ok, err := s.against(t.Context(), "millstream", false, &out)
			if err != nil || !ok {
				t.Fatalf("%v\n%s", err, out.String())
			}
			t.Log(lastLine(out.String()))
		})
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func TestAPatternThatChoosesNoTestFails(t *testing.T) {
	r := judged(t, event{Action: "pass", Test: "TestA"}, event{Action: "pass", Package: "sasl", Test: "TestB"})
	for pattern, want := range map[string]bool{"^TestA$": true, "TestB": true, "TestC": false, "sasl": false} {
		if err := (goTest{run: []string{pattern}}).allPatternsMatch(r); (err == nil) != want {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
}

// judged gives the results of events as go test -json prints them.
func judged(t *testing.T, events ...event) *results {
	t.Helper()
	r := &results{verdict: map[string]string{}, output: map[string]*strings.Builder{}}
	for _, e := range events {
		r.add(e, io.Discard)
	}
	return r
}

func TestATestFailsTheSuiteUnlessItIsListed(t *testing.T) {
	s := suite{name: "kafka-go", exempt: "kafka-go.txt"}
	for name, want := range map[string]bool{
		"TestClientElectLeaders":       true,  // listed
		"TestConn":                     true,  // a sub-test of it is
		"TestConn/test_delete_topics":  true,  // listed
		"TestConn/write_batch":         false, // not listed
		"TestClientElectLeadersDeeply": false,
	} {
		ok, err := s.account(judged(t, event{Action: "fail", Test: name}, event{Action: "pass", Test: "TestOther"}), io.Discard)
		if err != nil || ok != want {
			t.Errorf("%s failed: the suite says %v (%v), want %v", name, ok, err, want)
		}
	}
}

func TestASuiteThatWasCutShortFails(t *testing.T) {
	r := judged(t, event{Action: "run", Test: "TestA"}, event{Action: "pass", Test: "TestA"}, event{Action: "run", Test: "TestB"})
	if r.settle(nil, ""); !strings.Contains(r.fault, "TestB") || strings.Contains(r.fault, "TestA") {
		t.Errorf("TestB has no verdict, and the fault is %q", r.fault)
	}
}

func TestEachListedTestHasAReason(t *testing.T) {
	for _, s := range suites {
		list, err := readExempt(s.exempt)
		if err != nil {
			t.Error(err)
		}
		for name, why := range list {
			if len(why) < 20 {
				t.Errorf("%s: %s: the reason %q says little", s.exempt, name, why)
			}
		}
	}
}
