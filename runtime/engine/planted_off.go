//go:build !plantedbugs

package engine

import (
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// Bugs can be planted in test builds (planted_on.go); this build has none.

func (w *worker) plantedBeforeCommit([]*task.Task, logclient.Positions, logclient.Generation) error {
	return nil
}

func (e *Engine) plantedCheckpoint(plan.TaskID, []byte, *task.Frozen) (done bool, err error) {
	return false, nil
}

func plantedIDs(*Engine) []string { return nil }
