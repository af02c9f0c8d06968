package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const house = `{"at":"2026-11-21T19:02:31Z","verdict":"pve2 at home failed 29 s ago. In all 2 incidents are open.","well":false,"warnings":["The journal cannot be written."],
"sites":[{"name":"home","armed":true,"has_plan":true,"unconfirmed_by":["pi"],"maintenance_until":"2026-11-22T07:00:00Z",
	"upses":[{"name":"ups","supply":"battery","for_ns":20000000000,"charge_ratio":0.96,"runtime_ns":1860000000000,"load_ratio":0.31,"age_ns":1000000000},{"name":"old","supply":"mains","for_ns":93600000000000,"age_ns":180000000000}],
	"sources":[{"name":"pi","state":"up","heard":true,"age_ns":400000000},{"name":"pve2 (2)","state":"down, muted until 21:14","heard":true,"age_ns":7200000000000,"muted_until":"2026-11-21T21:14:00Z"},{"name":"pve3","state":"pending"}],
	"runs":[{"title":"The plan advances","reason":"the power has been out for 10 s","now":"stage 1 of 2","next":"stage 2 of 2, pve3, begins at 19:05:21 at the latest","targets":[{"name":"mail","state":"down"},{"name":"web","state":"down"},{"name":"db","state":"late","why":"no answer"},{"name":"pve1","state":"told"},{"name":"old","state":"not back","why":"no storage"},{"name":"nas","state":"left on","why":"fed by desk, which has mains"}]}]},
	{"name":"office","sources":[],"upses":[]}],
"incidents":[{"id":"home-node-20261121T190202Z","title":"Failure at home","why":"pve2 sent nothing for 20 s","since":"2026-11-21T19:02:02Z","open":true,"nodes":["pve2"],"answered":"Alex"},
	{"id":"home-power-20261120T030000Z","title":"Power outage at home","why":"the UPS has been on battery for 5 s","since":"2026-11-20T23:59:59Z","ended":"2026-11-21T00:01:00Z","earlier":[{"since":"2026-11-20T23:10:00Z","ended":"2026-11-20T23:20:00Z"}],"open":false,"outcome":"the power is back"}],
"waiting":[{"name":"pve9"}]}`

// TestStatus is one screen, and bad news unless all is well.
func TestStatus(t *testing.T) {
	many := strings.Repeat(`{"name":"node","state":"up","heard":true,"age_ns":0},`, rowsMost)
	for _, tt := range []struct {
		name, status, want string
		bad                bool
	}{
		{"trouble", house, `pve2 at home failed 29 s ago. In all 2 incidents are open.
! The journal cannot be written.

home: the plan is armed, but pi has not confirmed; in maintenance until Sun 22 Nov 07:00
  ups       battery for 20 s, 96 %, 31 min left, load 31 %  1 s ago
  old       mains for 26 h                                  3 min ago
  pi        up                                              0 s ago
  pve2 (2)  down, muted until 21:14                         2 h ago
  pve3      pending                                         not heard
  The plan advances, because the power has been out for 10 s
    stage 1 of 2
    down: mail, web
    told, and not seen down yet: pve1
    db was not down at its deadline: no answer
    old was not started again: no storage
    stage 2 of 2, pve3, begins at 19:05:21 at the latest
    nas is left on: fed by desk, which has mains

office

Open incidents
  19:02:02  home-node-20261121T190202Z  Failure at home, because pve2 sent nothing for 20 s; known to Alex

1 waiting to be let in: sentinel-cloud approve
`, true},
		{"nothing", `{"verdict":"All well.","well":true,"sites":[{"name":"home","has_plan":true}]}`, "All well.\n\nhome: the plan is not armed\n", false},
		{"all is well again", `{"verdict":"All well.","well":true,"sites":[{"name":"home","has_plan":true,"armed":true,"runs":[{"title":"Last run of the plan: 19:02","reason":"the power has been out for 10 s","past":true}]}]}`,
			"All well.\n\nhome: the plan is armed\n  Last run of the plan: 19:02\n", false},
		{"not all is", `{"verdict":"Nas at home is off still, since the plan shut it down.","sites":[{"name":"home","runs":[{"title":"Last run of the plan: 19:02","past":true}],"off":[{"name":"nas","state":"off","text":"nas on pve1 is off still"}]}]}`,
			"Nas at home is off still, since the plan shut it down.\n\nhome\n  Last run of the plan: 19:02\n  nas on pve1 is off still\n", true},
		{"restored", `{"verdict":"All well.","well":true,"warnings":["Whether the plan is armed is not known."],"sites":[{"name":"home","has_plan":true,"armed":true,"arming_unknown":true,"unconfirmed_by":["pi"]}]}`,
			"All well.\n! Whether the plan is armed is not known.\n\nhome: whether the plan is armed is not known\n", true},
		{"a warning alone", `{"verdict":"All well.","well":true,"warnings":["x"]}`, "All well.\n! x\n", true},
		{"more than a screen holds", `{"verdict":"All well.","well":true,"sites":[{"name":"home","sources":[` + many + `{"name":"pve1","state":"late"}]}]}`,
			fmt.Sprintf("All well.\n\nhome\n  pve1  late  not heard\n  %d more are up\n", rowsMost), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, asked := brain(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, tt.status) })
			var b, raw strings.Builder
			if err := o.Status(&b, false); errors.Is(err, ErrBadNews) != tt.bad || err != nil && !tt.bad {
				t.Errorf("ends with %v", err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := o.Status(&raw, true); errors.Is(err, ErrBadNews) != tt.bad || raw.String() != tt.status {
				t.Errorf("in JSON %v: %s", err, raw.String())
			}
			if (*asked)[0] != "GET /api/v1/status" {
				t.Errorf("asked %q", *asked)
			}
		})
	}
}

// TestWatch goes on when the brain does not, and ends with the last answer.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	times := 0
	o, _ := brain(t, func(w http.ResponseWriter, _ *http.Request) {
		switch times++; times {
		case 1:
			fmt.Fprint(w, `{"verdict":"All well.","well":true}`)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"the brain is starting"}`)
		default:
			fmt.Fprint(w, `{"verdict":"On battery."}`)
			cancel()
		}
	})
	var b strings.Builder
	if err := o.Watch(ctx, &b); !errors.Is(err, ErrBadNews) {
		t.Errorf("ends with %v", err)
	}
	if want := toTop + "All well.\n" + toTop + "the brain is starting\n" + toTop + "On battery.\n"; b.String() != want {
		t.Errorf("it says %q", b.String())
	}
}

func TestIncidents(t *testing.T) {
	o, asked := brain(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, house) })
	var b strings.Builder
	if err := o.Incidents(&b, false); !errors.Is(err, ErrBadNews) {
		t.Errorf("ends with %v", err)
	}
	want := "19:02:02  home-node-20261121T190202Z  Failure at home, because pve2 sent nothing for 20 s; known to Alex\n" +
		"Fri 20 Nov 23:59:59  home-power-20261120T030000Z  Power outage at home, because the UPS has been on battery for 5 s. Over at 00:01:00: the power is back\n" +
		"          and before that from 23:10:00 to 23:20:00\n"
	if b.String() != want || (*asked)[0] != "GET /api/v1/incidents" {
		t.Errorf("asked %q, it says\n%s", *asked, b.String())
	}
	o, _ = brain(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"incidents":[]}`) })
	b.Reset()
	if err := o.Incidents(&b, false); err != nil || b.String() != "Nothing has happened in the last 24 h.\n" {
		t.Errorf("%v: %s", err, b.String())
	}
}

// TestDigest writes what the next digest would say.
func TestDigest(t *testing.T) {
	o, asked := brain(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"at":"2026-11-22T00:10:00Z","subject":"Digest of home: all is well","text":"At home, since Mon 08:00:\npve1 was up all the time."}`)
	})
	var b strings.Builder
	if err := o.Digest(&b, false); err != nil || b.String() != "Digest of home: all is well\n\nAt home, since Mon 08:00:\npve1 was up all the time.\n" || (*asked)[0] != "GET /api/v1/digest" {
		t.Errorf("asked %q, %v, it says\n%s", *asked, err, b.String())
	}
	b.Reset()
	if err := o.Digest(&b, true); err != nil || !strings.HasPrefix(b.String(), `{"at":"2026-11-22T00:10:00Z","subject":`) {
		t.Errorf("%v: %s", err, b.String())
	}
}

func TestTimeline(t *testing.T) {
	for _, tt := range []struct{ name, at, want string }{
		{"of today", "2026-11-22T00:10:00Z", "Saturday 21 November 2026\n23:59:50  pve2 failed, because it sent nothing for 20 s\nSunday 22 November 2026\n00:00:02  pve2 is back after 12 s\n"},
		{"of yesterday, where the brain is", "2026-11-21T23:59:55Z", "23:59:50  pve2 failed, because it sent nothing for 20 s\nSunday 22 November 2026\n00:00:02  pve2 is back after 12 s\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, asked := brain(t, func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"at":%q,"timeline":[{"at":"2026-11-21T23:59:50Z","text":"pve2 failed, because it sent nothing for 20 s"},{"at":"2026-11-22T00:00:02Z","text":"pve2 is back after 12 s"}]}`, tt.at)
			})
			var b strings.Builder
			if err := o.Timeline(&b, "a/b"); err != nil || b.String() != tt.want {
				t.Errorf("%v: %s", err, b.String())
			}
			if (*asked)[0] != "GET /api/v1/incidents/a%2Fb" {
				t.Errorf("asked %q", *asked)
			}
		})
	}
}

// TestExitCode tells what cannot be asked for from an answer that is no.
func TestExitCode(t *testing.T) {
	for status, want := range map[int]int{http.StatusBadRequest: 2, http.StatusNotFound: 1, http.StatusConflict: 1, http.StatusServiceUnavailable: 1} {
		o, _ := brain(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error":"no"}`)
		})
		if got := ExitCode(o.Press("/x")); got != want {
			t.Errorf("%d exits with %d", status, got)
		}
	}
	if ExitCode(nil) != 0 || ExitCode(ErrBadNews) != 1 {
		t.Error("no error, or bad news, exits wrongly")
	}
}
