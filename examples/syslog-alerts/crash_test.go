package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/record"
)

func dial(network, addr string) (net.Conn, error) { return net.DialTimeout(network, addr, patience) }

// A sender of numbered lines that does what syslog over TCP lets an honest one
// do: it asks the service's /metrics how many lines are committed, and sends
// again after a crash what is not known to be. As the lines of one connection
// keep their order, and nobody else sends, the first n that went to a process
// are committed once that process says n.

// sendUntilAcknowledged is the life of the sending process. args are the number
// of lines and the time of the first one; each line of stdin says where a new
// service listens and which line is the last it shall get ("TCP HTTP N"); stdout gets the numbers of lines sent and
// acknowledged, again and again.
func sendUntilAcknowledged(stdin io.Reader, stdout io.Writer, args []string) int {
	total, err1 := strconv.Atoi(args[0])
	first, err2 := time.Parse(time.RFC3339, args[1])
	if err1 != nil || err2 != nil {
		return 2
	}
	acked := 0
	for services := bufio.NewScanner(stdin); acked < total && services.Scan(); {
		var tcp, http string
		last := 0
		fmt.Sscan(services.Text(), &tcp, &http, &last)
		acked = sendTo(tcp, http, first, acked, last, total, func(sent, acked int) { fmt.Fprintln(stdout, sent, acked) })
	}
	return 0
}

// mostUnacknowledged lines are on their way at a time.
const mostUnacknowledged = 400

// askEvery is the time between two questions, about half a commit interval: what
// is committed is not known at once, so that kills find lines in between.
const askEvery = 50 * time.Millisecond

// sendTo sends to one service until all is acknowledged or the service is gone.
func sendTo(tcp, http string, first time.Time, acked, last, total int, tell func(sent, acked int)) int {
	conn, err := dial("tcp", tcp)
	if err != nil {
		return acked
	}
	defer conn.Close()
	before, sent := acked, acked
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for ; acked < total; <-tick.C {
		var batch strings.Builder
		for upTo := min(last, acked+mostUnacknowledged, sent+200); sent < upTo; sent++ {
			fmt.Fprintln(&batch, numberedLine(first, sent))
		}
		if _, err := io.WriteString(conn, batch.String()); err != nil {
			return acked
		}
		tell(sent, acked)
		code, body, err := fetch("http://" + http + "/metrics")
		if err != nil || code != 200 {
			return acked
		}
		if n := before + committedLines(body); n > acked {
			acked = n
			tell(sent, acked)
		}
	}
	return acked
}

const (
	crashWindow    = time.Second
	crashThreshold = 6
	crashHosts     = 5
)

// numberedLine is the i-th line: 20 ms after the one before, every second one
// matches, so that a host has ten lines in a window and about five that count.
func numberedLine(first time.Time, i int) string {
	at := first.Add(time.Duration(i) * 20 * time.Millisecond).Format("2006-01-02T15:04:05.000Z")
	text := fmt.Sprintf("Invalid user u%d from 192.0.2.%d", i%7, i%9)
	if uint32(i)*2654435761>>16%2 == 0 { // as good as tossing a coin
		text = "session opened"
	}
	return fmt.Sprintf("<38>1 %s host-%d sshd - - - #%d %s", at, i%crashHosts, i, text)
}

// breach names one alert.
type breach struct {
	start time.Time
	key   string
}

// foldLines says what a topic of lines must have led to: every breach, and which
// lines are there. It reads the lines' text and uses nothing of the program.
func foldLines(t *testing.T, lines []string) (breaches map[breach]bool, numbers map[int]int) {
	t.Helper()
	shape := regexp.MustCompile(`^<38>1 (\S+) (\S+) sshd - - - #(\d+) (.*)$`)
	counts, breaches, numbers := map[breach]int{}, map[breach]bool{}, map[int]int{}
	for _, line := range lines {
		m := shape.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("the log holds the line %q", line)
		}
		n, _ := strconv.Atoi(m[3])
		numbers[n]++
		at, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(m[4], "Invalid user") {
			continue
		}
		b := breach{at.Truncate(crashWindow).UTC(), m[2]}
		if counts[b]++; counts[b] == crashThreshold {
			breaches[b] = true
		}
	}
	return breaches, numbers
}

// readTopic returns the values of a topic of a service that has ended.
func readTopic(t *testing.T, dir, topic string) (values []string) {
	t.Helper()
	r, err := openResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if _, err := r.each(topic, nil, func(v *record.View) error { values = append(values, string(v.Value)); return nil }); err != nil {
		t.Fatal(err)
	}
	return values
}

func TestAcknowledgedLinesSurviveKills(t *testing.T) { crash(t, 2, 2000, 4) }

func TestIntegrationAcknowledgedLinesSurviveTenKills(t *testing.T) {
	peers.NeedIntegration(t)
	crash(t, 10, 10_000, 4)
}

func TestTortureAcknowledgedLinesSurviveFiftyKills(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	crash(t, 50, 50_000, 16)
}

// crash sends lines from another process, kills the service with -9 again and
// again in between, and compares the log, what was printed and what a
// misbehaving webhook got with what was acknowledged.
func crash(t *testing.T, kills, total, uncommitted int) {
	dir := t.TempDir()
	first := time.Now().UTC().Truncate(time.Minute)
	hook := newReceiver(t)
	args := []string{"-webhook", hook.url, "-webhook-timeout", "300ms", "-webhook-uncommitted", fmt.Sprint(uncommitted), "-tcp", "127.0.0.1:0", "-http", "127.0.0.1:0", "-dir", dir, "-o", "json",
		"-window", crashWindow.String(), "-threshold", fmt.Sprint(crashThreshold), "-grace", "1h"}
	sender := startProcess(t, "sender", fmt.Sprint(total), first.Format(time.RFC3339))
	progress := func(lines []string) (sent, acked int) {
		if len(lines) > 0 {
			fmt.Sscan(lines[len(lines)-1], &sent, &acked)
		}
		return sent, acked
	}
	rng := rand.New(rand.NewPCG(uint64(kills), 7))
	printed := map[breach]int{}
	var s *service
	for life := range kills + 1 {
		s = startService(t, args...)
		if life == kills {
			fmt.Fprintln(sender.stdin, s.tcp, s.http, total)
			break
		}
		share := total * 9 / 10 / kills // of the lines, for this life
		fmt.Fprintln(sender.stdin, s.tcp, s.http, share*(life+1))
		until := share*life + 1 + rng.IntN(share*3/4)
		sender.out.await(t, fmt.Sprintf("%d lines sent in life %d", until, life+1), func(lines []string) bool {
			sent, acked := progress(lines)
			return sent >= until && acked > 0
		})
		<-time.After(time.Duration(rng.IntN(150)) * time.Millisecond) // at any moment, not only at those of the sender
		s.kill()
		collect(t, printed, s.out)
	}
	sender.out.await(t, "all lines acknowledged", func(lines []string) bool { _, acked := progress(lines); return acked == total })
	if code := sender.wait(); code != 0 {
		t.Fatalf("the sender: exit code %d", code)
	}
	hook.behaves.Store(true)
	s.stop(t)
	collect(t, printed, s.out)
	if !strings.Contains(s.err.String(), " 0 bad, 0 late, ") {
		t.Errorf("the summary: %s", s.err)
	}
	verifyLog(t, dir)

	want, numbers := foldLines(t, readTopic(t, dir, syslogTopic))
	missing := 0
	for i := range total {
		if numbers[i] == 0 {
			missing++
		}
	}
	twice := 0
	for _, n := range numbers {
		twice += n - 1
	}
	if missing > 0 || len(want) < total/200 {
		t.Errorf("%d of %d acknowledged lines are not in the log, %d breaches", missing, total, len(want))
	}
	if twice > kills*mostUnacknowledged {
		t.Errorf("%d lines were sent again, more than %d kills x %d unacknowledged ones", twice, kills, mostUnacknowledged)
	}
	once := map[breach]int{}
	alerts := readTopic(t, dir, alertsTopic)
	for _, v := range alerts {
		once[breachOf(t, v)]++
	}
	for b := range want {
		if once[b] != 1 || printed[b] < 1 {
			t.Errorf("the breach of %s at %s is %d times in the log and printed %d times; want once, and at least once", b.key, b.start, once[b], printed[b])
		}
	}
	if len(once) != len(want) || len(printed) != len(want) {
		t.Errorf("%d breaches in the log, %d printed, want %d", len(once), len(printed), len(want))
	}
	hook.wantEach(t, alerts, kills, uncommitted)
	t.Logf("%d kills: %d lines, all acknowledged, %d of them sent again; %d breaches, each in the log once", kills, total, twice, len(want))
}

func breachOf(t *testing.T, text string) breach {
	t.Helper()
	var a Alert
	if err := json.Unmarshal([]byte(text), &a); err != nil || a.Kind != "breach" || a.Count != crashThreshold {
		t.Fatalf("%s: %v", text, err)
	}
	return breach{a.WindowStart, a.Key}
}

// collect adds the alerts that a life has printed. A kill may cut the last line.
func collect(t *testing.T, printed map[breach]int, out *output) {
	t.Helper()
	for _, line := range out.lines() {
		printed[breachOf(t, line)]++
	}
}
