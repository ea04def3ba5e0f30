package config

import (
	"slices"
	"strings"
)

// The tables are written with these.

func def(t Type, name, value, doc string) *Def {
	return &Def{Name: name, Type: t, Default: value, Doc: doc, Mode: ReadOnly}
}

func (d *Def) atLeast(n float64) *Def { d.Min = &n; return d }

func (d *Def) between(lo, hi float64) *Def { d.Min, d.Max = &lo, &hi; return d }

func (d *Def) or(n float64) *Def { d.Special = &n; return d }

func (d *Def) oneOf(valid ...string) *Def { d.Valid = valid; return d }

func (d *Def) unset() *Def { d.Null = true; return d }

func (d *Def) dynamic() *Def { d.Mode = ClusterWide; return d }

// from names the broker's configurations that give a topic's default, the strongest first.
func (d *Def) from(names ...string) *Def {
	for _, n := range names {
		unit := int64(1)
		switch {
		case strings.HasSuffix(n, ".hours"):
			unit = 60 * 60 * 1000
		case strings.HasSuffix(n, ".minutes"):
			unit = 60 * 1000
		}
		d.Broker = append(d.Broker, Synonym{Name: n, Unit: unit})
	}
	return d
}

func newSet(defs ...[]*Def) *Set {
	s := &Set{byName: map[string]*Def{}}
	for _, list := range defs {
		s.list = append(s.list, list...)
	}
	slices.SortFunc(s.list, func(a, b *Def) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range s.list {
		s.byName[d.Name] = d
	}
	return s
}

const maxLong = "9223372036854775807"
