package peers

import "syscall"

// endWithParent makes the kernel kill the process when the thread that started
// it ends, so that no node outlives a test binary that was killed.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
