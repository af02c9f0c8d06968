package sentinel

import (
	"cmp"
	"fmt"
	"slices"
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
		text := fmt.Sprintf("%s: %s%s", f.UPS, saidSupply(f.Supply), saidBattery(f.Reading))
		if f.From != "" {
			text += fmt.Sprintf("; the word of %s counts from now on, no longer that of %s", f.Pi, f.From)
		}
		return because(text, f.Why)
	case *ContactLost:
		return because("contact with "+f.UPS+" is lost", f.Why)
	case *ContactBack:
		return f.UPS + " is heard again"
	case *RecordTaken:
		return saidRecord(f)
	case *OutputCut, *OutputKept:
		return sentenceOfCut(f)
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
	case *CallLate:
		return fmt.Sprintf("the call to %s cannot be placed yet: %s", f.Contact, withAdvice(f.Why, f.Advice))
	case *CallEnded:
		switch {
		case f.Delivered:
			return "the call was taken by a person"
		case strings.Contains(f.Outcome, "taken by "): // a mailbox, or somebody who did not listen
			return "no person took the call: " + f.Outcome
		}
		return "the call was not taken: " + f.Outcome
	case *SelfTested:
		return sentenceOfSelfTest(f)
	case *KeyPressed:
		return sentenceOfKey(f)
	case *CallDropped:
		return because("the call is taken back", f.Why)
	case *CallHeld:
		return because(f.Contact+" is not called now", f.Why)
	case *NoticeRequested, *NoticeEnded, *NoticesCounted, *ChannelFailing, *ChannelWorks, *ChannelTried, *DigestMade:
		return sentenceOfNotice(f, because)
	case *PlanArmed:
		return "the plan was armed by " + f.By
	case *PlanDisarmed:
		return "the plan was disarmed by " + f.By
	case *PlanStopped, *StopEnded, *NetworkSaid, *LeftOff:
		return sentenceOfStop(f)
	case *RunStepped:
		return sentenceOfRun(f.Event)
	case *PiRunSeen:
		return saidPiRun(f)
	}
	return ""
}

// saidPiRun says how a Pi's run stands; with its first word also why it is.
func saidPiRun(f *PiRunSeen) string {
	what := f.Pi + " runs the plan itself"
	if f.TakesUp {
		what = f.Pi + " takes the plan over from the brain"
	}
	if f.New && f.Run.Reason != "" {
		what += ", because " + f.Run.Reason
	}
	return fmt.Sprintf("%s: %s, stage %d, %s", what, f.Run.State, f.Run.Stage+1, saidTargets(f.Run.Targets))
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
	case shutdown.Called, shutdown.LeftOn:
		return sentenceOfScope(e)
	case shutdown.StageBegan:
		back := ""
		if e.Again {
			back = "back to "
		}
		return fmt.Sprintf("%sstage %d of %d: %s, at most %s", back, e.Stage+1, e.Stages, saidStage(e.Targets, e.Name), power.Spell(e.Deadline))
	case shutdown.Found:
		switch {
		case e.Again && len(e.Targets) == 0:
			return "" // asked anew, and nothing new
		case e.Again:
			return fmt.Sprintf("on %s run now too %s", e.Name, saidGuests(e.Targets))
		case len(e.Targets) == 0 && e.Why != "":
			return fmt.Sprintf("on %s run no %s", e.Name, strings.TrimPrefix(e.Why, "all "))
		}
		return fmt.Sprintf("on %s run %s", e.Name, saidGuests(e.Targets))
	case shutdown.Moved:
		return fmt.Sprintf("%s is sought on the other nodes: %s", e.Name, e.Why)
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
		if e.Why != "" {
			return e.Name + " is left out: " + e.Why
		}
		return e.Name + " would be shut down now"
	case shutdown.Late:
		return e.Name + " was not down at its deadline"
	case shutdown.Ended:
		return saidEnd(e)
	case shutdown.Aborted:
		return "the plan stops here, because " + e.Why
	case shutdown.PowerJoined, shutdown.PowerLeft:
		return sentenceOfCause(e)
	}
	return sentenceOfPutBack(e) // accepted, or the end of a stage: the next entry tells
}

// saidEnd says that a run is through, and who it did not see go down.
func saidEnd(e shutdown.Event) string {
	missed := e.Targets
	switch {
	case e.Why == shutdown.Rehearsed:
		return "the plan is through; it was a dry run, so nothing was shut down"
	case len(missed) == 0:
		return "the plan is through"
	case len(missed) == 1:
		return "the plan has run; " + saidStage(missed, "") + " was not seen to go down"
	default:
		return "the plan has run; " + saidStage(missed, "") + " were not seen to go down"
	}
}

// saidStage names what goes down together; guests is how those are called, if not all are meant.
func saidStage(ts []shutdown.Target, guests string) string {
	var names []string
	for _, t := range ts {
		name := t.Said()
		if t.Kind == shutdown.Listing {
			name = cmp.Or(guests, "all guests")
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
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
	text := fmt.Sprintf("%d down, %d told, %d to come", n["down"], n["told"], n["pending"])
	if n[shutdown.StaysOn] > 0 {
		text += fmt.Sprintf(", %d left on", n[shutdown.StaysOn])
	}
	if n[shutdown.Back] > 0 {
		text += fmt.Sprintf(", %d started again", n[shutdown.Back])
	}
	if n[shutdown.NotBack] > 0 {
		text += fmt.Sprintf(", %d not started again", n[shutdown.NotBack])
	}
	return text
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
