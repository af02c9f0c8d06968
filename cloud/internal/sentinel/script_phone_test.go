package sentinel_test

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// configurePhone lets a story have a phone that tests itself each day.
func (w *world) configurePhone(a args) {
	if a.has("drill") { // Sundays at 18:00; stories begin on a Saturday
		w.cfg.Drill = &sentinel.Weekly{Day: time.Sunday, At: 18 * time.Hour}
	}
	if a.has("self-test") {
		w.cfg.Phone, w.cfg.SelfTestEach, w.cfg.FewCalls = "phone-1", 24*time.Hour, sentinel.DefaultFewCalls
	}
}

// doPhone is what the phone's provider says when asked. Words are joined by dashes.
func (w *world) doPhone(verb string, a args) error {
	said := func(key string) string { return strings.ReplaceAll(a.set[key], "-", " ") }
	switch verb {
	case "self-test": // asks, if the state wants it: self-test calls=40, or self-test unclear why=...
		if !w.state.WantsSelfTest() {
			w.printed = append(w.printed, "none is due")
			return nil
		}
		in := sentinel.PhoneTested{Phone: w.cfg.Phone, Why: said("why"), Advice: said("advice"), Unclear: a.has("unclear"), Trial: a.has("trial")}
		if n, err := strconv.Atoi(a.set["calls"]); err == nil {
			in.Calls, in.Credit = &n, a.set["credit"]+" USD"
		}
		w.step(in)
	case "late-self-test": // of the phone before
		w.step(sentinel.PhoneTested{Phone: "phone-0", Why: said("why")})
	case "test-call":
		if held := w.state.TestHeld(w.now, a.name()); held != "" {
			w.printed = append(w.printed, held)
		}
		w.step(sentinel.TestCall{Contact: a.name(), By: "the operator"})
	case "pinged":
		w.step(sentinel.Pinged{Why: said("why")})
	case "new-phone":
		w.cfg.Phone += "'"
		w.step(sentinel.Configured{Config: w.cfg})
	case "call-late":
		calls := w.state.OpenCalls()
		if len(calls) == 0 {
			return errors.New("nobody is being called")
		}
		w.step(sentinel.CallIsLate{Call: calls[0].ID, Why: said("why"), Advice: said("advice")})
	case "call-refused":
		calls := w.state.OpenCalls()
		if len(calls) == 0 {
			return errors.New("nobody is being called")
		}
		w.step(sentinel.CallHasEnded{Call: calls[0].ID, Outcome: said("why"), Refused: true, Advice: said("advice"), OfNumber: a.has("of-number")})
	default:
		return errUnknown
	}
	return nil
}

// configureDigest has people told how all was: digest=daily or digest=mon, at=8h.
func (w *world) configureDigest(a args) error {
	every := a.set["digest"]
	if every == "" {
		return nil
	}
	at, err := a.duration("at")
	if err != nil {
		return err
	}
	w.cfg.Digest = &sentinel.Digest{Daily: every == "daily", Weekly: sentinel.Weekly{Day: time.Monday, At: at}}
	return nil
}
