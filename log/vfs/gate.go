package vfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Gate lets many in at once, until somebody shuts it for a moment. On the
// operating system's files it works between processes (flock(2): shared for
// those inside, exclusive for who shuts it), and it opens by itself when the
// process that shut it ends.
//
// The broker passes it with every append to __transaction_state and every write
// of its metadata; a snapshot shuts it. Both are short, so nobody starves.
type Gate interface {
	// Enter waits while the gate is shut.
	Enter() error
	// Leave undoes one Enter.
	Leave()
	// Shut waits until nobody is inside and keeps the gate shut until open is
	// called. It fails when ctx ends first.
	Shut(ctx context.Context) (open func(), err error)
	Close() error
}

// shutRetry is how often Shut looks whether another process has left.
const shutRetry = 500 * time.Microsecond

// osGate is a gate on a file. One open file stands for all that are inside from
// this process: flock belongs to the open file, so the first one in takes it
// and the last one out gives it back.
type osGate struct {
	name string

	mu     sync.Mutex // guards what follows; held while Enter waits for the lock
	f      *os.File
	inside int
}

// Gate opens the gate that the file name stands for, creating it if needed.
func (osFS) Gate(name string) (Gate, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &osGate{name: name, f: f}, nil
}

func (g *osGate) Enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside == 0 {
		if err := lockShared(g.f); err != nil {
			return err
		}
	}
	g.inside++
	return nil
}

func (g *osGate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 {
		unlockFile(g.f)
	}
}

// Shut uses an open file of its own, so that it also shuts out this process.
func (g *osGate) Shut(ctx context.Context) (func(), error) {
	f, err := os.OpenFile(g.name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	t := time.NewTicker(shutRetry)
	defer t.Stop()
	for {
		ok, err := tryLock(f)
		if ok {
			return func() { _ = f.Close() }, nil
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s: waiting until nobody is inside: %w", g.name, ctx.Err()), f.Close())
		case <-t.C:
		}
	}
}

func (g *osGate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.f.Close()
}

// memGate is a gate of a Mem, by name.
type memGate struct{ mu *sync.RWMutex }

// Gate opens the gate of that name. It makes no file: a crash opens it.
func (m *Mem) Gate(name string) (Gate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gates == nil {
		m.gates = map[string]*sync.RWMutex{}
	}
	g, ok := m.gates[clean(name)]
	if !ok {
		g = new(sync.RWMutex)
		m.gates[clean(name)] = g
	}
	return memGate{g}, nil
}

func (g memGate) Enter() error { g.mu.RLock(); return nil }
func (g memGate) Leave()       { g.mu.RUnlock() }

func (g memGate) Shut(context.Context) (func(), error) {
	g.mu.Lock()
	return g.mu.Unlock, nil
}

func (memGate) Close() error { return nil }
