package brain

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/proxmox"
)

// armCheckWithin bounds the look at the machines before the plan is armed.
const armCheckWithin = 12 * time.Second

var (
	errForce         = errors.New("force takes yes alone")
	errArms          = errors.New("the plan is being armed already, and its machines are looked at")
	errDisarmedSince = errors.New("the plan was disarmed while its machines were looked at, and stays so")
)

func errDisarmed() error {
	return &courier.Fault{Status: http.StatusConflict, Reason: "disarmed", Err: errDisarmedSince, Hint: "`sentinel-cloud plan arm` once more, if it is to be armed"}
}

// warned is the answer where something is to be said of what was done.
type warned struct {
	Warnings []string `json:"warnings"`
}

// arm lets the plan's commands out, once nothing of its machines speaks against it. With
// force=yes only high availability does.
func (b *Brain) arm(ctx context.Context, r *http.Request) (any, error) {
	force := r.URL.Query().Get("force")
	if force != "" && force != "yes" {
		return nil, &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: errForce}
	}
	sc := b.planned()
	if sc == nil {
		return nil, errWithoutPlan()
	}
	if !b.arming.look.TryLock() { // each would ask all machines
		return nil, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errArms, Hint: "wait for its answer"}
	}
	defer b.arming.look.Unlock()
	undone := b.arming.undone()
	never, unless, warnings := judgeArming(b.lookUnless(r.Context(), undone, *sc), len(sc.Plan.Nodes))
	switch {
	case isClosed(undone):
		return nil, errDisarmed()
	case len(never) > 0:
		return nil, &courier.Fault{Status: http.StatusConflict, Reason: "unfit", Err: errors.New(strings.Join(never, "; "))}
	case len(unless) > 0 && force == "":
		return nil, &courier.Fault{Status: http.StatusConflict, Reason: "unfit", Err: errors.New(strings.Join(unless, "; ")),
			Hint: "`sentinel-cloud plan check` tells all; `sentinel-cloud plan arm --force` arms it all the same"}
	}
	if ctx.Err() != nil { // the look took its time
		fresh, done := context.WithTimeout(r.Context(), 2*appendWithin)
		defer done()
		ctx = fresh
	}
	if err := b.decideArming(ctx, undone, func(site string) sentinel.Input { return sentinel.Arm{Site: site, By: operator} }); err != nil {
		return nil, err
	}
	if warnings = append(unless, warnings...); len(warnings) > 0 {
		return warned{warnings}, nil
	}
	return nil, nil
}

// lookUnless looks at the plan's machines, until undone is closed.
func (b *Brain) lookUnless(ctx context.Context, undone <-chan struct{}, sc sentinel.SiteConfig) []planFinding {
	ctx, cancel := context.WithTimeout(ctx, armCheckWithin)
	var waits sync.WaitGroup
	defer waits.Wait()
	defer cancel()
	waits.Go(func() {
		select {
		case <-undone:
			cancel()
		case <-ctx.Done():
		}
	})
	return b.checkPlan(ctx, sc, false)
}

// judgeArming sorts what a check found: what always keeps a plan from being armed, what does
// unless somebody insists, and what is only to be said, such as what could not be seen. One node
// that does not answer may be switched off; where none answers nothing is known.
func judgeArming(found []planFinding, nodes int) (never, unless, warnings []string) {
	silent := map[string]bool{}
	for _, f := range found {
		if f.Severity == proxmox.Refusal && f.Subject == proxmox.AboutReach {
			silent[f.Target] = true
		}
	}
	for _, f := range found {
		switch {
		case f.Severity == proxmox.Refusal && f.Subject == proxmox.AboutHA:
			never = append(never, f.Text)
		case f.Severity == proxmox.Refusal && f.Subject == proxmox.AboutReach && len(silent) < nodes:
			warnings = append(warnings, f.Text)
		case f.Severity == proxmox.Refusal:
			unless = append(unless, f.Text)
		case f.Severity == proxmox.Warning && (f.Subject == aboutNetwork && f.Said || f.Subject == proxmox.AboutUnseen):
			warnings = append(warnings, f.Text)
		}
	}
	if len(silent) > 0 && len(silent) == nodes {
		unless = append([]string{"no node of the plan answers, so it is not known whether high availability is at work"}, unless...)
	}
	return never, unless, warnings
}
