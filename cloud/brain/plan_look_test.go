package brain

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/shutdown"
)

// TestS7_AnArmedPlanIsLookedAt: what would keep it from doing its work is told once, when two looks found it, and stands
// on the page until a look finds nothing any more.
func TestS7_AnArmedPlanIsLookedAt(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.lacks.Store(true)
		unfit := func() bool {
			return slices.ContainsFunc(h.view().Warnings, func(w string) bool {
				return strings.HasPrefix(w, "The plan at home is armed, and would not do all its work: pi does not have proxmox-secret")
			})
		}
		is := func(when string, want bool) {
			h.Helper()
			if unfit() != want {
				h.Errorf("%s the page says %q", when, h.view().Warnings)
			}
		}
		rest(planLookFirst + planLookAgain + time.Minute)
		is("unarmed", false)
		if code, text := h.request(http.MethodPost, "/api/v1/plan/arm?force=yes", nil, nil); code != http.StatusOK {
			h.Fatalf("it answered %d %s", code, text)
		}
		rest(planLookFirst + time.Minute)
		is("after one look", false)
		rest(planLookAgain)
		is("after two", true)
		h.mustTell("the plan at home is armed, and would not do all its work: pi does not have proxmox-secret")
		h.crash(time.Minute)
		rest(planLookFirst + planLookAgain + time.Minute)
		is("after a crash", true)
		told := 0
		for _, line := range h.view().Timeline {
			if strings.Contains(line.Text, "would not do all its work") {
				told++
			}
		}
		if told > 1 {
			t.Errorf("told %d times", told)
		}
		h.lacks.Store(false)
		rest(planLookAgain + time.Minute)
		is("once all is well", false)
		h.mustTell("the plan at home would do its work again")
	})
}

// TestS7_WhenAnArmedPlanIsLookedAt: each day, sooner while something is wrong; and what was found of another plan, or
// beside an outage, is not told.
func TestS7_WhenAnArmedPlanIsLookedAt(t *testing.T) {
	now, plan := time.Now(), &shutdown.Plan{}
	none, one := planSeen{site: "home", plan: plan}, planSeen{site: "home", plan: plan, refusals: []string{"no"}}
	for name, c := range map[string]struct {
		before planLook
		seen   planSeen
		out    bool
		after  planLook
		tells  []string
		silent bool
	}{
		"all is well":              {planLook{plan: plan}, none, false, planLook{plan: plan, at: now.Add(planLookEach)}, nil, false},
		"wrong for the first time": {planLook{plan: plan}, one, false, planLook{plan: plan, at: now.Add(planLookAgain), failed: true}, nil, true},
		"wrong still":              {planLook{plan: plan, failed: true}, one, false, planLook{plan: plan, at: now.Add(planLookAgain), failed: true}, []string{"no"}, false},
		"well again":               {planLook{plan: plan, failed: true}, none, false, planLook{plan: plan, at: now.Add(planLookEach)}, nil, false},
		"asked just then":          {planLook{plan: plan}, planSeen{site: "home", plan: plan, busy: true}, false, planLook{plan: plan, at: now.Add(planLookBusy)}, nil, true},
		"in an outage":             {planLook{plan: plan}, one, true, planLook{plan: plan, at: now.Add(planLookBusy)}, nil, true},
		"another plan":             {planLook{plan: &shutdown.Plan{}, at: now}, one, false, planLook{plan: &shutdown.Plan{}, at: now}, nil, true},
	} {
		b := &Brain{state: sentinel.New(sentinel.Config{}), planLooks: map[string]*planLook{}}
		if c.out {
			b.state.Incidents["i"] = &sentinel.Incident{ID: "i", Kind: sentinel.PowerOutage, Site: "home", Since: now}
		}
		l := c.before
		l.looking = true
		b.planLooks["home"] = &l
		subs := b.takeLook(c.seen, now)
		if d := cmp.Diff(c.after, l, cmp.AllowUnexported(planLook{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if c.silent != (len(subs) == 0) {
			t.Errorf("%s: it tells %v", name, subs)
		} else if len(subs) > 0 && !cmp.Equal(subs[0].in, sentinel.Input(sentinel.PlanLooked{Site: "home", Refusals: c.tells})) {
			t.Errorf("%s: it tells %+v", name, subs[0].in)
		}
	}
	b := &Brain{planLooks: map[string]*planLook{}}
	if b.takeLook(one, now) != nil {
		t.Error("a plan that is not armed any more is told of")
	}
}
