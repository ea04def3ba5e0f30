package main

import (
	"os"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"
)

// showProgress draws a bar of the bytes read, then how many rows Cassandra has,
// if stderr is a terminal.
func (j *job) showProgress() (stop func()) {
	f, ok := j.std.err.(*os.File)
	if !ok {
		return func() {}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	bar := progressbar.NewOptions64(1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("reading"),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			j.draw(bar)
			select {
			case <-tick.C:
			case <-ended:
				bar.Finish()
				return
			}
		}
	}()
	return func() { close(ended); <-done }
}

func (j *job) draw(bar *progressbar.ProgressBar) {
	done, total := j.orders.Progress()
	d, t := j.customers.Progress()
	done, total = done+d, total+t
	if total == 0 {
		return
	}
	bar.ChangeMax64(total + 1) // full only at the very end: computing and writing go on
	bar.Set64(done)
	if n := j.written.Load(); n > 0 {
		bar.Describe("rows in Cassandra: " + grouped(n))
	} else if done == total {
		bar.Describe("computing")
	}
}

// grouped is a number with a comma after each three digits.
func grouped(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	rest := strconv.FormatInt(n%1000+1000, 10)[1:]
	return grouped(n/1000) + "," + rest
}
