package sentinel_test

import (
	"slices"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// checkWatched proves that nobody is called about what is muted, and that nothing fails
// in its maintenance (rule H9).
func (h *history) checkWatched(f sentinel.Fact) {
	switch f := f.(type) {
	case *sentinel.CallRequested:
		i := h.mirror.Incidents[f.Incident]
		if i == nil || i.Kind != sentinel.NodeFailure && i.Kind != sentinel.Unwatched {
			return
		}
		muted := func(n string) bool { src := h.mirror.Sites[i.Site].Sources[n]; return src != nil && src.Muted() }
		if len(i.Nodes) > 0 && !slices.ContainsFunc(i.Nodes, func(n string) bool { return !muted(n) }) {
			h.fail("%s although all of %v are muted", f.Call, i.Nodes)
		}
	case *sentinel.SourceFailed:
		site := h.mirror.Sites[f.Site]
		if src := site.Sources[f.Name]; src != nil && (!src.MaintainedUntil.IsZero() || !site.MaintainedUntil.IsZero()) {
			h.fail("%s failed in its maintenance: %s", f.Name, f.Why)
		}
	}
}
