package brain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
)

// simulatedAtMost is for how long a simulated outage is looked at before the plan begins.
const simulatedAtMost = 24 * time.Hour

var (
	errWhichUPS  = errors.New("there are several UPSes")
	errNoUPS     = errors.New("no UPS is known")
	errRuntime   = errors.New("runtime must be a time up to 24 hours")
	errPercent   = errors.New("charge must be a percentage from 0% to 100%")
	errNoOutcome = errors.New("the plan would not begin within 24 h of battery")
)

// simulatedPlan is what the policy would do with a UPS whose mains go now.
type simulatedPlan struct {
	At      time.Time      `json:"at"`
	Site    string         `json:"site"`
	UPS     string         `json:"ups,omitempty"`
	Runtime *time.Duration `json:"runtime_ns,omitempty"`
	Charge  *float64       `json:"charge_ratio,omitempty"`
	Begins  time.Duration  `json:"begins_ns"`
	Because string         `json:"because"`
	Urgent  bool           `json:"urgent,omitempty"` // the Pi waits for the brain for 2 s, not 10 s
	forecast
	StayOn []string      `json:"stay_on,omitempty"` // the machines that this UPS alone does not call for
	Ends   time.Duration `json:"ends_ns"`           // at the latest
	Armed  bool          `json:"armed"`
	Lasts  string        `json:"lasts"` // yes, no, unknown
	Text   string        `json:"text"`
}

func (b *Brain) planSimulate(_ context.Context, r *http.Request) (any, error) {
	sc, v := b.planned(), b.page()
	switch {
	case sc == nil:
		return nil, errWithoutPlan()
	case v == nil:
		return nil, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errNoView}
	}
	var site web.Site
	for _, s := range v.Sites {
		if s.Name == sc.Name {
			site = s
		}
	}
	p, err := supposed(site, r.URL.Query())
	if err != nil {
		return nil, err
	}
	p.At, p.Site, p.Armed = b.machine.wall(), sc.Name, site.Armed
	begins, verdict := outageOf(p.Runtime, p.Charge, sc.Policy, sc.Plan.Need())
	if !verdict.Start {
		return nil, &courier.Fault{Status: http.StatusConflict, Reason: "never", Err: errNoOutcome}
	}
	called := calledBy(*sc.Plan, sc.Policy, p.UPS)
	if p.StayOn = stayOn(*sc.Plan, called); called != nil && len(called) == 0 {
		return nil, &courier.Fault{Status: http.StatusConflict, Reason: "nobody", Err: fmt.Errorf("%s alone calls for no machine of the plan", p.UPS), Hint: "see feeds: and any_ups: in cloud.yaml"}
	}
	p.Begins, p.Because, p.Urgent, p.Ends = begins, verdict.Reason, verdict.Urgent, begins+sc.Plan.Need()
	if p.forecast, err = b.foresee(r.Context(), *sc, begins, called); err != nil {
		return nil, err
	}
	if n := len(p.Stages); called != nil && n > 0 {
		p.Ends = p.Stages[n-1].Ends
	}
	p.lasts(*sc)
	return p, nil
}

// supposed is the UPS to simulate: as it was last heard of, but for what is asked.
func supposed(site web.Site, q url.Values) (p simulatedPlan, err error) {
	bad := func(err error, hint string) error {
		return &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: err, Hint: hint}
	}
	var names []string
	for _, u := range site.UPSes {
		names = append(names, u.Name)
		if name := q.Get("ups"); name == u.Name || name == "" && len(site.UPSes) == 1 {
			p.UPS, p.Runtime, p.Charge = u.Name, u.Runtime, u.Charge
		}
	}
	switch name := q.Get("ups"); {
	case p.UPS != "":
	case name != "":
		return p, &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("there is no UPS %.80q", name), Hint: hint(name, names)}
	case len(names) > 1:
		return p, bad(errWhichUPS, hint("", names))
	case !q.Has("runtime") && !q.Has("charge"):
		return p, bad(errNoUPS, "say how long its battery lasts, such as --runtime 9m")
	}
	if text := q.Get("runtime"); q.Has("runtime") {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() > simulatedAtMost {
			return p, bad(fmt.Errorf("%w, not %.40q", errRuntime, text), "write 90s, 9m or 1h30m")
		}
		p.Runtime = new(d.Std())
	}
	if text := q.Get("charge"); q.Has("charge") {
		var c config.Percent
		if err := c.UnmarshalText([]byte(text)); err != nil {
			return p, bad(fmt.Errorf("%w, not %.40q", errPercent, text), "write 40%")
		}
		p.Charge = new(c.Ratio())
	}
	return p, nil
}

// outageOf lets the mains go, and tells when the policy begins the plan, and why. The battery
// drains evenly until its runtime is over.
func outageOf(runtime *time.Duration, charge *float64, p power.Policy, need time.Duration) (time.Duration, power.Verdict) {
	const poll = time.Second
	var t power.Tracker
	begun := time.Unix(0, 0)
	none, one := 0, 1
	at := func(out time.Duration) power.Status {
		s := power.Status{Flags: power.OnBattery, Transfers: &one, LastTransfer: "Unacceptable line voltage changes"}
		if runtime != nil {
			s.Runtime = new(power.InSeconds(max(*runtime-out, 0)))
		}
		if charge != nil {
			s.Charge = new(*charge)
			if runtime != nil && *runtime > 0 {
				*s.Charge = max(*charge*(1-out.Seconds()/runtime.Seconds()), 0)
			}
		}
		return s
	}
	for before := -5 * poll; before < 0; before += poll {
		s := at(0)
		s.Flags, s.Transfers = power.Online, &none
		t.Observe(begun.Add(before), s)
	}
	for out := time.Duration(0); out <= simulatedAtMost; out += poll {
		v := p.Decide(t.Observe(begun.Add(out), at(out)), need)
		if v.Start {
			return out, v
		}
		if v.In > 0 && v.In < poll { // between two polls
			out += v.In - poll
		}
	}
	return 0, power.Verdict{}
}

// lasts says whether the battery lasts until the plan is through.
func (p *simulatedPlan) lasts(sc sentinel.SiteConfig) {
	p.Lasts = unknownLasts
	if p.Runtime == nil {
		p.Text = fmt.Sprintf("how long the battery lasts is not known; the plan is through after %s at the latest", exactly(p.Ends))
		return
	}
	left := *p.Runtime - p.Ends
	p.Text = fmt.Sprintf("the battery lasts for %s, and the plan is through after %s at the latest: ", exactly(*p.Runtime), exactly(p.Ends))
	switch {
	case left < 0:
		p.Lasts = tooShort
		p.Text += fmt.Sprintf("if every stage takes all its time, the battery is empty %s too early", exactly(-left))
	case left < sc.Policy.RuntimeMargin:
		p.Lasts = tooShort
		p.Text += fmt.Sprintf("%s would be left, less than the %s to spare", exactly(left), exactly(sc.Policy.RuntimeMargin))
	default:
		p.Lasts = longEnough
		p.Text += exactly(left) + " would be left"
	}
}
