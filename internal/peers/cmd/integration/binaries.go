package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// binary is the tests of a package, built.
type binary struct {
	name string // the folder
	path string // the import path
	file string
	said string // by the build
	err  error
}

// built builds the tests of packages in dir, in order, one ahead of who takes them:
// building has the time that tests wait.
func built(packages []string, dir string) <-chan binary {
	out := make(chan binary)
	go func() {
		defer close(out)
		for i, name := range packages {
			b := binary{name: name, file: filepath.Join(dir, fmt.Sprintf("%d.test", i))}
			path, err := exec.Command("go", "list", name).Output()
			b.path = string(path[:max(0, len(path)-1)])
			if err == nil {
				var said []byte
				said, err = exec.Command("go", "test", "-c", "-vet=off", "-o", b.file, name).CombinedOutput()
				b.said = string(said)
			}
			b.err = err
			out <- b
		}
	}()
	return out
}

// run runs the tests of one package whose names match, as `go test` would, and
// counts them. An error says that they did not come to their end.
func (b binary) run(c *counts, match string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	// What tests call as "go" is what has built them.
	path := filepath.Join(string(root[:len(root)-1]), "bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	toConvert, said, err := os.Pipe()
	if err != nil {
		return err
	}
	defer toConvert.Close()
	cmd := exec.Command(b.file, "-test.v=test2json", "-test.count=1", "-test.timeout=20m", "-test.run="+match)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = b.name, append(os.Environ(), "PATH="+path), said, said
	err = cmd.Start()
	said.Close()
	if err != nil {
		return err
	}
	converter := exec.Command("go", "tool", "test2json", "-t", "-p", b.path)
	converter.Stdin, converter.Stderr = toConvert, os.Stderr
	out, err := converter.StdoutPipe()
	if err == nil {
		err = converter.Start()
	}
	if err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	before := c.sum()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text())
			continue
		}
		c.add(e)
	}
	err = errors.Join(lines.Err(), converter.Wait(), cmd.Wait())
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && c.sum().failed > before.failed {
		err = nil // tests failed, as they have said
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.unheard())
	}
	return nil
}
