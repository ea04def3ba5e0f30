//go:build race

package embedded

// raceEnabled: sync.Pool forgets at random under the race detector.
const raceEnabled = true
