package routing_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sentinel.home.arpa/shared/routing"
)

func TestC6_WhoWantsWhat(t *testing.T) {
	out := routing.Event{Kind: "power_outage", Severity: routing.Critical, Site: "home"}
	back, advice := out, routing.Event{Kind: "ups", Severity: routing.Warning, Site: "home"}
	back.Over = true
	nowhere := routing.Event{Kind: "tailnet_down", Severity: routing.Critical}
	for _, c := range []struct {
		name  string
		route routing.Route
		event routing.Event
		wants bool
	}{
		{"all of it", routing.Route{}, routing.Event{}, true},
		{"a kind", routing.Route{Kinds: []string{"ups", "power_outage"}}, out, true},
		{"another kind", routing.Route{Kinds: []string{"node_failure"}}, out, false},
		{"severe enough", routing.Route{Least: routing.Warning}, advice, true},
		{"not severe enough", routing.Route{Least: routing.Critical}, advice, false},
		{"a site", routing.Route{Sites: []string{"office", "home"}}, out, true},
		{"another site", routing.Route{Sites: []string{"office"}}, out, false},
		{"of no site", routing.Route{Sites: []string{"office"}}, nowhere, true},
		{"offline, and it is out", routing.Route{On: routing.Offline}, out, true},
		{"offline, and it is back", routing.Route{On: routing.Offline}, back, false},
		{"online, and it is out", routing.Route{On: routing.Online}, out, false},
		{"online, and it is back", routing.Route{On: routing.Online}, back, true},
		{"both must hold", routing.Route{Kinds: []string{"ups"}, Least: routing.Critical}, advice, false},
	} {
		if got := c.route.Wants(c.event); got != c.wants {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestC6_NamesAreReadBack(t *testing.T) {
	for _, s := range []routing.Severity{routing.Info, routing.Warning, routing.Critical} {
		text, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		got := routing.Severity(-1)
		if err := got.UnmarshalText(text); err != nil || got != s {
			t.Errorf("%s is read as %v, %v", text, got, err)
		}
	}
	for _, o := range []routing.On{routing.Both, routing.Offline, routing.Online} {
		if got, err := routing.ParseOn(o.String()); err != nil || got != o {
			t.Errorf("%s is read as %v, %v", o, got, err)
		}
	}
	if _, err := routing.ParseSeverity("urgent"); err == nil || err.Error() != `"urgent" is no severity; there are info, warning, critical` {
		t.Errorf("urgent: %v", err)
	}
	if _, err := routing.ParseOn("always"); err == nil {
		t.Error("always is taken for a turn")
	}
}

func TestC6_QuietHours(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	night, noon := routing.Quiet{From: 22 * time.Hour, To: 7 * time.Hour}, routing.Quiet{From: 12 * time.Hour, To: 14*time.Hour + 30*time.Minute}
	for _, c := range []struct {
		quiet     routing.Quiet
		at, until string // empty: it is in none
	}{
		{night, "2026-11-21 21:59:59", ""},
		{night, "2026-11-21 22:00:00", "2026-11-22 07:00"},
		{night, "2026-11-22 06:59:59", "2026-11-22 07:00"},
		{night, "2026-11-22 07:00:00", ""},
		{night, "2026-12-31 23:00:00", "2027-01-01 07:00"},
		{night, "2026-03-28 23:00:00", "2026-03-29 07:00"}, // an hour shorter
		{night, "2026-10-24 23:00:00", "2026-10-25 07:00"}, // an hour longer
		{noon, "2026-11-21 12:00:00", "2026-11-21 14:30"},
		{noon, "2026-11-21 14:30:00", ""},
		{routing.Quiet{}, "2026-11-21 00:00:00", ""},
		{routing.Quiet{From: time.Hour, To: time.Hour}, "2026-11-21 01:00:00", ""},
	} {
		at, err := time.ParseInLocation(time.DateTime, c.at, berlin)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if until, in := c.quiet.Until(at); in {
			got = until.Format("2006-01-02 15:04")
		}
		if got != c.until {
			t.Errorf("%v at %s: until %q, want %q", c.quiet, c.at, got, c.until)
		}
	}
}

// TestC6_QuietHoursEnd demands of all of them that they end within a day, and are over then.
func TestC6_QuietHoursEnd(t *testing.T) {
	var zones []*time.Location
	for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Taipei", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Chatham"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	rapid.Check(t, func(t *rapid.T) {
		minutes := rapid.IntRange(0, 24*60-1)
		q := routing.Quiet{From: time.Duration(minutes.Draw(t, "from")) * time.Minute, To: time.Duration(minutes.Draw(t, "to")) * time.Minute}
		at := time.Unix(rapid.Int64Range(1_760_000_000, 1_860_000_000).Draw(t, "at"), 0).In(rapid.SampledFrom(zones).Draw(t, "zone"))
		until, in := q.Until(at)
		if !in {
			return
		}
		if d := until.Sub(at); d <= 0 || d > 25*time.Hour {
			t.Fatalf("%v at %s last for %s", q, at, d)
		}
		if again, still := q.Until(until); still && !again.Equal(until) && again.Sub(until) > 2*time.Hour {
			t.Fatalf("%v at %s end at %s, and go on until %s", q, at, until, again)
		}
	})
}
