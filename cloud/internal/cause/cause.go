// Package cause tells which outage explains which silence: one node's failure, all of
// them at once, or the whole site out of reach.
//
// It is pure: no clock, network, disk, log or randomness.
package cause

import (
	"slices"
	"time"
)

// Together is how close two last words must be for one cause to explain both silences.
const Together = 5 * time.Second

// Source is something that beat until now: a node's agent or a Pi.
type Source struct {
	Name string
	Pi   bool
	Last time.Time // its last word, by the brain's clock
	Via  string    // the Pi through which it was last heard; empty: directly
}

// Reach is how far a silence reaches.
type Reach int

// The reaches.
const (
	Some     Reach = iota // some of the site's nodes
	AllNodes              // all of them, while a Pi still beats
	Whole                 // everything there is at the site
	// Alone is everything there is too, but the end of one machine explains it as well as
	// the internet's: a lone source, or nodes that were all heard through one Pi.
	Alone
)

// Silence is what Explain makes of one source's silence.
type Silence struct {
	Reach Reach
	// Names are the sources that fell silent with it, itself first: those whose last
	// words were within 5 s of its own and which said nothing since (rule N6).
	Names []string
	Via   string // with Alone: the Pi through which all of them were heard; empty: directly
}

// Explain judges the silence of one source among those of its site that were up. A lone
// source is never a whole site: its machine or its internet, who can tell. A Pi that falls
// silent with all that it relayed was itself heard directly: that is the whole site, as when
// its router restarts.
func Explain(silent Source, up []Source) Silence {
	s := Silence{Reach: Some, Names: []string{silent.Name}}
	via := map[string]bool{silent.Via: true}
	nodes, piLives, others := !silent.Pi, false, 0
	for _, o := range up {
		if o.Name == silent.Name {
			continue
		}
		others++
		if together(o.Last, silent.Last) {
			s.Names = append(s.Names, o.Name)
			via[o.Via] = true
			continue
		}
		piLives = piLives || o.Pi
		nodes = nodes && o.Pi
	}
	slices.Sort(s.Names[1:])
	relayedByOne := len(via) == 1 && !via[""]
	switch whole := len(s.Names) == others+1; {
	case whole && (others == 0 || relayedByOne):
		s.Reach, s.Via = Alone, silent.Via
	case whole:
		s.Reach = Whole
	case nodes && piLives && len(s.Names) > 1:
		s.Reach = AllNodes
	}
	return s
}

func together(a, b time.Time) bool { return a.Sub(b).Abs() <= Together }

// Dark reports whether all of another site's sources that were up fell silent together
// with a last word here (rule N10).
func Dark(last time.Time, up []Source) bool {
	return len(up) > 0 && !slices.ContainsFunc(up, func(s Source) bool { return !together(s.Last, last) })
}
