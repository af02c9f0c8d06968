package sentinel_test

import "sentinel.home.arpa/cloud/internal/sentinel"

// checkCause proves that there is one incident of a kind at a site, that a record is told
// once, and that a blind brain blames and calls nobody.
func (h *history) checkCause(f sentinel.Fact) {
	blind := !h.mirror.Blind.IsZero()
	switch f := f.(type) {
	case *sentinel.IncidentBecame:
		for _, i := range h.mirror.OpenIncidents() {
			if i.Kind == f.Kind && i.Site == h.mirror.Incidents[f.ID].Site && i.ID != f.ID {
				h.fail("%s became another %s beside %s", f.ID, f.Kind, i.ID)
			}
		}
	case *sentinel.RecordTaken:
		times := 0 // as often as it was noted at that moment
		for _, n := range h.source(f.Pi).notes {
			if n.at.Equal(f.At) && n.UPS == f.UPS && n.Reading.Supply == f.Reading.Supply && n.Node == f.Node && n.Heard == f.Heard {
				times++
			}
		}
		for _, t := range h.mirror.Sites[f.Site].Taken {
			if t.Pi == f.Pi && t.At.Equal(f.At) && t.UPS == f.UPS && t.Supply == f.Reading.Supply && t.Node == f.Node && t.Heard == f.Heard {
				times--
			}
		}
		if times < 1 {
			h.fail("an entry of %s was taken in twice", f.Pi)
		}
	case *sentinel.SourceFailed, *sentinel.CallRequested, *sentinel.IncidentOpened:
		if blind {
			h.fail("%s while the brain is blind", f.FactName())
		}
	}
}
