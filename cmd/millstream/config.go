package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the settings in force and where each came from",
		Args:  exactly(0, "no arguments"),
		RunE:  runConfig,
	}
	addSettings(cmd, settingKeys()...)
	return cmd
}

// printedSetting is a line of `millstream config -o json`.
type printedSetting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
	Env    string `json:"env"`
}

func runConfig(cmd *cobra.Command, _ []string) error {
	asJSON, err := outputJSON(cmd)
	if err != nil {
		return err
	}
	s, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	var all []printedSetting
	for _, k := range knownSettings {
		value := s.GetString(k.key)
		if value != "" && slices.Contains(secretSettings, k.key) {
			value = "(not shown)"
		}
		all = append(all, printedSetting{k.key, value, s.source[k.key], settingPlaces.EnvName(k.key)})
	}
	for _, name := range slices.Sorted(maps.Keys(s.properties)) {
		value := s.properties[name]
		if strings.Contains(name, "password") || strings.Contains(name, "jaas") {
			value = "(not shown)"
		}
		all = append(all, printedSetting{name, value, s.source[name], ""})
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tFROM\tENVIRONMENT")
	for _, p := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Key, p.Value, p.Source, p.Env)
	}
	return w.Flush()
}
