// Package settings finds what a program's settings are: a flag goes before a
// variable of the environment, that before a YAML file, that before the default.
// A key or variable that the program does not know is refused with the nearest
// one that it does.
//
// It is for main packages: cmd/millstream and the examples use it, programs of
// others may. It knows nothing of types: values are texts, which the program's
// flags parse, so that a file's mistakes are told in the words of the flags'.
//
// All functions may be called concurrently.
package settings

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/viper"

	"github.com/millstream-io/millstream/internal/nearest"
)

// Config says which settings there are and where they may stand.
type Config struct {
	// Known are the keys, in lower case with dashes: "commit-interval".
	Known []string
	// EnvPrefix begins the variables, such as "MILLSTREAM_": the setting
	// commit-interval is MILLSTREAM_COMMIT_INTERVAL. Other variables that begin so
	// are refused.
	EnvPrefix string
	// File is a YAML file of "key: value" lines; "": none.
	File string
	// Others, if set, says of a key of the file that is not in Known whether it is
	// taken all the same; whoever asks for the values judges it then.
	Others func(key string) bool
	// Optional: a File that does not exist is none.
	Optional bool
}

// Value is one setting that is not the default.
type Value struct {
	Text string
	From string // "environment", or the file's name
}

// ErrUnknown is what an unknown key or variable is.
var ErrUnknown = errors.New("unknown")

// Load reads the file and the environment (as of os.Environ). Every error is one
// of usage: a file that cannot be read or is no YAML, an unknown name
// (ErrUnknown), a value that is a list or a table.
func (c Config) Load(environ []string) (map[string]Value, error) {
	values, err := c.file()
	if err != nil {
		return nil, err
	}
	env, err := c.environment(environ)
	if err != nil {
		return nil, err
	}
	maps.Copy(values, env)
	return values, nil
}

func (c Config) file() (map[string]Value, error) {
	values := map[string]Value{}
	if c.File == "" {
		return values, nil
	}
	v := viper.New()
	v.SetConfigFile(c.File)
	v.SetConfigType("yaml")
	if err := v.ReadInConfig(); err != nil {
		if errors.Is(err, fs.ErrNotExist) && c.Optional {
			return values, nil
		}
		return nil, fmt.Errorf("settings file %s: %w", c.File, oneLine{err})
	}
	keys := v.AllKeys()
	slices.Sort(keys) // the same one of several mistakes every time
	for _, key := range keys {
		if !slices.Contains(c.Known, key) && (c.Others == nil || !c.Others(key)) {
			return nil, fmt.Errorf("settings file %s: %w", c.File, Unknown("setting", key, c.Known))
		}
		switch value := v.Get(key).(type) {
		case string, bool, int, int64, uint64, float64:
			values[key] = Value{fmt.Sprint(value), c.File}
		case nil:
			return nil, fmt.Errorf("settings file %s: %s has no value: give one or remove the line", c.File, key)
		default:
			return nil, fmt.Errorf("settings file %s: %s is %v: expected a text or a number (in quotes if it looks like something else)", c.File, key, value)
		}
	}
	return values, nil
}

// oneLine prints an error of several lines as one.
type oneLine struct{ error }

func (e oneLine) Error() string {
	return strings.Join(strings.FieldsFunc(e.error.Error(), func(r rune) bool { return r == '\n' }), " ")
}
func (e oneLine) Unwrap() error { return e.error }

func (c Config) environment(environ []string) (map[string]Value, error) {
	values := map[string]Value{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if c.EnvPrefix == "" || !strings.HasPrefix(name, c.EnvPrefix) {
			continue
		}
		i := slices.IndexFunc(c.Known, func(key string) bool { return c.EnvName(key) == name })
		if i < 0 {
			var names []string
			for _, key := range c.Known {
				names = append(names, c.EnvName(key))
			}
			return nil, Unknown("environment variable", name, names)
		}
		values[c.Known[i]] = Value{value, "environment"}
	}
	return values, nil
}

// EnvName is the variable of a setting.
func (c Config) EnvName(key string) string {
	return c.EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// SetFlags gives the flags that the command line did not set what the file and
// the environment say, and reports every value that a flag does not take at
// once. A setting that is no flag of fs is left alone. It returns where each
// flag's value came from: "flag", "environment", the file's name, or "default".
func SetFlags(fs *flag.FlagSet, values map[string]Value) (from map[string]string, err error) {
	from = map[string]string{}
	fs.VisitAll(func(f *flag.Flag) { from[f.Name] = "default" })
	fs.Visit(func(f *flag.Flag) { from[f.Name] = "flag" })
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if from[key] != "default" {
			continue
		}
		v := values[key]
		if err := fs.Set(key, v.Text); err != nil {
			errs = append(errs, fmt.Errorf("setting %s (%s) is %q: %w", key, v.From, v.Text, err))
			continue
		}
		from[key] = v.From
	}
	return from, errors.Join(errs...)
}

// Unknown is the error for a name that is not there, with the nearest that is.
// kind is what it names, such as "setting".
func Unknown(kind, name string, known []string) error {
	if n := Nearest(name, known); n != "" {
		return fmt.Errorf("%w %s %q: did you mean %q?", ErrUnknown, kind, name, n)
	}
	return fmt.Errorf("%w %s %q: known are %s", ErrUnknown, kind, name, strings.Join(known, ", "))
}

// Nearest is the known name with the smallest edit distance, or "" if none is near.
func Nearest(name string, known []string) string { return nearest.Name(name, known) }
