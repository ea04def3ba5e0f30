package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	places "github.com/millstream-io/millstream/runtime/settings"
)

// row prints the cells of one line of a table.
type row func(cells ...any)

// render writes v as JSON where -o json asks for it, else the table for people.
func render(cmd *cobra.Command, v any, table func(row)) error {
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	table(func(cells ...any) {
		line := strings.Repeat("\t%v", len(cells))
		fmt.Fprintf(w, line[1:]+"\n", cells...)
	})
	return w.Flush()
}

// verbOf makes a command that only groups others.
func verbOf(use, short, kind string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(kind, args[0], verbs(cmd))
			}
			return usagef("%s takes a verb: %s (see `%s --help`)", cmd.CommandPath(), strings.Join(verbs(cmd), ", "), cmd.CommandPath())
		},
	}
	cmd.AddCommand(children...)
	return cmd
}

// atLeastOne is cobra.MinimumNArgs(1) with an error that says what is missing.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return usagef("%s takes %s: usage: %s", cmd.CommandPath(), what, cmd.UseLine())
	}
}

// didYouMean is the end of an error about a name that is not there, or nothing.
func didYouMean(name string, known []string) string {
	if n := places.Nearest(name, known); n != "" {
		return fmt.Sprintf(": did you mean %q?", n)
	}
	return ""
}

// dashed shows an empty text as "-".
func dashed(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
