package brain

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/sim/scrape"
)

// TestR6_TheDocumentListsEveryMetricOfTheBrain, with its labels, by what the running brain answers once a node has failed,
// somebody was called and told, and a message was refused. Panels and alerts go by that document.
func TestR6_TheDocumentListsEveryMetricOfTheBrain(t *testing.T) {
	document, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	in(t, func(h *home) { h.withPlan(); tellsAlex(h) }, func(h *home) {
		h.nodes["pve2"].kill()
		rest(30 * time.Second)
		if code, text := h.request(http.MethodPost, "/v1/announce", nil, []byte("{")); code != http.StatusBadRequest {
			h.Errorf("answered %d %s", code, text)
		}
		_, text := h.request(http.MethodGet, "/metrics", nil, nil)
		has := scrape.Read(text)
		if diff := cmp.Diff(scrape.Listed(string(document), "The brain"), has); diff != "" {
			h.Errorf("docs/metrics.md lists others (-listed +there):\n%s\nits rows should be\n%s", diff, scrape.Table(has))
		}
	})
}
