package brain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// listWithin bounds the question to the nodes which guests run on them.
const listWithin = 8 * time.Second

var errAsked = errors.New("somebody else is asking the plan's machines just now")

// shownPlan is what would happen if the power went now.
type shownPlan struct {
	At    time.Time     `json:"at"`
	Site  string        `json:"site"`
	Ride  time.Duration `json:"ride_through_ns"`
	Need  time.Duration `json:"need_ns"`   // from the first command to the last machine down, at most
	Spare time.Duration `json:"margin_ns"` // that the battery must last for beyond that
	forecast
	UPSes []shownUPS `json:"upses"`
	Fed   []string   `json:"fed,omitempty"` // what stays on if a UPS alone is out

	Armed         bool     `json:"armed"`
	ArmingUnknown bool     `json:"arming_unknown,omitempty"`
	Unconfirmed   []string `json:"unconfirmed_by,omitempty"`
	Pis           []string `json:"pis"`
	StoppedBy     string   `json:"stopped_by,omitempty"`
	StoppedFor    string   `json:"stopped_for,omitempty"`
	// OnFailure and InternetAfter are what begins the plan beside the power (rule S0).
	OnFailure     bool          `json:"on_failure,omitempty"`
	InternetAfter time.Duration `json:"internet_after_ns,omitempty"`
	Now           []string      `json:"now,omitempty"` // the runs that are under way
	OnBattery     []string      `json:"on_battery,omitempty"`
	// Runs are the last of the plan, and Off is what they left off. While the outage of one goes on
	// no machine is asked, and the stages have no guests.
	Runs []web.Run `json:"runs,omitempty"`
	Off  []web.Off `json:"off,omitempty"`
}

// forecast is a plan with the guests that run now.
type forecast struct {
	Stages []shownStage `json:"stages"`
	Silent []silentNode `json:"silent,omitempty"` // what runs there is not known
	// Unpooled are the nodes whose guests' pools are not known: a stage that chooses by pool
	// shows none of them.
	Unpooled []silentNode `json:"unpooled,omitempty"`
}

// shownStage is a stage; its times count from the moment the power goes, and are the latest.
type shownStage struct {
	Number  int           `json:"number"`
	Begins  time.Duration `json:"begins_ns"`
	Ends    time.Duration `json:"ends_ns"`
	Guests  bool          `json:"guests"` // it takes guests, or would if any ran
	Targets []shownTarget `json:"targets"`
}

type shownTarget struct {
	Kind shutdown.Kind `json:"kind"`
	Name string        `json:"name"`
	Node string        `json:"node,omitempty"` // of a guest
	VMID int           `json:"vmid,omitempty"`
}

type silentNode struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

// planned is the site that has a plan, or nil.
func (b *Brain) planned() *sentinel.SiteConfig {
	for _, s := range b.core().Sites {
		if s.Plan != nil {
			return &s
		}
	}
	return nil
}

func errWithoutPlan() error {
	return &courier.Fault{Status: http.StatusConflict, Reason: "no-plan", Err: errNoPlan}
}

// askOne lets one ask the plan's machines at a time.
func (b *Brain) askOne() (release func(), err error) {
	if !b.asking.TryLock() {
		return nil, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errAsked, Hint: "try again in a moment"}
	}
	return b.asking.Unlock, nil
}

// planRoutes are the questions about the plan, which only an admin may ask: they go to its
// machines.
func (b *Brain) planRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/plan", b.answers(b.planShow))
	mux.HandleFunc("GET /api/v1/plan/check", b.answers(b.planCheck))
	mux.HandleFunc("GET /api/v1/doctor", b.answers(b.lookOver))
	mux.HandleFunc("GET /api/v1/plan/simulate", b.answers(b.planSimulate, "ups", "runtime", "charge"))
	mux.HandleFunc("POST /api/v1/plan/arm", b.answers(b.arm, "force"))
	mux.HandleFunc("POST /plan/stop", b.admin(http.HandlerFunc(b.stopOnPage)))
}

func (b *Brain) planShow(_ context.Context, r *http.Request) (any, error) {
	sc := b.planned()
	if sc == nil {
		return nil, errWithoutPlan()
	}
	var site web.Site
	if v := b.page(); v != nil {
		if i := slices.IndexFunc(v.Sites, func(s web.Site) bool { return s.Name == sc.Name }); i >= 0 {
			site = v.Sites[i]
		}
	}
	f := forecast{Stages: stagesOf(*sc.Plan, sc.Policy.RideThrough, nil, nil)}
	if !slices.ContainsFunc(site.Runs, func(r web.Run) bool { return !r.Past }) {
		var err error
		if f, err = b.foresee(r.Context(), *sc, sc.Policy.RideThrough, nil); err != nil {
			return nil, err
		}
	}
	p := shownPlan{At: b.machine.wall(), Site: sc.Name, Ride: sc.Policy.RideThrough, Need: sc.Plan.Need(), Spare: sc.Policy.RuntimeMargin, forecast: f,
		Pis: append([]string{}, sc.Pis...), UPSes: []shownUPS{}}
	p.OnFailure, p.InternetAfter = sc.OnFailure, sc.InternetAfter
	p.stands(site, *sc)
	return p, nil
}

// stands adds how the site stands to what would happen.
func (p *shownPlan) stands(s web.Site, sc sentinel.SiteConfig) {
	p.Armed, p.ArmingUnknown, p.Unconfirmed, p.StoppedBy = s.Armed, s.ArmingUnknown, s.Unconfirmed, s.StoppedBy
	p.StoppedFor, p.Runs, p.Off = s.StoppedFor, s.Runs, s.Off
	for _, u := range s.UPSes {
		p.UPSes = append(p.UPSes, lastsFor(u, sc))
		if u.OnBattery {
			p.OnBattery = append(p.OnBattery, batterySaid(u))
		}
	}
	p.Fed = fedSaid(*sc.Plan, sc.Policy, s.UPSes)
	for _, r := range s.Runs {
		if r.Now != "" {
			p.Now = append(p.Now, r.Title+": "+r.Now)
		}
	}
}

// batterySaid is how a UPS stands that is on battery.
func batterySaid(u web.UPS) string {
	text := fmt.Sprintf("%s has been on battery for %s", u.Name, power.Spell(u.For))
	if u.Charge != nil {
		text += fmt.Sprintf(", %.0f %%", *u.Charge*100)
	}
	if u.Runtime != nil {
		text += fmt.Sprintf(", %s left", power.Spell(*u.Runtime))
	}
	return text
}

// foresee asks the nodes which guests run, and puts them into the plan's stages, which begin so
// long after the power went. called are the machines that are called for; nil: all.
func (b *Brain) foresee(ctx context.Context, sc sentinel.SiteConfig, begins time.Duration, called []string) (forecast, error) {
	release, err := b.askOne()
	if err != nil {
		return forecast{}, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	guests, failed, unpooled := map[string][]shutdown.Target{}, map[string]error{}, map[string]error{}
	fleet, err := b.fleet(*sc.Plan, courier.ToAsk)
	if err != nil {
		for _, n := range sc.Plan.Nodes {
			failed[n.Name] = err
		}
	} else {
		defer fleet.Close()
		var mu sync.Mutex
		fleet.PoolsUnread = func(node string, err error) {
			mu.Lock()
			defer mu.Unlock()
			unpooled[node] = err
		}
		guests, failed = listGuests(ctx, fleet, sc.Plan.Nodes)
	}
	f := forecast{Stages: stagesOf(*sc.Plan, begins, called, guests)}
	if slices.ContainsFunc(sc.Plan.Stages, takesGuests) {
		f.Silent = silentNodes(failed)
	}
	f.Unpooled = silentNodes(unpooled)
	return f, nil
}

func silentNodes(failed map[string]error) (silent []silentNode) {
	for _, node := range slices.Sorted(maps.Keys(failed)) {
		silent = append(silent, silentNode{node, failed[node].Error()})
	}
	return silent
}

func takesGuests(s shutdown.Stage) bool { return s.AllGuests || s.Guests != nil }

// stagesOf are a plan's stages with their targets, as a run would take them down for those that are
// called for; nil: all. Others have no part in it.
func stagesOf(plan shutdown.Plan, begins time.Duration, called []string, guests map[string][]shutdown.Target) []shownStage {
	var stages []shownStage
	for i, s := range plan.Stages {
		stages = append(stages, shownStage{Number: i + 1, Begins: begins, Ends: begins + s.Deadline, Guests: takesGuests(s), Targets: []shownTarget{}})
		begins += s.Deadline
	}
	stage, found := -1, map[string]shutdown.Target{}
	begun := map[int]bool{}
	for _, e := range shutdown.Rehearse(shutdown.Header{Plan: plan}, time.Time{}, called, func(node string) []shutdown.Target { return guests[node] }) {
		for _, t := range e.Targets {
			found[t.ID()] = t
		}
		t := found[e.Target]
		switch {
		case e.Type == shutdown.StageBegan:
			stage, begun[e.Stage] = e.Stage, true
		case e.Type != shutdown.Sent || e.Again || t.Kind == shutdown.Listing || stage < 0 || stage >= len(stages):
		case t.Kind == shutdown.Guest:
			stages[stage].Targets = append(stages[stage].Targets, shownTarget{t.Kind, t.Said(), t.Node, t.VMID})
		default:
			stages[stage].Targets = append(stages[stage].Targets, shownTarget{Kind: t.Kind, Name: t.Said()})
		}
	}
	if called == nil {
		return stages
	}
	return onlyBegun(stages, begun)
}

// onlyBegun leaves out the stages that have no part, and the time that they would take.
func onlyBegun(stages []shownStage, begun map[int]bool) (left []shownStage) {
	saved := time.Duration(0)
	for i, s := range stages {
		if !begun[i] {
			saved += s.Ends - s.Begins
			continue
		}
		s.Begins, s.Ends = s.Begins-saved, s.Ends-saved
		left = append(left, s)
	}
	return left
}

// Whether a battery lasts for the plan.
const (
	longEnough   = "yes"
	tooShort     = "no"
	unknownLasts = "unknown"
)

// shownUPS is a UPS as it was last heard of, and whether its battery lasts for the plan.
type shownUPS struct {
	Name    string         `json:"name"`
	Supply  string         `json:"supply"`
	Charge  *float64       `json:"charge_ratio,omitempty"`
	Runtime *time.Duration `json:"runtime_ns,omitempty"`
	Stale   bool           `json:"stale,omitempty"`
	Lasts   string         `json:"lasts"` // yes, no, unknown
	Text    string         `json:"text"`
}

func lastsFor(u web.UPS, sc sentinel.SiteConfig) shownUPS {
	need, spare := sc.Plan.Need(), sc.Policy.RuntimeMargin
	s := shownUPS{Name: u.Name, Supply: u.Supply, Charge: u.Charge, Runtime: u.Runtime, Stale: u.Stale, Lasts: unknownLasts}
	needs := fmt.Sprintf("the plan needs up to %s", power.Spell(need))
	if spare > 0 {
		needs += fmt.Sprintf(", and %s to spare", power.Spell(spare))
	}
	switch {
	case u.Runtime == nil:
		s.Text = fmt.Sprintf("%s does not report how long its battery lasts; %s; whether it lasts is not known", u.Name, needs)
		return s
	case u.Stale:
		s.Text = fmt.Sprintf("%s reported %s when it was last heard %s ago; %s; whether it lasts is not known", u.Name, power.Spell(*u.Runtime), power.Spell(u.Age), needs)
		return s
	case *u.Runtime < need:
		s.Lasts, s.Text = tooShort, "it does not last"
	case *u.Runtime < need+spare:
		s.Lasts, s.Text = tooShort, "it lasts with too little to spare"
	default:
		s.Lasts, s.Text = longEnough, "it lasts"
	}
	s.Text = fmt.Sprintf("%s reports %s; %s: %s", u.Name, power.Spell(*u.Runtime), needs, s.Text)
	return s
}
