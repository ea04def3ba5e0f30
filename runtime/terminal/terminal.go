// Package terminal shows people at a terminal how far the restore of an engine's
// state is, which may take long.
//
// It is for main packages, which call it beside engine.New; it only asks the
// engine, at a terminal's pace, and never where nobody looks.
package terminal

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/millstream-io/millstream/runtime/engine"
)

// pace is the time between two looks at the engine. A restore that takes less is
// rarely shown.
const pace = 200 * time.Millisecond

// Restorer is an *engine.Engine.
type Restorer interface {
	Restoring() (engine.RestoreSnapshot, bool)
}

// ShowRestoring draws a bar on w while app replays changelogs, whenever it does,
// until stop is called: records done and to do, how many a second, how long it
// takes yet. It is one line that is rewritten in place, and ended where the replay
// ends. Where w is no terminal, nothing is written.
func ShowRestoring(w io.Writer, app Restorer) (stop func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	return follow(f, app)
}

// follow draws until stop is called, which waits for the line's end.
func follow(w io.Writer, app Restorer) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		line := line{w: w}
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				line.draw(app.Restoring())
			case <-ended:
				at, _ := app.Restoring()
				line.draw(at, false)
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(ended); <-done })
}

// line is a bar while a restore is under way, and nil else.
type line struct {
	w   io.Writer
	bar *progressbar.ProgressBar
}

// draw shows how far a restore is, or was when it ended. What is written cannot
// be of use to anybody if the terminal is gone, so errors are left.
func (l *line) draw(at engine.RestoreSnapshot, under bool) {
	if under && at.Done >= at.Total {
		return // more may come: a full bar is the last that is drawn
	}
	if l.bar == nil {
		if under {
			l.bar = newBar(l.w, at.Total)
			l.bar.Set64(0) // the rate counts from here
		}
		return
	}
	if at.Total != l.bar.GetMax64() {
		l.bar.ChangeMax64(at.Total)
	}
	l.bar.Set64(at.Done)
	if !under {
		fmt.Fprintln(l.w)
		l.bar = nil
	}
}

func newBar(w io.Writer, total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription("restoring state"),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetItsString("records"),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetPredictTime(true),
	)
}
