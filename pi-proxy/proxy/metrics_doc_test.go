package proxy_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/sim/scrape"
)

// TestR6_TheDocumentListsEveryMetricOfThePi, by what a running one answers once it has refused somebody.
func TestR6_TheDocumentListsEveryMetricOfThePi(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	h.start()
	n := h.node("pve1")
	client := overSocket(h.cfg.ControlSocket)
	defer client.CloseIdleConnections()
	var text string
	eventually(t, "a stranger is refused", func() bool {
		_, _ = n.beat() // refused, which is what this wants
		status, now := get(t, client, "http://pi/metrics")
		text = now
		return status == http.StatusOK && strings.Contains(text, `sentinel_messages_refused_total{reason=`)
	})
	has := scrape.Read(text)
	if diff := cmp.Diff(scrape.Listed(string(document), "The Pi"), has); diff != "" {
		t.Errorf("docs/metrics.md lists others (-listed +there):\n%s\nits rows should be\n%s", diff, scrape.Table(has))
	}
}
