//go:build !unix || solaris || aix

package vfs

import "os"

// tryLock has no advisory lock to take here: only the table of this process
// excludes a second holder.
func tryLock(*os.File) (bool, error) { return true, nil }

// lockShared has no lock to take: on such a platform a gate works within one
// process only, and a snapshot wants the other one stopped.
func lockShared(*os.File) error { return nil }

func unlockFile(*os.File) {}
