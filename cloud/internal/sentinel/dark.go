package sentinel

import (
	"encoding/json"
	"slices"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// cutUPSes are the names of UPSes whose output was cut, in order.
type cutUPSes []string

// UnmarshalJSON also takes a single name, as it was written when a site had but one.
func (c *cutUPSes) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) != nil {
		return json.Unmarshal(text, (*[]string)(c))
	}
	*c = nil
	if one != "" {
		*c = cutUPSes{one}
	}
	return nil
}

func (c cutUPSes) without(ups string) (rest cutUPSes) {
	for _, n := range c {
		if n != ups {
			rest = append(rest, n)
		}
	}
	return rest
}

// cutting takes a Pi's last word, that it has its UPS's output cut: what hangs on it goes dark
// as planned, and nobody is called about that (rule G4). A Pi that goes on reporting a UPS on
// battery has not, and mains end it in any case.
func (d *decider) cutting(in UPSReported) {
	site := d.site(in.Site)
	switch {
	case !in.Reading.OnBattery():
	case in.Cutting && !slices.Contains(site.Cut, in.UPS):
		cut := &OutputCut{Site: in.Site, UPS: in.UPS, Pi: in.Pi}
		if i := d.open(in.Site, PowerOutage); i != nil {
			cut.Incident = i.ID
		}
		d.emit(cut)
		d.emit(&Noticed{Site: in.Site, Incident: cut.Incident, Text: saidCut(site, in.UPS), Severity: routing.Warning})
	case !in.Cutting && slices.Contains(site.Cut, in.UPS):
		d.emit(&OutputKept{Site: in.Site, UPS: in.UPS, Pi: in.Pi})
	}
}

func (s *State) evolveCut(f Fact) {
	switch f := f.(type) {
	case *OutputCut:
		site := s.site(f.Site)
		site.Cut = append(site.Cut.without(f.UPS), f.UPS)
		slices.Sort(site.Cut)
	case *OutputKept:
		site := s.site(f.Site)
		site.Cut = site.Cut.without(f.UPS)
	case *SupplyChanged:
		if site := s.site(f.Site); f.Supply != power.Battery {
			site.Cut = site.Cut.without(f.UPS)
		}
	}
}

// darkAsPlanned reports whether all UPSes of a site that are on battery were cut off. Of one that
// was not, what gets worse is told.
func (s *Site) darkAsPlanned() bool {
	for _, u := range s.UPSes {
		if u.Supply == power.Battery && !slices.Contains(s.Cut, u.Name) {
			return false
		}
	}
	return len(s.Cut) > 0
}

// saidCut tells of an output that was cut.
func saidCut(site *Site, ups string) string {
	if site.darkAsPlanned() {
		return site.Name + " goes dark, as planned; what hangs on " + ups + " starts when the power is back"
	}
	return "what hangs on " + ups + " goes dark, as planned, and starts when the power is back"
}

// darkAsPlanned reports whether an incident is that of a site that was cut off.
func (d *decider) darkAsPlanned(i *Incident) bool {
	site := d.Sites[i.Site]
	return i.Kind == PowerOutage && site != nil && site.darkAsPlanned()
}

// saidDark tells that a site whose power is out fell silent, and gives the reason (rules N2, G4).
func (d *decider) saidDark(site *Site, i *Incident) (why string) {
	if site.darkAsPlanned() {
		why = "the output of " + list(site.Cut) + " was cut"
		d.emit(&Noticed{Site: site.Name, Incident: i.ID, Text: site.Name + " is dark, as planned: " + why, Severity: routing.Warning})
		return why + ", as planned"
	}
	d.emit(&Noticed{Site: site.Name, Incident: i.ID, Text: site.Name + " went dark: the last word was that it is on battery", Severity: routing.Critical})
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
