package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/connectors/syslog"
	"github.com/millstream-io/millstream/log/record"
)

// runInput reads a file to its end and prints the alerts in order. With -dir it
// goes on where the last run stopped and prints what is new.
func runInput(ctx context.Context, c config, std stdio) (err error) {
	if c.input != "-" { // the commonest mistake, told before anything is set up
		f, err := os.Open(c.input)
		if err != nil {
			return fmt.Errorf("-input: %w", err)
		}
		f.Close()
	}
	a, err := newApp(c, std, file.New(file.Config{Path: c.input, Stdin: std.in, Parser: syslog.NewParser(c.parser())}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()

	cfg := a.engineConfig()
	cfg.Bounded = true
	cfg.PurgeSources = true // the lines are in the file
	if a.temp {
		cfg.Flush, cfg.InMemoryState = "os", true // nothing is to survive this process
	}
	if err := a.run(ctx, cfg); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped before the end of %s", c.input)
	}
	alerts, err := a.printSorted(ctx)
	if err != nil {
		return err
	}
	a.report(alerts)
	return nil
}

// printSorted prints the alerts of this run, ordered by window, then key.
func (a *app) printSorted(ctx context.Context) (alerts int64, err error) {
	r, err := openResults(a.dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	s := sorter{dir: a.dir, limit: sortBytes}
	defer func() { err = errors.Join(err, s.close()) }()

	p := newPrinter(a.c)
	var line []byte
	done, err := r.unprinted(ctx, func(v *record.View) error {
		var alert Alert
		if err := json.Unmarshal(v.Value, &alert); err != nil {
			return fmt.Errorf("offset %d is not an alert: %w", v.Offset, err)
		}
		line = p.format(line[:0], alert)
		alerts++
		return s.add(sortable{start: alert.WindowStart.UnixMilli(), key: alert.Key, line: string(line)})
	})
	if err != nil {
		return 0, err
	}
	if err := s.write(a.std.out); err != nil {
		return 0, fmt.Errorf("printing the alerts: %w", err)
	}
	return alerts, done()
}
