package sentinel

import "sentinel.home.arpa/shared/power"

// cutting takes a Pi's last word, that it has its UPS's output cut: what hangs on it goes dark
// as planned, and nobody is called about that (rule G4). A Pi that goes on reporting a UPS on
// battery has not, and mains end it in any case.
func (d *decider) cutting(in UPSReported) {
	site := d.site(in.Site)
	switch {
	case !in.Reading.OnBattery():
	case in.Cutting && site.Cut != in.UPS:
		cut := &OutputCut{Site: in.Site, UPS: in.UPS, Pi: in.Pi}
		if i := d.open(in.Site, PowerOutage); i != nil {
			cut.Incident = i.ID
		}
		d.emit(cut)
		d.emit(&Noticed{Site: in.Site, Incident: cut.Incident, Text: in.Site + " goes dark, as planned; what hangs on " + in.UPS + " starts when the power is back"})
	case !in.Cutting && site.Cut == in.UPS:
		d.emit(&OutputKept{Site: in.Site, UPS: in.UPS, Pi: in.Pi})
	}
}

func (s *State) evolveCut(f Fact) {
	switch f := f.(type) {
	case *OutputCut:
		s.site(f.Site).Cut = f.UPS
	case *OutputKept:
		s.site(f.Site).Cut = ""
	case *SupplyChanged:
		if site := s.site(f.Site); site.Cut == f.UPS && f.Supply != power.Battery {
			site.Cut = ""
		}
	}
}

// darkAsPlanned reports whether an incident is that of a site whose UPS was cut off.
func (d *decider) darkAsPlanned(i *Incident) bool {
	site := d.Sites[i.Site]
	return i.Kind == PowerOutage && site != nil && site.Cut != ""
}

// saidDark tells that a site whose power is out fell silent, and gives the reason (rules N2, G4).
func (d *decider) saidDark(site *Site, i *Incident) (why string) {
	if site.Cut != "" {
		why = "the output of " + site.Cut + " was cut"
		d.emit(&Noticed{Site: site.Name, Incident: i.ID, Text: site.Name + " is dark, as planned: " + why})
		return why + ", as planned"
	}
	d.emit(&Noticed{Site: site.Name, Incident: i.ID, Text: site.Name + " went dark: the last word was that it is on battery"})
	return "the site went dark while on battery"
}

func sentenceOfCut(f Fact) string {
	switch f := f.(type) {
	case *OutputCut:
		return f.Pi + " has the output of " + f.UPS + " cut, as the last thing that it does"
	case *OutputKept:
		return f.Pi + " is still on, so the output of " + f.UPS + " was not cut"
	}
	return ""
}
