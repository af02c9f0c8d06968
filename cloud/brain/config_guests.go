package brain

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/shutdown"
)

// Guests are those that a stage takes down: all that no other stage names, or some.
type Guests struct {
	All  bool     `yaml:"-"` // the word all stands for it
	Tags []string `yaml:"tags"`
	IDs  []int    `yaml:"ids"`
	Pool string   `yaml:"pool"`
}

const howGuests = "write all, or some of them: {tags: [web]}, {ids: [101, 105]}, {pool: prod}"

// UnmarshalYAML takes the word all, or a map of what the guests are chosen by.
func (g *Guests) UnmarshalYAML(decode func(any) error) error {
	var word string
	if decode(&word) == nil {
		if word != "all" {
			return fmt.Errorf("%.80q is not understood; %s", word, howGuests)
		}
		g.All = true
		return nil
	}
	type plain Guests
	err := decode((*plain)(g))
	var wrong *config.Error
	if errors.As(err, &wrong) && strings.HasPrefix(wrong.Msg, "must be a map") {
		return fmt.Errorf("it is not the word all, and does not say by what it chooses; %s", howGuests)
	}
	return err
}

// choice is nil where there is none to make.
func (g *Guests) choice() *shutdown.Choice {
	if g == nil || g.All {
		return nil
	}
	return &shutdown.Choice{Tags: g.Tags, IDs: g.IDs, Pool: g.Pool}
}

// How Proxmox forms tags, and the names of pools, which may be in one another.
var (
	tagForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_+.-]{0,127}$`)
	poolForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,127}(/[A-Za-z0-9._-]{1,127}){0,2}$`)
)

// Limits of a guest's id, as Proxmox documents them.
const (
	lowestGuest  = 100
	highestGuest = 999999999
)

// checkGuests is about how stages choose their guests. What a guest is called by must be
// written in one stage alone, as it goes down once: with the first.
func (c *Config) checkGuests(f *config.File) []error {
	var errs []error
	seen := map[string]int{}
	for i, s := range c.Plan {
		at := fmt.Sprintf("plan[%d]", i)
		errs = append(errs, s.checkTimeout(f, at)...)
		if s.Guests == nil {
			continue
		}
		at += ".guests"
		once := func(path, key, what string) {
			if first, dup := seen[key]; dup && first == i {
				errs = append(errs, f.Errorf(path, "%s stands here for the second time", what))
			} else if dup {
				errs = append(errs, f.Errorf(path, "%s is taken down in stage %d already; remove it from one of the two", what, first+1))
			} else {
				seen[key] = i
			}
		}
		if s.Guests.All {
			once(at, "all", "guests: all")
			continue
		}
		if misspelt := f.Spoilt(at + ".tags"); len(s.Guests.Tags)+len(s.Guests.IDs) == 0 && s.Guests.Pool == "" && !misspelt {
			errs = append(errs, f.Errorf(at, "it chooses no guest; %s", howGuests))
		}
		for j, tag := range s.Guests.Tags {
			path := fmt.Sprintf("%s.tags[%d]", at, j)
			if !tagForm.MatchString(tag) {
				errs = append(errs, f.Errorf(path, "%.80q is no tag of Proxmox's; write it as its guests show it, without semicolons and spaces", tag))
				continue
			}
			once(path, "tag/"+strings.ToLower(tag), "the tag "+tag)
		}
		for j, id := range s.Guests.IDs {
			path := fmt.Sprintf("%s.ids[%d]", at, j)
			if id < lowestGuest || id > highestGuest {
				errs = append(errs, f.Errorf(path, "%d is no guest's id; Proxmox's are %d to %d", id, lowestGuest, highestGuest))
				continue
			}
			once(path, fmt.Sprint("id/", id), fmt.Sprintf("guest %d", id))
		}
		switch pool := s.Guests.Pool; {
		case pool == "":
		case !poolForm.MatchString(pool):
			errs = append(errs, f.Errorf(at+".pool", "%.80q is no pool of Proxmox's; write its name as the list of pools shows it", pool))
		default:
			once(at+".pool", "pool/"+pool, "the pool "+pool)
		}
	}
	return errs
}

// checkTimeout wants a time that leaves something of the stage's to stop a guest hard.
func (s Stage) checkTimeout(f *config.File, at string) []error {
	switch {
	case s.Timeout == 0:
		return nil
	case s.Guests == nil:
		return []error{f.Errorf(at+".timeout", "it is the time that guests are given, and this stage has none; remove it, or write deadline: instead")}
	case s.Timeout >= s.Deadline && !f.Spoilt(at+".deadline"):
		return []error{f.Errorf(at+".timeout", "%s is not less than the stage's deadline of %s, by which a guest that is still up must have been stopped hard; write a shorter time, or a longer deadline", s.Timeout, s.Deadline)}
	}
	return nil
}
