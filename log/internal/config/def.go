package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Type of a value, numbered as in DescribeConfigs (KIP-569).
type Type int8

// Types.
const (
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	Class    Type = 8
	Password Type = 9
)

var typeNames = [...]string{Boolean: "BOOLEAN", String: "STRING", Int: "INT", Short: "SHORT", Long: "LONG", Double: "DOUBLE", List: "LIST", Class: "CLASS", Password: "PASSWORD"}

// String is the type's name as Kafka prints it.
func (t Type) String() string {
	if t > 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", int8(t))
}

// Mode says where a broker's configuration may be changed while it runs (KIP-226).
type Mode uint8

// Modes.
const (
	ReadOnly    Mode = iota // with a restart only
	PerBroker               // for one broker, by its id
	ClusterWide             // for one broker, or as the default of all
)

// Def defines one configuration.
//
// Invariant: Default is well-formed by the definition itself, unless Null is set.
type Def struct {
	Name    string
	Type    Type
	Default string
	Null    bool // there is no default: unset
	Mode    Mode // of a broker's; a topic's, group's and subscription's may always be changed
	Doc     string
	// Min and Max bound numbers, where they are set.
	Min, Max *float64
	// Valid lists what a string, or each element of a list, may be; nil: anything.
	Valid []string
	// Special is a number that is allowed outside of the bounds.
	Special *float64
	// Broker are, of a topic's configuration, the broker's that give the default, the strongest first.
	Broker []Synonym
}

// Synonym is a broker's configuration that gives a topic's default.
type Synonym struct {
	Name string
	Unit int64 // what its value is multiplied with; 1, or that many milliseconds
}

// Sensitive says that the value must not be shown.
func (d *Def) Sensitive() bool { return d.Type == Password }

// InvalidError: a value that its definition does not allow.
type InvalidError struct {
	Name, Value, Expected string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", e.Value, e.Name, e.Expected)
}

// Check says whether the value is well-formed and within the bounds; *InvalidError if not.
func (d *Def) Check(value string) error {
	v := strings.TrimSpace(value)
	switch d.Type {
	case Boolean:
		if !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			return d.invalid(value, "Expected value to be either true or false")
		}
	case Int, Short, Long:
		bits := map[Type]int{Int: 32, Short: 16, Long: 64}[d.Type]
		n, err := strconv.ParseInt(v, 10, bits)
		if err != nil {
			return d.invalid(value, "Not a number of type "+d.Type.String())
		}
		return d.within(value, float64(n))
	case Double:
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(n) {
			return d.invalid(value, "Not a number of type DOUBLE")
		}
		return d.within(value, n)
	case List:
		return d.checkList(value)
	case String:
		if d.Valid != nil && !contains(d.Valid, v) {
			return d.invalid(value, "String must be one of: "+strings.Join(d.Valid, ", "))
		}
	}
	return nil
}

func (d *Def) checkList(value string) error {
	for _, e := range SplitList(value) {
		if d.Valid != nil && !contains(d.Valid, e) {
			return d.invalid(value, "String must be one of: "+strings.Join(d.Valid, ", "))
		}
	}
	return nil
}

func (d *Def) within(value string, n float64) error {
	switch {
	case d.Special != nil && n == *d.Special:
		return nil
	case d.Min != nil && n < *d.Min:
		return d.invalid(value, "Value must be at least "+number(*d.Min))
	case d.Max != nil && n > *d.Max:
		return d.invalid(value, "Value must be no more than "+number(*d.Max))
	}
	return nil
}

func (d *Def) invalid(value, expected string) error {
	if d.Sensitive() {
		value = "[hidden]"
	}
	return &InvalidError{Name: d.Name, Value: value, Expected: expected}
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// SplitList splits a value of type List: commas, white space around them does
// not count, and nothing at all is no element.
func SplitList(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// Set is a table of definitions.
type Set struct {
	list   []*Def // by name
	byName map[string]*Def
}

// Get finds a definition; nil if there is none.
func (s *Set) Get(name string) *Def { return s.byName[name] }

// All lists the definitions by name; the caller must not change them.
func (s *Set) All() []*Def { return s.list }

// Nearest finds the known name with the least edit distance, if it is near; else "".
func (s *Set) Nearest(name string) string {
	best, bestD := "", len(name)/3+1
	for _, d := range s.list {
		if n := editDistance(name, d.Name); n <= bestD && (best == "" || n < bestD) {
			best, bestD = d.Name, n
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
