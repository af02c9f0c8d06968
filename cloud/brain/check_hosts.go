package brain

import (
	"fmt"
	"slices"

	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/wire"
)

// hostsAlone reports whether the plan shuts nothing of Proxmox down.
func (c *Config) hostsAlone() bool {
	return len(c.Plan) > 0 && !slices.ContainsFunc(c.Plan, func(s Stage) bool { return len(s.Hosts) == 0 || s.Guests != nil || len(s.Nodes) > 0 })
}

// checkHosts is about the plan's Linux hosts.
func (c *Config) checkHosts(f *config.File) []error {
	var errs []error
	seen := map[string]int{}
	for i, s := range c.Plan {
		for j, name := range s.Hosts {
			at := fmt.Sprintf("plan[%d].hosts[%d]", i, j)
			first, dup := seen[name]
			switch err := wire.ValidName(name); {
			case err != nil:
				errs = append(errs, f.Errorf(at, "%s", err))
			case dup:
				errs = append(errs, f.Errorf(at, "%s is taken down in stage %d already; remove it from one of the two", name, first+1))
			case c.planNode(name):
				errs = append(errs, f.Errorf(at, "%s is a Proxmox node of the plan; remove it here, its API shuts it down", name))
			case !c.mayBeNode(name):
				errs = append(errs, f.Errorf(at, "%q is not among the nodes of %s; add it there, or correct the name", name, c.Sites[0].Name))
			}
			seen[name] = i
		}
	}
	return errs
}

func (c *Config) planNode(name string) bool {
	return slices.ContainsFunc(c.Plan, func(s Stage) bool { _, is := s.Nodes[name]; return is })
}

// mayBeNode reports whether the site, which names some nodes, names this one.
func (c *Config) mayBeNode(name string) bool {
	if len(c.Sites) == 0 || len(c.Sites[0].Nodes) == 0 {
		return true
	}
	return slices.ContainsFunc(c.Sites[0].Nodes, func(p Peer) bool { return p.Name == name })
}
