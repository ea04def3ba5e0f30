package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/millstream-io/millstream/runtime/engine"
)

func newDeadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "List the records that could not be processed, and put them back",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown("command", args[0], verbs(cmd))
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "Print what could not be processed, why, and where it came from",
		Long: `Prints the dead letters of an application, oldest first. The data directory must
not be in use: stop the service, or ask the running one (engine.DeadLetters).`,
		Args: exactly(0, "no arguments"),
		RunE: listDeadLetters,
	}
	retry := &cobra.Command{
		Use:   "retry [PARTITION:OFFSET...]",
		Short: "Put dead letters back where they came from, once",
		Long: `Puts dead letters back: those of a sink to that sink alone, those of a source into
its topic, those of an operator into the partition that it was read from. All
that the filters choose, or the ones that are named. A letter goes back once; what
fails again becomes a new dead letter. The next start of the service processes them.`,
		RunE: retryDeadLetters,
	}
	for _, c := range []*cobra.Command{list, retry} {
		addSettings(c, "data-dir", "flush")
		c.Flags().String("app", "", "the application (default: the only one with dead letters)")
		c.Flags().String("stage", "", "only those of this connector or operator")
		c.Flags().String("topic", "", "only those that stood in this topic")
		c.Flags().String("reason", "", "only those whose reason contains this text")
		c.Flags().Duration("since", 0, "only those of this time until now, such as 24h")
		c.Flags().Int("limit", 0, "at most so many; 0: all")
	}
	list.Flags().Bool("all", false, "also those that were put back")
	retry.Flags().Bool("force", false, "also those that something else has seen, or worked on in part")
	cmd.AddCommand(list, retry)
	return cmd
}

// openDeadLetters opens an application's dead letters by the command's flags.
func openDeadLetters(cmd *cobra.Command) (*engine.DeadLetters, engine.DeadLetterFilter, error) {
	var f engine.DeadLetterFilter
	s, err := loadSettings(cmd)
	if err != nil {
		return nil, f, err
	}
	flags := cmd.Flags()
	dir := s.GetString("data-dir")
	if _, err := os.Stat(dir); err != nil {
		return nil, f, err // or the log would be made anew
	}
	app, _ := flags.GetString("app")
	if app == "" {
		if app, err = onlyApplication(dir); err != nil {
			return nil, f, err
		}
	}
	f.Stage, _ = flags.GetString("stage")
	f.Topic, _ = flags.GetString("topic")
	f.Reason, _ = flags.GetString("reason")
	f.Limit, _ = flags.GetInt("limit")
	if since, _ := flags.GetDuration("since"); since > 0 {
		f.Since = time.Now().Add(-since)
	}
	d, err := engine.OpenDeadLetters(app, engine.Config{Log: "embedded:" + dir, Flush: s.GetString("flush")})
	return d, f, err
}

// deadLettersSuffix ends the name of an application's topic of dead letters.
const deadLettersSuffix = ".dead-letters"

// onlyApplication finds the application whose dead letters a directory holds.
func onlyApplication(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var apps []string
	for _, e := range entries {
		if app, ok := strings.CutSuffix(e.Name(), deadLettersSuffix+"-0"); ok && e.IsDir() {
			apps = append(apps, app)
		}
	}
	switch len(apps) {
	case 1:
		return apps[0], nil
	case 0:
		return "", fmt.Errorf("%s holds no dead letters of any application: no topic's name ends in %s", dir, deadLettersSuffix)
	}
	return "", usagef("%s holds the dead letters of %s: say which with --app", dir, strings.Join(apps, ", "))
}

func listDeadLetters(cmd *cobra.Command, _ []string) (err error) {
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	d, f, err := openDeadLetters(cmd)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := d.Close(); err == nil {
			err = cerr
		}
	}()
	f.IncludeRetried, _ = cmd.Flags().GetBool("all")
	out := cmd.OutOrStdout()
	if asJSON {
		enc := json.NewEncoder(out)
		var failed error
		err := d.List(cmd.Context(), f, func(l *engine.DeadLetter) bool {
			failed = enc.Encode(l)
			return failed == nil
		})
		if err != nil {
			return err
		}
		return failed
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	n := 0
	err = d.List(cmd.Context(), f, func(l *engine.DeadLetter) bool {
		if n++; n == 1 {
			fmt.Fprintln(w, "LETTER\tAT\tSTAGE\tFROM\tREASON\tKEY\tVALUE")
		}
		at := "-"
		if !l.At.IsZero() {
			at = l.At.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%d:%d\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Partition, l.Offset, at, l.Stage, placeOf(l), shown(l.Reason, 80), shownBytes(l.Key, 20), shownBytes(l.Value, 60))
		return true
	})
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d dead letters\n", n)
	}
	return err
}

// placeOf is where a dead letter stood.
func placeOf(l *engine.DeadLetter) string {
	switch {
	case l.Topic == "":
		return "-"
	case l.FromPartition < 0:
		return l.Topic
	}
	return fmt.Sprintf("%s-%d@%d", l.Topic, l.FromPartition, l.FromOffset)
}

func shownBytes(b []byte, most int) string {
	if b == nil {
		return "null"
	}
	if !utf8.Valid(b) {
		return shown(fmt.Sprintf("%x", b), most)
	}
	return shown(string(b), most)
}

// shown is a text on one line of a table.
func shown(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

func retryDeadLetters(cmd *cobra.Command, args []string) (err error) {
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	named, err := lettersNamed(args)
	if err != nil {
		return err
	}
	d, f, err := openDeadLetters(cmd)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := d.Close(); err == nil {
			err = cerr
		}
	}()
	f.Offsets = named
	f.Force, _ = cmd.Flags().GetBool("force")
	report, err := d.Retry(cmd.Context(), f)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(report)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d put back, %d left\n", report.Retried, len(report.Skipped))
	for _, s := range report.Skipped {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d:%d left: %s\n", s.Partition, s.Offset, s.Why)
	}
	return nil
}

// lettersNamed reads PARTITION:OFFSET, as `list` prints them; nil: none is named.
func lettersNamed(args []string) (map[int32][]int64, error) {
	if len(args) == 0 {
		return nil, nil
	}
	named := map[int32][]int64{}
	for _, a := range args {
		p, o, ok := strings.Cut(a, ":")
		partition, err1 := strconv.ParseInt(p, 10, 32)
		offset, err2 := strconv.ParseInt(o, 10, 64)
		if !ok || err1 != nil || err2 != nil || partition < 0 || offset < 0 {
			return nil, usagef("%q is no dead letter: expected PARTITION:OFFSET, as `millstream dead-letters list` prints them", a)
		}
		named[int32(partition)] = append(named[int32(partition)], offset)
	}
	return named, nil
}
