package millstream

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/millstream-io/millstream/internal/peers"
)

// dockerfile is docs/deploy/Dockerfile taken apart as far as it can be run
// without Docker: the build's command and the image's command line.
type dockerfile struct {
	build   string
	program string
	cmd     []string
}

func readDockerfile(t *testing.T) dockerfile {
	t.Helper()
	text, err := os.ReadFile("docs/deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var d dockerfile
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if s, ok := strings.CutPrefix(line, "ARG PROGRAM="); ok {
			d.program = s
		}
		if s, ok := strings.CutPrefix(line, "RUN CGO_ENABLED"); ok {
			d.build, _, _ = strings.Cut("CGO_ENABLED"+s, " && ")
		}
		if s, ok := strings.CutPrefix(line, "CMD "); ok {
			if err := json.Unmarshal([]byte(s), &d.cmd); err != nil {
				t.Fatalf("CMD %s: %v", s, err)
			}
		}
	}
	if d.build == "" || d.program == "" || len(d.cmd) == 0 {
		t.Fatalf("docs/deploy/Dockerfile: expected ARG PROGRAM, RUN CGO_ENABLED=... and CMD [...], found %+v", d)
	}
	return d
}

// TestIntegrationTheImagesProgramIsStaticAndServes does what the Dockerfile does,
// without Docker: builds (everything once more, for its flags), and runs the command
// on ports of the system's choice.
func TestIntegrationTheImagesProgramIsStaticAndServes(t *testing.T) {
	peers.NeedIntegration(t)
	d := readDockerfile(t)
	out := filepath.Join(t.TempDir(), "program")
	build := exec.Command("sh", "-c", strings.Replace(d.build, "/out/program", out, 1))
	build.Env = append(os.Environ(), "PROGRAM="+d.program)
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", d.build, err, b)
	}
	f, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program asks for a dynamic linker, which an image from scratch does not have")
		}
	}
	port := regexp.MustCompile(`^0\.0\.0\.0:\d+$`)
	for i, arg := range d.cmd {
		switch {
		case port.MatchString(arg):
			d.cmd[i] = "127.0.0.1:0"
		case arg == "/data":
			d.cmd[i] = filepath.Join(t.TempDir(), "data")
		}
	}
	serveAndStop(t, exec.Command(out, append(d.cmd, "-tz", "Europe/Berlin")...))
}

// serveAndStop waits for the line that says where a service listens, then ends it.
func serveAndStop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = []string{} // nothing of this machine, as in an empty image
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines, listening := bufio.NewScanner(stderr), false
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "listening on udp=127.0.0.1:") {
			listening = true
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !listening {
		t.Fatalf("expected the line that says where it listens, then exit 0 after SIGTERM; found listening %v, %v", listening, err)
	}
}

// TestTheUnitAndTheSettingsFileNameFlagsThatExist keeps docs/deploy in step with the example.
func TestTheUnitAndTheSettingsFileNameFlagsThatExist(t *testing.T) {
	source, err := os.ReadFile("examples/syslog-alerts/flags.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`"([a-z-]+)", `).FindAllSubmatch(source, -1) {
		known[string(m[1])] = true
	}
	check := func(file string, pattern *regexp.Regexp) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := pattern.FindAllSubmatch(text, -1)
		if len(found) == 0 {
			t.Errorf("%s: found no setting; the pattern no longer fits", file)
		}
		for _, m := range found {
			if !known[string(m[1])] {
				t.Errorf("%s: syslog-alerts has no flag %q", file, m[1])
			}
		}
	}
	check("docs/deploy/syslog-alerts.yaml", regexp.MustCompile(`(?m)^(?:# )?([a-z-]+): \S`))
	check("docs/deploy/syslog-alerts.service", regexp.MustCompile(` -([a-z-]+) /`))
	check("docs/deploy/Dockerfile", regexp.MustCompile(`"-([a-z-]+)"`))
}
