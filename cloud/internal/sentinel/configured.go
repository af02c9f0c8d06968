package sentinel

import (
	"maps"
	"slices"
)

// configured lets another configuration take the place of the one before. What goes on
// goes on by the new one; a run keeps the plan that it began with (rule S10).
func (d *decider) configured(in Configured) {
	d.tested = d.tested && d.cfg.Phone == in.Config.Phone
	d.cfg = in.Config
	if in.Notice != "" {
		d.emit(&Noticed{Text: in.Notice})
	}
	d.reconcile()
}

// reconcile has what is known agree with the configuration, whether that was read again or
// is another one than before the start. Sources are expected, or are so no longer, and are
// what it says, also those that were known as something else: a Pi that is a node now counts
// as one. Who was deleted stays so until it is heard, or listed anew.
func (d *decider) reconcile() {
	for n := range d.cfg.Sites {
		sc := &d.cfg.Sites[n]
		site := d.site(sc.Name)
		for name, role := range sc.sources() {
			switch src := site.Sources[name]; {
			case src == nil && !site.Deleted[name]:
				d.emit(&SourceExpected{Site: sc.Name, Name: name, Role: role})
				site.Sources[name].expected = d.now
				site.lookAt(d.now)
			case src != nil && src.Role != role:
				d.emit(&SourceExpected{Site: sc.Name, Name: name, Role: role})
			}
		}
		known := slices.AppendSeq(slices.Collect(maps.Keys(site.Sources)), maps.Keys(site.Deleted))
		slices.Sort(known)
		for _, name := range known {
			if src := site.Sources[name]; !sc.lists(name) && (src == nil || src.Condition == Pending && !src.bootsSoon(d.now)) {
				d.emit(&SourceForgotten{Site: sc.Name, Name: name})
			}
		}
		for _, ups := range slices.Sorted(maps.Keys(site.UPSes)) {
			d.takenOut(sc, site, site.UPSes[ups])
		}
	}
	d.forgetSites()
	d.dropStrangers()
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
