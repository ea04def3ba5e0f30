package peers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports for servers lie below those that systems give to who connects (from 32768
// on Linux, 49152 elsewhere). A server that is killed and started again would
// else find its port taken: by a client of somebody else, or by its own client,
// which, trying to connect to a port where nobody listens, in time gets that very
// port as its own and is connected to itself.
const firstPort, lastPort = 15000, 32000

var givenPorts = struct {
	mu    sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// freePort is a port where nobody listens, and that it has not given before.
func freePort() (int, error) {
	givenPorts.mu.Lock()
	defer givenPorts.mu.Unlock()
	var errs error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if givenPorts.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			errs = err
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		givenPorts.ports[port] = true
		return port, nil
	}
	return 0, errors.Join(errors.New("found no free port for a server"), errs)
}
