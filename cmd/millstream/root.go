package main

import (
	"fmt"

	"github.com/spf13/cobra"

	places "github.com/millstream-io/millstream/runtime/settings"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "millstream",
		Short: "Stream processing for Go with its log bundled",
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.ValidateFlagGroups(); err != nil {
				return usageError{err}
			}
			return nil
		},
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
	root.AddCommand(newServe(), newVerify(), newDump(), newSnapshot(), newDeadLetters(), newBench(), newTopic(), newGroup(), newProduce(), newConsume(), newDir(), newConfig(), newVersion())
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
	return usageError{places.Unknown(kind, name, known)}
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
