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
				if site.Sources[n] != nil || was.names(sc.Name, n) {
					continue
				}
				d.emit(&SourceExpected{Site: sc.Name, Name: n, Role: of.role})
				site.Sources[n].expected = d.now
				site.lookAt(d.now)
			}
		}
		for _, n := range slices.Sorted(maps.Keys(site.Sources)) {
			if src := site.Sources[n]; src.Condition == Pending && !slices.Contains(sc.Nodes, n) && !slices.Contains(sc.Pis, n) {
				d.emit(&SourceForgotten{Site: sc.Name, Name: n})
			}
		}
	}
	d.takeRoles()
	d.forgetSites()
}

// takeRoles has sources be what the configuration says they are, also those that were known
// as something else: a Pi that is a node now counts as one.
func (d *decider) takeRoles() {
	for _, sc := range d.cfg.Sites {
		site := d.site(sc.Name)
		for _, of := range []struct {
			role  Role
			names []string
		}{{Node, sc.Nodes}, {Pi, sc.Pis}} {
			for _, n := range of.names {
				if src := site.Sources[n]; src != nil && src.Role != of.role {
					d.emit(&SourceExpected{Site: sc.Name, Name: n, Role: of.role})
				}
			}
		}
	}
}

// strange reports whether an input is of a site that is not configured, or no longer: a late
// word must not bring it back.
func (d *decider) strange(in Input) bool {
	site := ""
	switch in := in.(type) {
	case Heard:
		site = in.Site
	case Silent:
		site = in.Site
	case SystemState:
		site = in.Site
	case Announced:
		site = in.Site
	case Cloned:
		site = in.Site
	case UPSReported:
		site = in.Site
	case PiReported:
		site = in.Site
	case Recorded:
		site = in.Site
	case Arm:
		site = in.Site
	case Disarm:
		site = in.Site
	case RunAnswered:
		site = in.Site
	case RunSeen:
		site = in.Site
	default:
		return false // it makes no site
	}
	return d.cfg.site(site) == nil
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
