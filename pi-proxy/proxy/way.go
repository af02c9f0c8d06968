package proxy

import (
	"net"
	"net/url"
	"sync"
	"time"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// saidFor is for how long a brain's word that its run is under way counts. On battery its answers
// come each second.
const saidFor = 10 * time.Second

// ways are the plans that the runs of brains under way began with, where the Pi goes by another
// by now: a run keeps its plan (rule S10), and its way to the machines with it. The zero value is ready.
type ways struct {
	mu   sync.Mutex
	runs map[string]wayOf // by brain
}

type wayOf struct {
	run    string
	open   bool
	said   time.Duration  // when
	before *shutdown.Plan // nil: that of now
}

// hear takes a brain's word of its run. One that says nothing of it for a moment may go on.
func (w *ways) hear(brain string, m wire.Mandate, now time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, known := w.runs[brain]
	switch {
	case m.Run.Open():
		if !known || r.run != m.RunID {
			r = wayOf{run: m.RunID}
		}
		r.open, r.said = true, now
	case m.Run == shutdown.None && known:
		r.open = false
	default:
		delete(w.runs, brain)
		return
	}
	if w.runs == nil {
		w.runs = map[string]wayOf{}
	}
	w.runs[brain] = r
}

// replaced keeps the plan that the Pi went by for the runs that are under way.
func (w *ways) replaced(plan shutdown.Plan) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for brain, r := range w.runs {
		if r.before == nil {
			r.before = &plan
			w.runs[brain] = r
		}
	}
}

// lead reports whether the way of a run under way is to this address.
func (w *ways) lead(addr string, now time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.runs {
		if r.open && r.before != nil && now-r.said <= saidFor && inPlan(*r.before, addr) {
			return true
		}
	}
	return false
}

// inPlan reports whether an address is one of the plan's APIs.
func inPlan(plan shutdown.Plan, addr string) bool {
	for _, n := range plan.Nodes {
		u, err := url.Parse(n.API)
		if err != nil {
			continue
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "443")
		}
		if host == addr {
			return true
		}
	}
	return false
}
