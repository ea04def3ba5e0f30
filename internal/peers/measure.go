package peers

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Program is a program in a process of its own, for the commands that measure.
// It ends with the process that started it. Methods are for one goroutine at a time.
type Program struct{ child child }

// StartProgram starts cmd; what it prints goes to the end of the file log. It
// is ready when ready says so of what it has printed; nil: at once.
func StartProgram(cmd *exec.Cmd, log string, ready func(printed string) bool, timeout time.Duration) (*Program, error) {
	p := &Program{child{log: log}}
	said := 0 // what earlier starts printed
	if b, err := os.ReadFile(log); err == nil {
		said = len(b)
	}
	err := p.child.start(cmd, func() bool {
		if ready == nil {
			return true
		}
		b, err := os.ReadFile(log)
		return err == nil && ready(string(b[said:]))
	}, timeout)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	return p, nil
}

// PID is its process.
func (p *Program) PID() int { return p.child.cmd.Process.Pid }

// Ended is closed when it has ended.
func (p *Program) Ended() <-chan struct{} { return p.child.ended }

// Kill ends it with SIGKILL and waits for its end.
func (p *Program) Kill() { p.child.kill() }

// Stop ends it with SIGTERM, after half a minute with SIGKILL, and waits for its end.
func (p *Program) Stop() { p.child.stop() }

// LogTail is the end of what it printed.
func (p *Program) LogTail(n int) string { return p.child.tail(n) }

// JavaProgram gives the command that runs a class of java/, compiled with javac
// against Kafka's jars; jvm are arguments of the virtual machine.
func (k *Kafka) JavaProgram(jvm []string, class string, args ...string) (*exec.Cmd, error) {
	javac, err := exec.LookPath("javac")
	if err != nil {
		return nil, errNoJavac
	}
	classes, err := compileJava(javac, k.classpath)
	if err != nil {
		return nil, err
	}
	all := append(slices.Clone(jvm), "-Dlog4j2.configurationFile="+filepath.Join(classes, "log4j2.xml"), "-cp", classes+":"+k.classpath, class)
	return exec.Command(k.java, append(all, args...)...), nil
}

// ticksPerSecond of /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// CPUSeconds is what a process has used, in user and kernel mode (Linux).
func CPUSeconds(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold blanks; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	user, uerr := strconv.ParseInt(fields[11], 10, 64)
	system, serr := strconv.ParseInt(fields[12], 10, 64)
	if uerr != nil || serr != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	return float64(user+system) / ticksPerSecond, nil
}

// ResidentMB is a process's resident memory now, in megabytes (Linux).
func ResidentMB(pid int) (float64, error) { return statusMB(pid, "VmRSS:") }

// PeakResidentMB is the most that a process's resident memory has been (Linux).
func PeakResidentMB(pid int) (float64, error) { return statusMB(pid, "VmHWM:") }

func statusMB(pid int, field string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, field)
}

// Median is the middle of some values, the upper one of two; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}
