package sentinel

import (
	"fmt"
	"strings"

	"sentinel.home.arpa/shared/routing"
)

// aboutFit begins the subject of whether an armed plan would do its work.
const aboutFit = "armed plan of "

// fitMost bounds what is kept and told of why it would not.
const fitMost = 600

// planLooked says once that an armed plan would not do its work, and why, and once that it would again (rule S7).
// A certificate that was renewed or a token that has expired would else show in the outage alone.
func (d *decider) planLooked(in PlanLooked) {
	site := d.Sites[in.Site]
	if site == nil || !site.Armed {
		return
	}
	n := &Noticed{Site: in.Site, About: aboutFit + in.Site, As: bounded(strings.Join(in.Refusals, "; "), fitMost), Kind: KindPlan, Severity: routing.Critical}
	if d.Told[n.About] == n.As {
		return
	}
	n.Text = saidUnfit(in.Site, n.As)
	if n.As == "" {
		n.Over, n.Severity, n.Text = true, routing.Warning, fmt.Sprintf("the plan at %s would do its work again", in.Site)
	}
	d.emit(n)
}

func saidUnfit(site, why string) string {
	return fmt.Sprintf("the plan at %s is armed, and would not do all its work: %s", site, why)
}

func bounded(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// Unfit is why the armed plan of a site would not do its work, as a sentence; empty: nothing is known against it.
func (s *State) Unfit(site string) string {
	why := s.Told[aboutFit+site]
	if st := s.Sites[site]; why == "" || st == nil || !st.Armed {
		return ""
	}
	return saidUnfit(site, why)
}
