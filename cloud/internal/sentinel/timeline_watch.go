package sentinel

import (
	"fmt"
	"time"

	"sentinel.home.arpa/shared/power"
)

// sentenceOfWatch says how sources come to be watched, or not.
func sentenceOfWatch(f Fact, because func(what, why string) string) string {
	whose := func(site, name string) string {
		if name == "" {
			return "all of " + site
		}
		return name
	}
	switch f := f.(type) {
	case *Muted:
		return fmt.Sprintf("%s was muted by %s%s; its failures call nobody", f.Name, f.By, saidFor(f.For, f.Cut))
	case *Unmuted:
		if f.Waits {
			return because(f.Name+" is muted only until it is known why nothing is heard", f.Why)
		}
		return because(f.Name+" is no longer muted", f.Why)
	case *MaintenanceBegan:
		return fmt.Sprintf("%s was put into maintenance by %s%s; it may come and go", whose(f.Site, f.Name), f.By, saidFor(f.For, f.Cut))
	case *MaintenanceEnded:
		return because("the maintenance of "+whose(f.Site, f.Name)+" is over", f.Why)
	case *SourceDeleted:
		return fmt.Sprintf("%s was deleted by %s; it comes back if it is heard again", f.Name, f.By)
	case *SourceExpected:
		return fmt.Sprintf("%s %s is expected from now on", f.Role, f.Name)
	case *SourceForgotten:
		return f.Name + " is no longer expected"
	case *SiteForgotten:
		return f.Site + " is no longer configured"
	case *DirectLost:
		return fmt.Sprintf("%s is heard through %s alone", f.Name, f.Via)
	case *DirectBack:
		return f.Name + " is heard directly again"
	case *CloneSeen:
		return fmt.Sprintf("a second machine that calls itself %s is watched as %s", f.Name, f.As)
	}
	return ""
}

// saidFor says for how long; nothing of facts from before that was kept.
func saidFor(span time.Duration, cut bool) string {
	switch {
	case span == 0:
		return ""
	case cut:
		return " for " + power.Spell(span) + ", the longest there is"
	default:
		return " for " + power.Spell(span)
	}
}

// saidRecord says what a Pi saw while nothing was heard of it.
func saidRecord(f *RecordTaken) string {
	what := f.UPS + ": " + saidSupply(f.Reading.Supply) + saidBattery(f.Reading)
	switch {
	case f.UPS != "" && (f.Reading.Supply == power.Unknown || f.Reading.LostFor != nil):
		what = "contact with " + f.UPS + " was lost"
	case f.Called != "":
		what = f.Pi + " called " + f.Called + ": " + f.Why
	case f.UPS == "" && f.Node == f.Pi:
		what = f.Pi + " started"
	case f.UPS == "" && f.Heard:
		what = f.Node + " was heard again"
	case f.UPS == "":
		what = f.Node + " fell silent"
	}
	if f.AtLatest {
		what += ", then or before" // how long its Pi was off since, no clock tells
	}
	return what + " (as " + f.Pi + " noted while the brain could not hear it)"
}

// SiteOf is the site that a fact is about; empty if it does not say so itself.
func SiteOf(f Fact) string {
	switch f := f.(type) {
	case *BlindBegan:
		return f.Site
	case *KeyBound:
		return f.Site
	case *SourceAppeared:
		return f.Site
	case *SourceBack:
		return f.Site
	case *SourceFailed:
		return f.Site
	case *SourceLeft:
		return f.Site
	case *ShutdownAnnounced:
		return f.Site
	case *ShutdownCancelled:
		return f.Site
	case *SupplyChanged:
		return f.Site
	case *ContactLost:
		return f.Site
	case *ContactBack:
		return f.Site
	case *RecordTaken:
		return f.Site
	case *RecordComplete:
		return f.Site
	case *Muted:
		return f.Site
	case *Unmuted:
		return f.Site
	case *MaintenanceBegan:
		return f.Site
	case *MaintenanceEnded:
		return f.Site
	case *SourceDeleted:
		return f.Site
	case *SourceExpected:
		return f.Site
	case *SourceForgotten:
		return f.Site
	case *SiteForgotten:
		return f.Site
	case *DirectLost:
		return f.Site
	case *DirectBack:
		return f.Site
	case *CloneSeen:
		return f.Site
	case *IncidentOpened:
		return f.Site
	case *Noticed:
		return f.Site
	case *NoticeRequested:
		return f.Site
	case *PlanArmed:
		return f.Site
	case *PlanDisarmed:
		return f.Site
	case *RunStepped:
		return f.Site
	case *PiRunSeen:
		return f.Site
	}
	return ""
}
