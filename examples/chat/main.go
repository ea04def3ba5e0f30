// Command chat shows what a log is: a chat room is a topic of one partition.
// What its users say stands there in one order, outlives the program that wrote
// it, and whoever comes late reads all of it from the start.
//
// It says half of the conversation, closes the log, opens it again as another
// program would, says the rest, and then lets two new readers replay the room.
// There is no topology here: it uses the log's Producer and Consumer.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/millstream-io/millstream/log/broker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.NewReader(conversation), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// conversation is what is said: a user and the words.
const conversation = `anna is anybody here?
ben yes, just came in
anna shall we bake tomorrow?
carla count me in
ben the flour is out
anna then I go by the mill
`

// run says the conversation and replays it.
func run(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	var lines []string
	scan := bufio.NewScanner(in)
	for scan.Scan() {
		lines = append(lines, scan.Text())
	}
	if err := scan.Err(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "chat-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	half := len(lines) / 2
	for _, part := range [][]string{lines[:half], lines[half:]} {
		if err := talk(ctx, dir, part, out); err != nil {
			return err
		}
	}
	r, err := openRoom(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, reader := range []string{"dora", "emil"} {
		fmt.Fprintf(out, "%s comes in and reads:\n", reader)
		err := r.replay(ctx, func(m broker.Message) {
			fmt.Fprintf(out, "  %d  %-6s %s\n", m.Offset, m.Key, m.Value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// talk opens the room, says the lines, and closes it.
func talk(ctx context.Context, dir string, lines []string, out io.Writer) (err error) {
	r, err := openRoom(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, line := range lines {
		user, words, _ := strings.Cut(line, " ")
		if err := r.say(ctx, user, words); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%d messages said, the log is closed\n", len(lines))
	return err
}
