package sentinel

import (
	"maps"
	"slices"
)

// configured lets another configuration take the place of the one before. What goes on
// goes on by the new one; a run keeps the plan that it began with (rule S10).
func (d *decider) configured(in Configured) {
	was := d.cfg
	d.cfg = in.Config
	if in.Notice != "" {
		d.emit(&Noticed{Text: in.Notice})
	}
	for _, sc := range d.cfg.Sites {
		site := d.site(sc.Name)
		for _, of := range []struct {
			role  Role
			names []string
		}{{Node, sc.Nodes}, {Pi, sc.Pis}} {
			for _, n := range of.names {
				// Who was named before and is not known was deleted, and stays so until it is heard.
				if src := site.Sources[n]; src == nil && !was.names(sc.Name, n) || src != nil && src.Condition == Pending && src.Role != of.role {
					d.emit(&SourceExpected{Site: sc.Name, Name: n, Role: of.role})
					site.Sources[n].expected = d.now
					site.lookAt(d.now)
				}
			}
		}
		for _, n := range slices.Sorted(maps.Keys(site.Sources)) {
			if src := site.Sources[n]; src.Condition == Pending && !slices.Contains(sc.Nodes, n) && !slices.Contains(sc.Pis, n) {
				d.emit(&SourceForgotten{Site: sc.Name, Name: n})
			}
		}
	}
	d.forgetSites()
}

// forgetSites lets go of what is no longer configured: nobody wants to hear of it.
func (d *decider) forgetSites() {
	for _, name := range slices.Sorted(maps.Keys(d.Sites)) {
		if d.cfg.site(name) != nil {
			continue
		}
		for _, i := range d.OpenIncidents() {
			if i.Site == name {
				d.emit(&IncidentResolved{ID: i.ID, Why: name + " is no longer configured"})
				d.dropAll(i, name+" is no longer configured")
			}
		}
		d.emit(&SiteForgotten{Site: name})
	}
}
