package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// NeedDebian gives the path of a program of a Debian package: rsyslogd of rsyslog,
// say. Where it is missing and INTEGRATION=require is set, root installs the
// package.
func NeedDebian(t testing.TB, debianPackage, program string) string {
	t.Helper()
	NeedIntegration(t)
	if path, err := lookProgram(program); err == nil {
		return path
	}
	if !Required() {
		missing(t, "no %s on this machine (Debian's package %s has it)", program, debianPackage)
	}
	if err := installDebian(debianPackage); err != nil {
		missing(t, "%s: %v", program, err)
	}
	path, err := lookProgram(program)
	if err != nil {
		missing(t, "%s is not there after Debian's package %s was installed: %v", program, debianPackage, err)
	}
	return path
}

// lookProgram looks where daemons are too, which is not in everybody's PATH.
func lookProgram(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(dir + program)
	}
	return path, err
}

// installing lets one package be installed at a time.
var installing sync.Mutex

func installDebian(debianPackage string) error {
	installing.Lock()
	defer installing.Unlock()
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return fmt.Errorf("not here, and no apt-get to install Debian's package %s", debianPackage)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("not here, and only root can install Debian's package %s: apt-get install %s", debianPackage, debianPackage)
	}
	install := []string{"install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", debianPackage}
	var said []byte
	for _, args := range [][]string{install, {"update"}, install} { // lists that are missing or old are brought up to date
		if said, err = runApt(apt, args...); err == nil && args[0] == "install" {
			return nil
		}
	}
	return fmt.Errorf("apt-get install %s: %w\n%s", debianPackage, err, tail(said, 2000))
}

func runApt(apt string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, apt, append([]string{"-q"}, args...)...)
	// No daemon is to be started here: invoke-rc.d obeys RUNLEVEL=1.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "Unable to locate package") {
		err = fmt.Errorf("the package is in none of the known archives: %w", err)
	}
	return out, err
}
