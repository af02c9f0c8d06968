package home

import (
	"net/http/httptest"
	"strings"
	"testing"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// TestFaultsOfTheSimulatedProxmox: an action sets them, and the control route shows them.
func TestFaultsOfTheSimulatedProxmox(t *testing.T) {
	h := &Home{rec: edge.NewRecorder(nil), say: func(who, what string) { t.Log(who, what) }}
	if err := h.Do("pve pve1 hang"); err == nil {
		t.Error("somebody else's simulator took a fault")
	}
	var err error
	h.cluster, err = pvesim.New(pvesim.Config{TokenID: "a@pve!b", Secret: "c", Nodes: []pvesim.NodeConfig{{Name: "pve1"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.cluster.Close() }()
	if err := h.Do("pve pve1 status 500 no luck"); err != nil {
		t.Error(err)
	}
	if err := h.Do("pve pve9 hang"); err == nil {
		t.Error("a node that is not there took a fault")
	}
	w := httptest.NewRecorder()
	h.Faults().ServeHTTP(w, httptest.NewRequest("GET", "/pve", nil))
	if !strings.Contains(w.Body.String(), `"reason":"no luck"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
