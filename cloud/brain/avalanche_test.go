package brain

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

// rang is one call of an hour as the phone saw it, with why the brain placed it.
type rang struct {
	after   time.Duration // since the hour began
	to, why string
	power   bool
	ended   string
}

// avalanche is an hour in which 40 nodes come and go: each is away for 100 s of every 5 min, 7 s after
// the one before. With an outage the power fails after half an hour, for 3 min.
func avalanche(h *home, outage bool) {
	const away, each, apart = 100 * time.Second, 5 * time.Minute, 7 * time.Second
	for at := time.Duration(0); at < time.Hour; at += time.Second {
		for n := range 40 {
			node := h.nodes[fmt.Sprintf("n%d", n+1)]
			switch since := at - time.Duration(n)*apart; {
			case since < 0:
			case since%each == 0:
				node.kill()
			case since%each == away:
				node.wake()
			}
		}
		switch {
		case outage && at == 30*time.Minute:
			h.ups.set(true)
		case outage && at == 33*time.Minute:
			h.ups.set(false)
		}
		rest(time.Second)
	}
}

// written is what the journal has of a kind, in the order of the journal.
func (h *home) written(kind string) (lines []factLine) {
	h.Helper()
	code, text := h.request(http.MethodGet, "/api/v1/journal?limit=100000", nil, nil)
	if code != http.StatusOK {
		h.Fatalf("answered %d %.300s", code, text)
	}
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var l factLine
		h.must(d.Decode(&l))
		if l.Fact == kind {
			lines = append(lines, l)
		}
	}
	return lines
}

// rung pairs the phone's calls with the facts that asked for them.
func (h *home) rung(begin time.Time) (all []rang) {
	h.Helper()
	why, sid := map[string]*sentinel.CallRequested{}, map[string]*sentinel.CallRequested{}
	for _, l := range h.written("call_requested") {
		var f sentinel.CallRequested
		h.must(json.Unmarshal(l.Body, &f))
		why[f.Call] = &f
	}
	for _, l := range h.written("call_placed") {
		var f sentinel.CallPlaced
		h.must(json.Unmarshal(l.Body, &f))
		sid[f.SID] = why[f.Call]
	}
	for _, c := range h.x.Calls() {
		f := sid[c.SID]
		if f == nil {
			h.Fatalf("nothing asked for the call %+v", c)
		}
		all = append(all, rang{after: c.Created.Sub(begin), to: f.Contact, why: f.Why, power: !f.Other, ended: c.Status})
	}
	return all
}

// TestC8_AnHoursAvalancheAtThePhone: 40 nodes that come and go for an hour are few calls, by the caps as
// shipped and none at night, and a power outage in the midst of it rings in time all the same.
func TestC8_AnHoursAvalancheAtThePhone(t *testing.T) {
	night := Hours{routing.Quiet{From: 22 * time.Hour, To: 7 * time.Hour}}
	for name, c := range map[string]struct {
		takes twiliosim.Behaviour
		quiet Hours
		calls int // without the power
	}{
		"taken":     {twiliosim.Answer{TalkFor: 30 * time.Second}, Hours{}, 1},
		"not taken": {twiliosim.NoAnswer{}, Hours{}, 6},
		"at night":  {twiliosim.NoAnswer{}, night, 0},
	} {
		for _, outage := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, outage %t", name, outage), func(t *testing.T) {
				t.Parallel()
				if testing.Short() && (name != "not taken" || !outage) {
					t.Skip("with -short only the busiest hour is lived through")
				}
				in(t, func(h *home) {
					h.each.Store(int64(8 * time.Second))
					for n := range 40 {
						name := fmt.Sprintf("n%d", n+1)
						h.nodes[name] = h.source(name)
						h.cfg.Sites[0].Nodes = append(h.cfg.Sites[0].Nodes, Peer{Name: name, Key: h.nodes[name].key.PublicKey()})
					}
					for i := range h.cfg.Contacts {
						h.cfg.Contacts[i].QuietHours = c.quiet
					}
				}, func(h *home) {
					h.x.Behave(alex, c.takes)
					h.x.Behave(sam, c.takes)
					begin := time.Now()
					avalanche(h, outage)
					all := h.rung(begin)
					other, first := 0, time.Duration(0)
					for i, r := range all {
						h.Logf("%8s %-4s %-9s power %-5t %s", r.after.Round(100*time.Millisecond), r.to, r.ended, r.power, r.why)
						if !r.power {
							other++
						} else if first == 0 {
							first = r.after
						}
						mine := slices.DeleteFunc(slices.Clone(all[:i+1]), func(o rang) bool { return o.to != r.to || r.after-o.after >= time.Hour })
						others := slices.DeleteFunc(slices.Clone(mine), func(o rang) bool { return o.power })
						if len(mine) > 6 || len(others) > 3 {
							h.Errorf("%s is called %d times within the hour, %d of them not about the power", r.to, len(mine), len(others))
						}
					}
					if other != c.calls {
						h.Errorf("%d calls not about the power instead of %d", other, c.calls)
					}
					for _, l := range h.written("call_held") {
						h.Logf("%8s %s", l.Wall.Sub(begin).Round(time.Second), l.Text)
					}
					if outage && (first < 30*time.Minute || first > 30*time.Minute+20*time.Second) {
						h.Errorf("the power failed after 30 min, and the phone rang after %s", first)
					}
				})
			})
		}
	}
}
