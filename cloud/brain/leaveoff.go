package brain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
)

var (
	errNothingOff  = errors.New("there is nothing to leave off: nothing is off that the plan told to shut down")
	errNobodyNamed = errors.New("say name=, a guest or node as status calls it")
)

// leaveOff lets a guest or node stay off that the plan shut down, by the name that status shows.
func (b *Brain) leaveOff(ctx context.Context, r *http.Request) error {
	name, site := r.URL.Query().Get("name"), r.URL.Query().Get("site")
	if name == "" {
		return &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: errNobodyNamed}
	}
	v := b.page()
	if v == nil {
		return &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errNoView}
	}
	var off, sites []string
	for _, s := range v.Sites {
		for _, o := range s.Off {
			off = append(off, o.Name)
			if o.Name == name && (site == "" || site == s.Name) && !slices.Contains(sites, s.Name) {
				sites = append(sites, s.Name)
			}
		}
	}
	switch {
	case len(off) == 0:
		return &courier.Fault{Status: http.StatusConflict, Reason: "nothing", Err: errNothingOff}
	case len(sites) == 0:
		return &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("the plan left no %.80q off", name), Hint: hint(name, off)}
	case len(sites) > 1:
		return &courier.Fault{Status: http.StatusConflict, Reason: "unclear", Err: errTwoSites, Hint: "say site=, one of " + strings.Join(sites, ", ")}
	}
	return b.submit(ctx, sentinel.LeaveOff{Site: sites[0], Name: name, By: operator})
}
