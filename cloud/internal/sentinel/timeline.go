package sentinel

import (
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// When is the moment that a fact tells of: that of its entry, or for what a Pi recorded, of
// when it happened (rule N7).
func When(f Fact, at time.Time) time.Time {
	if r, ok := f.(*RecordTaken); ok {
		return r.At
	}
	return at
}

// Sentence says a fact as the timeline shows it: what, and because of what. It is empty
// for facts that are bookkeeping.
func Sentence(f Fact) string {
	because := func(what, why string) string {
		if why == "" {
			return what
		}
		return what + ", because " + why
	}
	via := func(what, pi string) string {
		if pi == "" {
			return what
		}
		return what + " (through " + pi + ")"
	}
	switch f := f.(type) {
	case *BrainStarted:
		return "the brain started; every silence is counted anew"
	case *BrainPaused:
		return fmt.Sprintf("the brain had stood still for %s; every silence is counted anew", power.Spell(f.For))
	case *BlindBegan:
		return because("the brain is offline itself and blames nobody", f.Why)
	case *BlindEnded:
		return "the brain is online again; it was blind for " + power.Spell(f.For)
	case *KeyBound:
		if f.By != "" {
			return fmt.Sprintf("%s approved %s, which is now known by the key %s", f.By, f.Name, f.Key)
		}
		return fmt.Sprintf("%s is now known by its key", f.Name)
	case *SourceAppeared:
		return via(fmt.Sprintf("%s %s is here", f.Role, f.Name), f.Via)
	case *SourceBack:
		if f.Away == 0 {
			return via(f.Name+" has booted", f.Via)
		}
		return via(fmt.Sprintf("%s is back after %s", f.Name, power.Spell(f.Away)), f.Via)
	case *SourceFailed:
		if f.Incident != "" {
			return because(f.Name+" is out of reach", f.Why)
		}
		return because(f.Name+" failed", f.Why)
	case *SourceLeft:
		return because(f.Name+" is off as planned", f.Why)
	case *ShutdownAnnounced:
		text := via(fmt.Sprintf("%s announced its %s", f.Name, f.Kind), f.Via)
		if f.Age.Seconds() >= 2 {
			text += fmt.Sprintf(" %s ago", power.Spell(f.Age))
		}
		if f.Ahead {
			text += "; it counts once a heartbeat of that boot is heard"
		}
		return text
	case *ShutdownCancelled:
		return because(f.Name+" does not shut down after all", f.Why)
	case *SupplyChanged:
		return fmt.Sprintf("%s: %s%s", f.UPS, saidSupply(f.Supply), saidBattery(f.Reading))
	case *ContactLost:
		return because("contact with "+f.UPS+" is lost", f.Why)
	case *ContactBack:
		return f.UPS + " is heard again"
	case *RecordTaken:
		return saidRecord(f)
	default:
		if text := sentenceOfWatch(f, because); text != "" {
			return text
		}
		return sentenceOfIncident(f, because)
	}
}

func sentenceOfIncident(f Fact, because func(what, why string) string) string {
	switch f := f.(type) {
	case *IncidentOpened:
		if f.Kind == Unwatched {
			return f.Why // says it all
		}
		what := saidKind(f.Kind)
		if f.Site != "" {
			what += " at " + f.Site
		}
		return because(what, f.Why)
	case *IncidentReopened:
		return because(f.ID+" goes on", f.Why)
	case *IncidentJoined:
		return because(f.Node+" is part of "+f.ID, f.Why)
	case *IncidentLeft:
		return because(f.Node+" is no longer part of "+f.ID, f.Why)
	case *IncidentAnswered:
		return because(f.ID+" is known", f.Why)
	case *IncidentResolved:
		return because(f.ID+" is over", f.Why)
	case *IncidentWithdrawn:
		return f.ID + " withdrawn: " + f.Why
	case *IncidentWorse:
		return because(f.ID+" got worse", f.Why)
	case *IncidentReminded:
		return because("a reminder of "+f.ID, f.Why)
	case *IncidentBecame:
		return because(fmt.Sprintf("%s is a %s", f.ID, saidKind(f.Kind)), f.Why)
	case *Noticed:
		return f.Text
	case *CallRequested:
		return because("calling "+f.Contact, f.Why)
	case *CallEnded:
		if f.Delivered {
			return "the call was taken by a person"
		}
		return "the call was not taken: " + f.Outcome
	case *CallDropped:
		return because("the call is taken back", f.Why)
	case *PlanArmed:
		return "the plan was armed by " + f.By
	case *PlanDisarmed:
		return "the plan was disarmed by " + f.By
	case *RunStepped:
		return sentenceOfRun(f.Event)
	case *PiRunSeen:
		return fmt.Sprintf("%s runs the plan itself: %s, stage %d, %s", f.Pi, f.Run.State, f.Run.Stage+1, saidTargets(f.Run.Targets))
	}
	return ""
}

func sentenceOfRun(e shutdown.Event) string {
	listing := strings.HasPrefix(e.Target, string(shutdown.Listing))
	switch e.Type {
	case shutdown.Began:
		text := "the plan begins, because " + e.Run.Reason
		if e.Run.DryRun {
			text += "; it is not armed, so nothing is really shut down"
		}
		return text
	case shutdown.StageBegan:
		return fmt.Sprintf("stage %d of %d: %s, at most %s", e.Stage+1, e.Stages, saidStage(e.Targets), power.Spell(e.Deadline))
	case shutdown.Found:
		return fmt.Sprintf("on %s run %s", e.Name, saidGuests(e.Targets))
	case shutdown.Sent:
		if listing || e.Again {
			return "" // its answer is told, and if it is another than before
		}
		return "telling " + e.Name + " to shut down"
	case shutdown.Refused:
		if e.Again {
			return "" // said once
		}
		switch {
		case listing:
			return "which guests run on " + e.Name + " is not known yet: " + e.Why
		case e.Undone:
			return e.Name + " took the command, and " + e.Why
		}
		return e.Name + " did not accept: " + e.Why
	case shutdown.Accepted:
		if e.Again {
			return e.Name + " has accepted by now"
		}
	case shutdown.WentDown:
		return fmt.Sprintf("%s is down: %s", e.Name, e.Why)
	case shutdown.Skipped:
		return e.Name + " would be shut down now"
	case shutdown.Late:
		return e.Name + " was not down at its deadline"
	case shutdown.Ended:
		return "the plan is through"
	case shutdown.Aborted:
		return "the plan stops here, because " + e.Why
	}
	return "" // accepted, or the end of a stage: the next entry tells
}

func saidStage(ts []shutdown.Target) string {
	var names []string
	for _, t := range ts {
		if t.Kind == shutdown.Listing {
			return "all guests"
		}
		names = append(names, t.Said())
	}
	return list(names)
}

func saidGuests(ts []shutdown.Target) string {
	if len(ts) == 0 {
		return "no guests"
	}
	var names []string
	for _, t := range ts {
		names = append(names, t.Said())
	}
	if len(ts) == 1 {
		return "one guest: " + names[0]
	}
	return fmt.Sprintf("%d guests: %s", len(ts), list(names))
}

func saidTargets(ts []shutdown.Outcome) string {
	n := map[string]int{}
	for _, t := range ts {
		n[t.State]++
	}
	return fmt.Sprintf("%d down, %d told, %d to come", n["down"], n["told"], n["pending"])
}

func saidKind(k IncidentKind) string {
	switch k {
	case PowerOutage:
		return "power outage"
	case InternetOutage:
		return "internet outage"
	case Unwatched:
		return "nobody watches the power"
	case TailnetDown:
		return "Tailscale out of reach"
	default:
		return "failure"
	}
}

func saidSupply(s power.Supply) string {
	switch s {
	case power.Battery:
		return "on battery"
	case power.Mains:
		return "on mains"
	case power.SelfTest:
		return "self-test, on battery for a moment"
	case power.Calibrates:
		return "calibrating, on battery by its own wish"
	case power.Unknown:
		return "supply not known any more"
	default:
		return string(s)
	}
}

func saidBattery(r power.Reading) string {
	text := ""
	if r.Charge != nil {
		text += fmt.Sprintf(", %.0f %%", *r.Charge*100)
	}
	if r.Runtime != nil {
		text += ", " + power.Spell(r.Runtime.Duration())
	}
	return text
}
