package brain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sentinel.home.arpa/shared/config"
)

// missing says what the configuration leaves out that nothing works without, and what that means.
func (c *Config) missing(f *config.File) (notes []string) {
	for i, s := range c.Sites {
		if len(s.Pis) == 0 {
			notes = append(notes, fmt.Sprintf("sites[%d].pi_proxies: %s has none, so nobody reports its UPS: a power cut there is not known as one", i, s.Name))
		}
	}
	switch {
	case f.Spoilt("contacts"):
	case len(c.Contacts) == 0:
		notes = append(notes, "contacts: there are none, so nobody is called")
	case len(c.callable()) == 0:
		notes = append(notes, "contacts: none has a phone, so nobody is called; notices alone wake nobody")
	}
	if c.untoldDigest() && !f.Spoilt("contacts") && !f.Spoilt("sites") {
		notes = append(notes, "notices.digest: no channel takes the kind digest, so nobody is told")
	}
	if len(c.Plan) == 0 && !f.Spoilt("plan") {
		notes = append(notes, "plan: there is none, so nothing is shut down in a power cut")
	}
	return slices.Concat(notes, c.agentless(), c.sharedAPIs())
}

// sharedAPIs are notes about nodes of the plan that are reached through another's API: maybe one address was copied.
func (c *Config) sharedAPIs() (notes []string) {
	of := map[string]string{}
	for i, s := range c.Plan {
		for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
			api := strings.ToLower(strings.TrimSuffix(s.Nodes[name].API, "/"))
			if other := of[api]; other != "" && api != "" {
				notes = append(notes, fmt.Sprintf("plan[%d].nodes: %s has the api of %s; once that node is off, %s is neither told nor seen to go down: write its own", i, name, other, name))
				continue
			}
			of[api] = name
		}
	}
	return notes
}

// agentless are notes about nodes of the plan that the site does not list: a wrong name, or none of them runs an agent.
func (c *Config) agentless() (notes []string) {
	if len(c.Sites) != 1 || len(c.Sites[0].Nodes) == 0 {
		return nil
	}
	var listed []string
	for _, p := range c.Sites[0].Nodes {
		listed = append(listed, p.Name)
	}
	for i, s := range c.Plan {
		for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
			if !slices.Contains(listed, name) {
				notes = append(notes, fmt.Sprintf("plan[%d].nodes: %s is not among the nodes of %s; correct the name, or list it there if it runs an agent: without one it counts as down once its API has been closed for 30 s",
					i, name, c.Sites[0].Name))
			}
		}
	}
	return notes
}

// unlisted are notes about names of nodes that nothing in the configuration vouches for, since a site
// does not list its nodes. heard are those that the running brain knows; ok is false if none runs here.
func (c *Config) unlisted(heard []string, ok bool) (notes []string) {
	var planned []string
	for _, s := range c.Plan {
		for name := range s.Nodes {
			planned = append(planned, name)
		}
	}
	slices.Sort(planned)
	for i, s := range c.Sites {
		if len(s.Nodes) > 0 {
			continue
		}
		var open []string
		look := func(at, name string) {
			switch near, is := config.Nearest(name, planned); {
			case slices.Contains(planned, name), slices.Contains(heard, name):
			case ok:
				notes = append(notes, fmt.Sprintf("%s: no node called %s has ever been heard; %s", at, name, hint(name, append(slices.Clone(heard), planned...))))
			case is:
				notes = append(notes, fmt.Sprintf("%s: %s is no node of the plan; did you mean %s?", at, name, near))
			case !slices.Contains(open, name):
				open = append(open, name)
			}
		}
		for j, u := range s.UPSes {
			for k, n := range u.Feeds {
				look(fmt.Sprintf("sites[%d].ups[%d].feeds[%d]", i, j, k), n)
			}
		}
		for j, stage := range c.Plan {
			for k, n := range stage.Hosts {
				if i == 0 {
					look(fmt.Sprintf("plan[%d].hosts[%d]", j, k), n)
				}
			}
		}
		if len(open) > 0 {
			notes = append(notes, fmt.Sprintf("sites[%d]: whether there is %s was not looked at, since %s names no nodes, and no brain runs here; once it runs, check-config asks it", i, strings.Join(open, ", "), s.Name))
		}
	}
	return notes
}
