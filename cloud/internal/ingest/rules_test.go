package ingest

import (
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/wire"
)

// TestR5_ReconfigureForgetsWhatMayBeWrong: who is known by the new rules is, nobody else,
// and of those who wait only the ones that would wait for the same reason.
func TestR5_ReconfigureForgetsWhatMayBeWrong(t *testing.T) {
	ids := &Identities{Now: time.Now, Rules: Rules{Sites: []string{"home", "office"}, Pis: map[string]string{"pi": "home"},
		Configured: map[string]wire.PublicKey{"pve2": "k2"}}}
	ids.Learn(Known{Name: "pve1", Site: "home", Key: "k1"}, Known{Name: "pve2", Site: "home", Key: "k2"})
	for _, s := range []Stranger{{Known: Known{Name: "same", Site: "home", Key: "a"}}, {Known: Known{Name: "nowhere", Key: "b"}}, {Known: Known{Name: "far", Site: "office", Key: "c"}},
		{Known: Known{Name: "nuc", Site: "home", Key: "d"}}, {Known: Known{Name: "pve2", Site: "home", Key: "e"}, Hold: "its key stands in cloud.yaml"},
		{Known: Known{Name: "pve3", Site: "home", Key: "k3"}}} {
		ids.waiting.add(s)
	}
	ids.Reconfigure(Rules{Sites: []string{"home"}, Pis: map[string]string{"pi": "home", "nuc": "home"}},
		[]Known{{Name: "pve2", Site: "home", Role: sentinel.Node, Key: "e2"}, {Name: "pve3", Site: "home", Key: "k3"}})
	for name, want := range map[string]wire.PublicKey{"pve1": "", "pve2": "e2", "pve3": "k3"} {
		if k, _ := ids.Lookup(name); k.Key != want {
			t.Errorf("%s is known by %q, not %q", name, k.Key, want)
		}
	}
	var left []string
	for _, s := range ids.Waiting() {
		left = append(left, s.Name)
	}
	if len(left) != 2 || left[0] != "nowhere" || left[1] != "same" {
		t.Errorf("there wait %q", left)
	}
}
