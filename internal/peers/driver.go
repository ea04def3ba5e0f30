package peers

import (
	"bufio"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Driver is a program around another language's client that does what it is
// asked: a JSON object {"op", "args"} a line on its standard input, the answer
// {"result"} or {"error"} on its standard output. It ends with the test.
type Driver struct {
	name string
	cmd  *exec.Cmd
	mu   sync.Mutex // one request at a time
	in   io.WriteCloser
	out  *bufio.Reader
	log  string // file with what it printed on standard error
}

// driverPatience bounds an operation, above the patience that drivers have of
// their own: a client that never answers is ended.
const driverPatience = 3 * time.Minute

//go:embed java/*.java
var javaSources embed.FS

//go:embed python/driver.py
var pythonDriver []byte

// StartJavaDriver starts java/Driver.java, Apache Kafka's own clients, against a broker.
func StartJavaDriver(t testing.TB, broker string) *Driver {
	t.Helper()
	return startDriver(t, "java", NeedJava(t, "Driver", broker))
}

// NeedJava gives the command that runs a class of java/, compiled with javac
// against Kafka's jars.
func NeedJava(t testing.TB, class string, args ...string) *exec.Cmd {
	t.Helper()
	k := NeedKafka(t)
	// The first compiler alone: such a program lives for some seconds.
	cmd, err := k.JavaProgram([]string{"-Xmx512M", "-XX:TieredStopAtLevel=1"}, class, args...)
	if errors.Is(err, errNoJavac) {
		missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

var errNoJavac = errors.New("no javac on this machine (a JDK 17 or newer compiles the programs around Kafka's clients)")

var compiled struct {
	once    sync.Once
	classes string
	err     error
}

func compileJava(javac, classpath string) (string, error) {
	compiled.once.Do(func() { compiled.classes, compiled.err = compileInto(javac, classpath) })
	return compiled.classes, compiled.err
}

func compileInto(javac, classpath string) (string, error) {
	dir, err := os.MkdirTemp("", "millstream-java")
	if err != nil {
		return "", err
	}
	entries, err := javaSources.ReadDir("java")
	if err != nil {
		return "", err
	}
	args := []string{"-nowarn", "-cp", classpath, "-d", dir}
	for _, e := range entries {
		source, err := javaSources.ReadFile("java/" + e.Name())
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, e.Name())
		if err := os.WriteFile(file, source, 0o644); err != nil {
			return "", err
		}
		args = append(args, file)
	}
	if out, err := exec.Command(javac, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("javac: %w\n%s", err, tail(out, 4000))
	}
	config := strings.Replace(log4jConfig, `<Console name="out">`, `<Console name="out" target="SYSTEM_ERR">`, 1)
	if level := os.Getenv("PEERS_JAVA_LOG"); level != "" { // for who looks for a bug
		config = strings.Replace(config, `level="WARN"`, `level="`+level+`"`, 1)
	}
	return dir, os.WriteFile(filepath.Join(dir, "log4j2.xml"), []byte(config), 0o644)
}

func removeClasses() {
	if compiled.classes != "" {
		os.RemoveAll(compiled.classes)
	}
}

// StartPythonDriver starts python/driver.py, librdkafka by confluent-kafka, against a broker.
func StartPythonDriver(t testing.TB, broker string) *Driver {
	t.Helper()
	python := NeedPython(t, "confluent-kafka==2.16.1")
	script := filepath.Join(t.TempDir(), "driver.py")
	if err := os.WriteFile(script, pythonDriver, 0o644); err != nil {
		t.Fatal(err)
	}
	return startDriver(t, "python", exec.Command(python, "-u", script, broker))
}

// StartSaramaDriver builds and starts the module sarama/, a Go program of its
// own, so that who imports Millstream gets nothing of sarama's dependencies.
func StartSaramaDriver(t testing.TB, broker string) *Driver {
	t.Helper()
	NeedIntegration(t)
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "sarama-driver")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = filepath.Join(root, "internal", "peers", "sarama")
	if out, err := build.CombinedOutput(); err != nil {
		missing(t, "sarama's driver: go build: %v\n%s", err, tail(out, 2000))
	}
	return startDriver(t, "sarama", exec.Command(binary, broker))
}

func startDriver(t testing.TB, name string, cmd *exec.Cmd) *Driver {
	t.Helper()
	d := &Driver{name: name, cmd: cmd, log: filepath.Join(t.TempDir(), name+".log")}
	log, err := os.Create(d.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if d.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.out = bufio.NewReader(out)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it ends when its standard input does
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.in.Close()
		end := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		end.Stop()
		if t.Failed() {
			t.Logf("the end of what the %s driver logged:\n%s", name, d.logTail())
		}
	})
	return d
}

// Do asks for an operation and decodes its result. An error of the client is a DriverError.
func (d *Driver) Do(op string, args, result any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	request, err := json.Marshal(map[string]any{"op": op, "args": args})
	if err != nil {
		return err
	}
	if _, err := d.in.Write(append(request, '\n')); err != nil {
		return fmt.Errorf("%s driver: %w\n%s", d.name, err, d.logTail())
	}
	late := time.AfterFunc(driverPatience, func() { d.cmd.Process.Kill() })
	defer late.Stop()
	line, err := d.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s driver: %s: %w\n%s", d.name, op, err, d.logTail())
	}
	var answer struct {
		Result json.RawMessage
		Error  string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("%s driver: %s: answer %.200q: %w", d.name, op, line, err)
	}
	if answer.Error != "" {
		return DriverError{Client: d.name, Op: op, Says: answer.Error}
	}
	if result == nil || len(answer.Result) == 0 {
		return nil
	}
	return json.Unmarshal(answer.Result, result)
}

func (d *Driver) logTail() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(tail(b, 3000))
}

// DriverError is what the client in a driver says went wrong.
type DriverError struct{ Client, Op, Says string }

func (e DriverError) Error() string { return e.Client + ": " + e.Op + ": " + e.Says }

// errNoPython: Python or its virtual environments are missing.
var errNoPython = errors.New("no python3 with venv on this machine")

var pythons struct {
	mu   sync.Mutex
	made map[string]string
}

// NeedPython gives a Python that has the packages (as for pip), in a virtual
// environment in the user's cache directory that is made at first use.
func NeedPython(t testing.TB, packages ...string) string {
	t.Helper()
	NeedIntegration(t)
	pythons.mu.Lock()
	defer pythons.mu.Unlock()
	key := strings.Join(slices.Sorted(slices.Values(packages)), " ")
	if python := pythons.made[key]; python != "" {
		return python
	}
	python, err := makePython(key, packages)
	if errors.Is(err, errNoPython) && Required() {
		if err = installDebian("python3-venv"); err == nil {
			python, err = makePython(key, packages)
		}
	}
	if err != nil {
		missing(t, "Python with %s: %v", key, err)
	}
	if pythons.made == nil {
		pythons.made = map[string]string{}
	}
	pythons.made[key] = python
	return python
}

func makePython(key string, packages []string) (string, error) {
	dir := cacheDir("python", []byte(key))
	python := filepath.Join(dir, "bin", "python3")
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		if exec.Command(python, "-c", "").Run() == nil {
			return python, nil
		} // the machine's Python was replaced: make it anew
	}
	system, err := exec.LookPath("python3")
	if err != nil {
		return "", errNoPython
	}
	if out, err := exec.Command(system, "-m", "venv", "--clear", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %v\n%s", errNoPython, err, tail(out, 500))
	}
	install := append([]string{"-m", "pip", "install", "-q", "--only-binary=:all:", "--disable-pip-version-check"}, packages...)
	if out, err := exec.Command(python, install...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("pip install %s: %w\n%s", key, err, tail(out, 1000))
	}
	return python, os.WriteFile(filepath.Join(dir, "complete"), nil, 0o644)
}
