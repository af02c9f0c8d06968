package brain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

const (
	operator = "the operator"
	// usualFor is how long a mute or maintenance lasts unless somebody says otherwise;
	// all of them end (rule H9).
	usualFor    = 2 * time.Hour
	shortestFor = time.Minute
	longestFor  = 30 * 24 * time.Hour
	// namesHinted is how many names a hint lists.
	namesHinted = 8
)

var (
	errNoPlan   = errors.New("there is no plan; add plan: to cloud.yaml")
	errNoView   = errors.New("the brain is starting")
	errHowLong  = errors.New("for must be a time from 1 minute to 30 days")
	errTwoSites = errors.New("there are several of that name")
)

// buttons are the routes by which people change what the brain does.
func (b *Brain) buttons(mux *http.ServeMux) {
	for route, is := range map[string]struct {
		do    func(ctx context.Context, r *http.Request) error
		takes []string
	}{
		"POST /api/v1/plan/disarm":             {b.disarm, nil},
		"POST /api/v1/plan/stop":               {b.stop, nil},
		"POST /api/v1/plan/dismiss":            {b.leaveOff, []string{"name", "site"}},
		"POST /api/v1/plan/network":            {b.sayNetwork, []string{"on-ups"}},
		"POST /api/v1/incidents/{id}/ack":      {b.acknowledge, nil},
		"POST /api/v1/nodes/{name}/approve":    {b.approve, []string{"key", "site"}},
		"POST /api/v1/nodes/{name}/mute":       {b.mute, []string{"for", "site"}},
		"POST /api/v1/nodes/{name}/unmute":     {b.unmute, []string{"site"}},
		"POST /api/v1/nodes/{name}/maintain":   {b.maintainNode, []string{"for", "site"}},
		"POST /api/v1/nodes/{name}/maintained": {b.maintainedNode, []string{"site"}},
		"POST /api/v1/sites/{name}/maintain":   {b.maintainSite, []string{"for"}},
		"POST /api/v1/sites/{name}/maintained": {b.maintainedSite, nil},
	} {
		mux.HandleFunc(route, b.button(is.do, is.takes...))
	}
	mux.HandleFunc("DELETE /api/v1/nodes/{name}", b.answers(b.forgetNode, "site"))
}

// disarm also ends an arming that still looks at the machines: the last word holds (rule S10).
func (b *Brain) disarm(ctx context.Context, _ *http.Request) error {
	b.arming.undo()
	return b.decideArming(ctx, nil, func(site string) sentinel.Input { return sentinel.Disarm{Site: site, By: operator} })
}

func (b *Brain) forEachSite(ctx context.Context, in func(site string) sentinel.Input) error {
	found := false
	for _, s := range b.core().Sites {
		if s.Plan == nil {
			continue
		}
		found = true
		if err := b.submit(ctx, in(s.Name)); err != nil {
			return err
		}
	}
	if !found {
		return &courier.Fault{Status: http.StatusConflict, Reason: "no-plan", Err: errNoPlan}
	}
	return nil
}

func (b *Brain) acknowledge(ctx context.Context, r *http.Request) error {
	id := r.PathValue("id")
	if v := b.view.Load(); v != nil && !v.open[id] {
		no := &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("no incident %.80q is open", id)}
		var open []string
		for i := range v.open {
			open = append(open, i)
		}
		no.Hint = "none is; `sentinel-cloud incidents` lists those of the last 24 h"
		if len(open) > 0 {
			no.Hint = hint(id, open)
		}
		return no
	}
	return b.submit(ctx, sentinel.Acknowledge{Incident: id, By: operator})
}

func (b *Brain) approve(ctx context.Context, r *http.Request) error {
	q := r.URL.Query()
	return b.identities.Approve(ctx, ingest.Approval{Name: r.PathValue("name"), Key: wire.PublicKey(q.Get("key")), Site: q.Get("site"), By: operator})
}

func (b *Brain) mute(ctx context.Context, r *http.Request) error {
	k, err := b.meant(r)
	if err != nil {
		return err
	}
	d, err := howLong(r)
	if err != nil {
		return err
	}
	return b.submit(ctx, sentinel.Mute{Site: k.Site, Name: k.Name, By: operator, For: d})
}

func (b *Brain) unmute(ctx context.Context, r *http.Request) error {
	k, err := b.meant(r)
	if err != nil {
		return err
	}
	return b.submit(ctx, sentinel.Unmute{Site: k.Site, Name: k.Name, By: operator})
}

func (b *Brain) maintainNode(ctx context.Context, r *http.Request) error {
	k, err := b.meant(r)
	if err != nil {
		return err
	}
	return b.maintain(ctx, r, k)
}

func (b *Brain) maintainSite(ctx context.Context, r *http.Request) error {
	site, err := b.meantSite(r)
	if err != nil {
		return err
	}
	return b.maintain(ctx, r, liveness.Key{Site: site})
}

func (b *Brain) maintain(ctx context.Context, r *http.Request, k liveness.Key) error {
	d, err := howLong(r)
	if err != nil {
		return err
	}
	return b.submit(ctx, sentinel.Maintain{Site: k.Site, Name: k.Name, By: operator, For: d})
}

func (b *Brain) maintainedNode(ctx context.Context, r *http.Request) error {
	k, err := b.meant(r)
	if err != nil {
		return err
	}
	return b.submit(ctx, sentinel.Maintained{Site: k.Site, Name: k.Name, By: operator})
}

func (b *Brain) maintainedSite(ctx context.Context, r *http.Request) error {
	site, err := b.meantSite(r)
	if err != nil {
		return err
	}
	return b.submit(ctx, sentinel.Maintained{Site: site, By: operator})
}

// forgetNode deletes a node. The table forgets it last: its next word is its first.
func (b *Brain) forgetNode(ctx context.Context, r *http.Request) (any, error) {
	k, err := b.meant(r)
	if err != nil {
		return nil, err
	}
	if err := b.submit(ctx, sentinel.Delete{Site: k.Site, Name: k.Name, By: operator}); err != nil {
		return nil, err
	}
	b.table.Delete(b.clock.Now(), k)
	if where := b.cfg().names(k); len(where) > 0 {
		return warned{[]string{fmt.Sprintf("%s still stands in cloud.yaml, %s; if it is gone for good, remove it there too, and reload", k.Name, strings.Join(where, " and "))}}, nil
	}
	return nil, nil
}

// names is where a node stands in the configuration.
func (c *Config) names(k liveness.Key) (where []string) {
	for i, s := range c.Sites {
		if s.Name != k.Site {
			continue
		}
		if slices.ContainsFunc(s.Nodes, func(p Peer) bool { return p.Name == k.Name }) {
			where = append(where, "among the nodes of "+s.Name)
		}
		for _, u := range s.UPSes {
			if slices.Contains(u.Feeds, k.Name) {
				where = append(where, "under what "+u.Name+" feeds")
			}
		}
		for n, stage := range c.Plan {
			if _, is := stage.Nodes[k.Name]; i == 0 && (is || slices.Contains(stage.Hosts, k.Name)) {
				where = append(where, fmt.Sprintf("in stage %d of the plan, which waits for it", n+1))
			}
		}
	}
	return where
}

// meant finds the node or Pi that a button names; ?site= says which of several.
func (b *Brain) meant(r *http.Request) (liveness.Key, error) {
	name, site := r.PathValue("name"), r.URL.Query().Get("site")
	v := b.page()
	if v == nil {
		return liveness.Key{}, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errNoView}
	}
	var known, sites []string
	for _, s := range v.Sites {
		for _, src := range s.Sources {
			known = append(known, src.Name)
			if src.Name == name && (site == "" || site == s.Name) {
				sites = append(sites, s.Name)
			}
		}
	}
	switch len(sites) {
	case 0:
		return liveness.Key{}, &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("there is no node %.80q", name), Hint: hint(name, known)}
	case 1:
		return liveness.Key{Site: sites[0], Name: name}, nil
	}
	return liveness.Key{}, &courier.Fault{Status: http.StatusConflict, Reason: "unclear", Err: errTwoSites, Hint: "say site=, one of " + strings.Join(sites, ", ")}
}

// meantSite finds the site that a button names.
func (b *Brain) meantSite(r *http.Request) (string, error) {
	name := r.PathValue("name")
	v := b.page()
	if v == nil {
		return "", &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errNoView}
	}
	var known []string
	for _, s := range v.Sites {
		known = append(known, s.Name)
	}
	if slices.Contains(known, name) {
		return name, nil
	}
	return "", &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("there is no site %.80q", name), Hint: hint(name, known)}
}

// hint names what may have been meant.
func hint(word string, known []string) string {
	if near, ok := config.Nearest(word, known); ok {
		return "did you mean " + near + "?"
	}
	slices.Sort(known)
	known = slices.Compact(known)
	switch more := len(known) - namesHinted; {
	case len(known) == 0:
		return "none is known yet"
	case more > 0:
		return fmt.Sprintf("known are %s and %d more", strings.Join(known[:namesHinted], ", "), more)
	}
	return "known are " + strings.Join(known, ", ")
}

// howLong reads for= of a request.
func howLong(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("for")
	if text == "" {
		return usualFor, nil
	}
	var d config.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() < shortestFor || d.Std() > longestFor {
		return 0, &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: fmt.Errorf("%w, not %.40q", errHowLong, text), Hint: "write 30m, 2h or 14d"}
	}
	return d.Std(), nil
}
