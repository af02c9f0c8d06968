package cli

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestH9_Verbs press the right button, and say what is so now.
func TestH9_Verbs(t *testing.T) {
	const now = `{"at":"2026-11-21T19:14:00Z","sites":[{"name":"home","maintenance_until":"2026-11-21T21:14:00Z","sources":[
		{"name":"pve2","muted_until":"2026-11-21T21:14:00Z","maintenance_until":"2026-11-23T21:14:00Z"},{"name":"a/b"},{"name":"office"}]},{"name":"office","maintenance_until":"2026-11-21T20:00:00Z"}],
		"incident":{"open":true,"answered":"the operator"}}`
	for _, tt := range []struct {
		name  string
		do    func(o Operator, w *strings.Builder) error
		asked string
		want  string
	}{
		{"mute", func(o Operator, w *strings.Builder) error { return o.Mute(w, "pve2", "") }, "POST /api/v1/nodes/pve2/mute", "pve2 is muted until 21:14; it is still watched."},
		{"mute for so long", func(o Operator, w *strings.Builder) error { return o.Mute(w, "pve2", "1h 30m&x") }, "POST /api/v1/nodes/pve2/mute?for=1h+30m%26x", "pve2 is muted until 21:14; it is still watched."},
		{"unmute", func(o Operator, w *strings.Builder) error { return o.Unmute(w, "a/b") }, "POST /api/v1/nodes/a%2Fb/unmute", "a/b is not muted; its failures call you."},
		{"maintain a node", func(o Operator, w *strings.Builder) error { return o.Maintain(w, "pve2", "2d", false, false) }, "POST /api/v1/nodes/pve2/maintain?for=2d", "pve2 is in maintenance until Mon 23 Nov 21:14; it may come and go."},
		{"maintain a site", func(o Operator, w *strings.Builder) error { return o.Maintain(w, "home", "", false, false) }, "POST /api/v1/sites/home/maintain", "home is in maintenance until 21:14; its machines may come and go, and a power outage is still told."},
		{"maintain a node with a site's name", func(o Operator, w *strings.Builder) error { return o.Maintain(w, "office", "", false, true) }, "POST /api/v1/nodes/office/maintained", "office is not in maintenance; what fails calls you."},
		{"maintain a site with a node's name", func(o Operator, w *strings.Builder) error { return o.Maintain(w, "office", "", true, false) }, "POST /api/v1/sites/office/maintain", "office is in maintenance until 20:00; its machines may come and go, and a power outage is still told."},
		{"end a site's", func(o Operator, w *strings.Builder) error { return o.Maintain(w, "home", "", false, true) }, "POST /api/v1/sites/home/maintained", "home is not in maintenance; what fails calls you."},
		{"delete", func(o Operator, w *strings.Builder) error { return o.Delete(w, "nas") }, "DELETE /api/v1/nodes/nas", "nas is deleted; it comes back if it is heard again."},
		{"delete what still beats", func(o Operator, w *strings.Builder) error { return o.Delete(w, "pve2") }, "DELETE /api/v1/nodes/pve2", "pve2 was deleted, and is back: it is still heard."},
		{"ack", func(o Operator, w *strings.Builder) error { return o.Ack(w, "home-x") }, "POST /api/v1/incidents/home-x/ack", "home-x is known to the operator; nobody is called about it unless it gets worse."},
		{"approve", func(o Operator, w *strings.Builder) error { return o.Approve(w, "pve9", "", "") }, "POST /api/v1/nodes/pve9/approve?", "pve9 is let in, and is watched from its next heartbeat on."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var pressed []string
			o, _ := brain(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					fmt.Fprint(w, now)
					return
				}
				pressed = append(pressed, r.Method+" "+r.RequestURI)
				w.WriteHeader(http.StatusNoContent)
			})
			var b strings.Builder
			if err := tt.do(o, &b); err != nil || b.String() != tt.want+"\n" {
				t.Errorf("%v, it says %q", err, b.String())
			}
			if !slices.Equal(pressed, []string{tt.asked}) {
				t.Errorf("pressed %q", pressed)
			}
		})
		t.Run(tt.name+", refused", func(t *testing.T) {
			o, _ := brain(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					fmt.Fprint(w, now)
					return
				}
				w.WriteHeader(http.StatusNotFound)
				fmt.Fprint(w, `{"error":"there is none","hint":"did you mean pve2?"}`)
			})
			var b strings.Builder
			if err := tt.do(o, &b); err == nil || err.Error() != "there is none; did you mean pve2?" || b.Len() > 0 {
				t.Errorf("%v, it says %q", err, b.String())
			}
		})
	}
}

// TestDelete_WhatIsNamed says what the brain warns of.
func TestDelete_WhatIsNamed(t *testing.T) {
	o, _ := brain(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			fmt.Fprint(w, `{"warnings":["nas still stands in cloud.yaml"]}`)
			return
		}
		fmt.Fprint(w, house)
	})
	var b strings.Builder
	if err := o.Delete(&b, "nas"); err != nil || b.String() != "nas is deleted; it comes back if it is heard again.\n! nas still stands in cloud.yaml\n" {
		t.Errorf("%v, it says %q", err, b.String())
	}
}

// TestMaintain_Nobody says that a name is neither a node's nor a site's.
func TestMaintain_Nobody(t *testing.T) {
	o, asked := brain(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, house) })
	var b strings.Builder
	err := o.Maintain(&b, "hom", "2h", false, false)
	if want := "there is no node or site \"hom\"; `sentinel-cloud status` lists them"; err == nil || err.Error() != want || b.Len() > 0 {
		t.Errorf("%v, it says %q", err, b.String())
	}
	if want := []string{"GET /api/v1/status"}; !slices.Equal(*asked, want) {
		t.Errorf("asked %q", *asked)
	}
}

// TestS10_ArmWaitsForThePi says what is so once the Pi has confirmed, and that it has not
// if it does not.
func TestS10_ArmWaitsForThePi(t *testing.T) {
	for _, tt := range []struct {
		name     string
		arm      bool
		confirms int // the Pi, with so many questions; 0: never
		path     string
		want     string
	}{
		{"armed", true, 3, "POST /api/v1/plan/arm", "home: the plan is armed; a power cut really shuts machines down.\n"},
		{"disarmed", false, 1, "POST /api/v1/plan/disarm", "home: the plan is not armed; nothing is shut down in a power cut.\n"},
		{"disarmed, and the Pi is silent", false, 0, "POST /api/v1/plan/disarm", "home: the plan is not armed, but pi, pi2 have not confirmed; until then what was said before may hold.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			questions := 0
			o, asked := brain(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				questions++
				waits := `"pi","pi2"`
				if questions == tt.confirms {
					waits = ""
				}
				fmt.Fprintf(w, `{"sites":[{"name":"home","has_plan":true,"armed":%t,"unconfirmed_by":[%s]},{"name":"office","unconfirmed_by":["pi3"]}]}`, tt.arm, waits)
			})
			o.Patience = time.Minute
			if tt.confirms == 0 {
				o.Patience = time.Nanosecond
			}
			var b strings.Builder
			if err := o.Arm(&b, tt.arm, false); errors.Is(err, ErrBadNews) != (tt.confirms == 0) || err != nil && tt.confirms > 0 {
				t.Errorf("ends with %v", err)
			}
			if b.String() != tt.want || (*asked)[0] != tt.path {
				t.Errorf("asked %q, it says %q", *asked, b.String())
			}
		})
	}
}
