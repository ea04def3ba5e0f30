package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "millstream",
		Short:         "Stream processing for Go with its log bundled",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown("command", args[0], verbs(cmd))
			}
			return cmd.Help()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see `%s --help`)", err, cmd.CommandPath())
	})
	root.PersistentFlags().StringP("output", "o", "text", "form of the data: text or json")
	root.PersistentFlags().String("config", "", "settings file (default millstream.yaml, if there is one)")
	root.AddCommand(newVerify(), newDump(), newBench(), newConfig(), newVersion())
	return root
}

// exactly is cobra.ExactArgs with an error that says what is missing.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usagef("%s takes %s, got %d arguments: usage: %s", cmd.CommandPath(), what, len(args), cmd.UseLine())
	}
}

func verbs(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}

// unknown is the error for a name that is not there, with the nearest that is.
func unknown(kind, name string, known []string) error {
	if n := nearest(name, known); n != "" {
		return usagef("unknown %s %q: did you mean %q?", kind, name, n)
	}
	return usagef("unknown %s %q: known are %s", kind, name, strings.Join(known, ", "))
}

// nearest is the known name with the smallest edit distance, or "" if none is near.
func nearest(name string, known []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// outputJSON reads -o.
func outputJSON(cmd *cobra.Command) (bool, error) {
	o, err := cmd.Flags().GetString("output")
	if err != nil {
		return false, err
	}
	switch o {
	case "text", "json":
		return o == "json", nil
	}
	return false, usageError{fmt.Errorf("--output is %q: it must be text or json", o)}
}
