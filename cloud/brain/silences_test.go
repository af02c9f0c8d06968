package brain

import (
	"maps"
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
)

// TestN10_ASilenceTellsOfTheOtherSites, with their last words.
func TestN10_ASilenceTellsOfTheOtherSites(t *testing.T) {
	b := &Brain{table: liveness.New(20 * time.Second), state: sentinel.New(sentinel.Config{Sites: []sentinel.SiteConfig{{Name: "home"}, {Name: "office"}, {Name: "cabin"}}})}
	at := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	beat := func(at time.Time, site, name string) {
		b.table.Beat(at, liveness.Beat{Key: liveness.Key{Site: site, Name: name}})
	}
	beat(at, "home", "pve1")
	beat(at.Add(time.Second), "office", "srv1")
	beat(at.Add(19*time.Second), "office", "srv2")
	if subs := b.silences(at.Add(19 * time.Second)); len(subs) != 0 {
		t.Fatalf("%d silences", len(subs))
	}
	subs := b.silences(at.Add(20 * time.Second))
	if len(subs) != 1 {
		t.Fatalf("%d silences", len(subs))
	}
	in := subs[0].in.(sentinel.Silent)
	if in.Site != "home" || in.Name != "pve1" || len(in.Up) != 1 {
		t.Errorf("%+v", in)
	}
	if sites := slices.Sorted(maps.Keys(in.Elsewhere)); !slices.Equal(sites, []string{"cabin", "office"}) {
		t.Errorf("elsewhere is %v", sites)
	}
	if office := in.Elsewhere["office"]; len(office) != 2 || !office[0].Last.Equal(at.Add(time.Second)) {
		t.Errorf("the office is %+v", office)
	}
}
