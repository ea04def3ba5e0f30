// Command iot shows windows and alerts over the temperatures of devices: an
// average per device and five minutes, an alert for a device that has been
// silent for ten minutes, and one for a device that stays too hot.
//
// It writes readings (JSON lines, made by demo.go) to the topic "readings" of
// an embedded log in a temporary directory, runs the topology over them to the
// end, and prints what stands in the topics "averages" and "alerts".
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/console"
	"github.com/millstream-io/millstream/connectors/file"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/streams/alert"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.NewReader(demo()), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "iot:", err)
		os.Exit(1)
	}
}

// run runs the topology over the lines and prints the averages and the alerts,
// each by time and device.
func run(ctx context.Context, lines io.Reader, out io.Writer) (err error) {
	topo, err := buildTopology()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "iot-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var averages, alerts bytes.Buffer
	app, err := engine.New(topo, engine.Config{
		Log:        cmp.Or(os.Getenv("MILLSTREAM_LOG"), "embedded:"+dir), // or kafka://HOST:PORT
		StateDir:   filepath.Join(dir, "state"),
		Partitions: 1,    // one clock for all devices: any reading moves the time of a silent one
		Bounded:    true, // ends with its input
		Sources: []engine.Source{{Name: "devices", Topic: "readings",
			Source: file.New(file.Config{Path: "-", Stdin: lines, Parser: file.JSONLines(addReading)})}},
		Sinks: []engine.Sink{
			{Name: "averages", Topic: "averages", Sink: console.New(console.Config{Writer: &averages, Format: showAverage})},
			{Name: "alerts", Topic: "alerts", Sink: console.New(console.Config{Writer: &alerts, Format: showAlert})},
		},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	if err := errors.Join(app.Run(ctx), app.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "averages\n%salerts\n%s", sorted(&averages), sorted(&alerts))
	return err
}

// addReading makes a record of a line: the key is the device, the timestamp
// when it measured. What is no reading becomes a dead letter.
func addReading(r Reading, line []byte, out *connectors.Batch) error {
	if r.Device == "" || r.At.IsZero() {
		return errors.New("a reading needs device and at")
	}
	out.Add(connectors.Out{Key: []byte(r.Device), Value: line, Timestamp: r.At.UnixMilli(), Partition: -1})
	return nil
}

func showAverage(dst []byte, r *connectors.Record) ([]byte, error) {
	var a Average
	if err := json.Unmarshal(r.Value, &a); err != nil {
		return nil, err
	}
	return fmt.Appendf(dst, "%s - %s  %-6s  %6.2f of %d\n",
		a.From.Format(hourMinute), a.To.Format(hourMinute), r.Key, a.Celsius, a.Readings), nil
}

// showAlert prints when a notice was given, and since when its condition held.
func showAlert(dst []byte, r *connectors.Record) ([]byte, error) {
	var e alert.Event
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return nil, err
	}
	return fmt.Appendf(dst, "%s  %-6s  %-6s  %-8s  since %s\n",
		time.UnixMilli(r.Timestamp).UTC().Format(hourMinute), e.Key, e.Kind, e.Status, e.StartsAt.Format(hourMinute)), nil
}

const hourMinute = "15:04"

// sorted is the lines in order: they begin with their time.
func sorted(lines *bytes.Buffer) string {
	return strings.Join(slices.Sorted(strings.Lines(lines.String())), "")
}
