package brain

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/sim/twiliosim"
	"sentinel.home.arpa/shared/wire"
)

// jumps are what a wall clock does: somebody set it wrong, a battery was empty.
func jumps() map[string]func(now time.Time) time.Duration {
	by := func(d time.Duration) func(time.Time) time.Duration { return func(time.Time) time.Duration { return d } }
	return map[string]func(time.Time) time.Duration{
		"3 h ahead": by(3 * time.Hour), "3 h back": by(-3 * time.Hour), "40 days ahead": by(40 * 24 * time.Hour),
		"1970": func(now time.Time) time.Duration { return time.Unix(0, 0).Sub(now) },
	}
}

// entries are what is in the journal, in the order of the brain's time.
func (h *home) entries() []journal.Entry {
	h.Helper()
	j := openJournal(h, h.cfg)
	defer j.Close()
	var all []journal.Entry
	h.must(j.Find(h.Context(), journal.Filter{}, func(f journal.Found) error { all = append(all, f.Entry); return nil }))
	return all
}

// openJournal opens a brain's journal as the brain does.
func openJournal(t testing.TB, cfg Config) *journal.Journal {
	t.Helper()
	r, err := journal.Restore(t.Context(), filepath.Join(cfg.StateDir, journalFile), time.Now(), journal.Want{Losing: func() {}})
	if err != nil || r.Trouble != nil {
		t.Fatal(err, r.Trouble)
	}
	return r.Journal
}

// facts are the entries without anything of the wall clock. What happens in the same
// instant has no order; what a message's seq adds to it is less than a millisecond.
func (h *home) facts() []string {
	h.Helper()
	var all []string
	for _, e := range h.entries() {
		body, err := json.Marshal(e.Fact)
		h.must(err)
		var fields map[string]any
		h.must(json.Unmarshal(body, &fields))
		for k, v := range fields {
			if text, ok := v.(string); ok {
				if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
					fields[k] = at.Round(10 * time.Millisecond)
				}
			}
			if k == "Event" { // names a certificate, which is another each time
				fields[k] = fields[k].(map[string]any)["type"]
			}
			if k == "SID" || k == "For" || k == "Seq" || k == "Away" || k == "Age" {
				delete(fields, k) // to the microsecond, or made up by others
			}
		}
		body, err = json.Marshal(fields)
		h.must(err)
		all = append(all, fmt.Sprintf("%s %s %s", e.At.Round(10*time.Millisecond).Format("15:04:05.00"), e.Fact.FactName(), body))
	}
	slices.Sort(all)
	return all
}

// TestR7_WallClockJumps: whatever the brain is waiting for, a jump of its wall clock in the
// middle changes only what is shown: the facts, and when they became ones, are the same.
func TestR7_WallClockJumps(t *testing.T) {
	t.Parallel()
	longStory(t)
	for _, tt := range []struct {
		name   string
		plan   bool
		before func(h *home, c *cluster) // the jump
		after  func(h *home)
	}{
		{"in calm", false, func(*home, *cluster) { rest(5 * time.Second) }, func(h *home) {
			rest(30 * time.Second)
			h.calls(0)
		}},
		{"a reboot is announced", false, func(h *home, c *cluster) {
			h.slowly()
			h.nodes["pve2"].announce(wire.Reboot)
			h.nodes["pve2"].kill()
			rest(time.Minute)
		}, func(h *home) {
			rest(9*time.Minute + 30*time.Second)
			h.calls(1)
		}},
		{"on battery", true, func(h *home, c *cluster) {
			h.press("/api/v1/plan/arm")
			h.ups.set(true)
			rest(7 * time.Second)
		}, func(h *home) {
			rest(2 * time.Minute)
			h.mustTell("the plan is through")
			h.calls(1)
		}},
		{"a call rings", false, func(h *home, c *cluster) {
			h.x.Fault(twiliosim.Fault{Kind: twiliosim.Hang, Done: true, Method: "POST"}, 1)
			h.nodes["pve2"].kill()
			rest(22 * time.Second) // its answer is lost
		}, func(h *home) {
			rest(2 * time.Minute)
			h.calls(1)
		}},
		{"nobody has answered yet", false, func(h *home, c *cluster) {
			h.x.Behave(alex, twiliosim.NoAnswer{})
			h.x.Behave(sam, twiliosim.NoAnswer{}, twiliosim.Answer{})
			h.nodes["pve2"].kill()
			h.slowly()
			rest(60 * time.Second)
		}, func(h *home) {
			rest(7 * time.Minute)
			h.calls(4)
		}},
		{"to be resolved", false, func(h *home, c *cluster) {
			h.nodes["pve2"].kill()
			rest(40 * time.Second)
			h.nodes["pve2"].wake()
			rest(30 * time.Second)
		}, func(h *home) {
			rest(40 * time.Second)
			h.mustTell("is over, because all of its nodes have been back for 60 s")
		}},
		{"a stage runs into its deadline", true, func(h *home, c *cluster) {
			h.press("/api/v1/plan/arm")
			c.Fault("pve2", pvesim.Fault{Kind: pvesim.Hang}) // for its guests' stage and its own
			h.ups.set(true)
			rest(60 * time.Second)
		}, func(h *home) {
			rest(5 * time.Minute)
			h.mustTell("was not down at its deadline")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play := func(t *testing.T, jump func(time.Time) time.Duration) (facts []string) {
				var c *cluster
				in(t, func(h *home) {
					if tt.plan {
						c = h.withPlan()
					}
				}, func(h *home) {
					tt.before(h, c)
					h.wrong.Store(int64(jump(time.Now())))
					tt.after(h)
					facts = h.facts()
				})
				return facts
			}
			want := play(t, func(time.Time) time.Duration { return 0 })
			for name, jump := range jumps() {
				t.Run(name, func(t *testing.T) {
					got := play(t, jump)
					// What happens at one instant has no order: on a busy machine a look may come before what
					// it waits for, and again only a second later. What a jump changes differs each time.
					for tries := 1; tries < 4 && !slices.Equal(got, want); tries++ {
						got, want = play(t, jump), play(t, func(time.Time) time.Duration { return 0 })
					}
					for n := range max(len(got), len(want)) {
						if n >= len(got) || n >= len(want) || got[n] != want[n] {
							t.Fatalf("fact %d differs:\n%s\nand without the jump\n%s", n, strings.Join(got[min(n, len(got)):], "\n"), strings.Join(want[min(n, len(want)):], "\n"))
						}
					}
				})
			}
		})
	}
}

// TestR7_Restarted: over a restart of the process the deadlines go on by boot time, also if
// the wall clock jumps meanwhile.
func TestR7_Restarted(t *testing.T) {
	longStory(t)
	for name, jump := range jumps() {
		for _, away := range []time.Duration{time.Second, 9 * time.Minute, 11 * time.Minute} {
			t.Run(fmt.Sprintf("%s, %s", name, away), func(t *testing.T) {
				in(t, nil, func(h *home) {
					h.promised(away, func() {
						h.wrong.Store(int64(jump(time.Now())))
						h.crash(away)
					}, away)
				})
			})
		}
	}
}

// TestR7_Moved: another machine, or another boot, goes by the wall clocks, and holds what
// has passed between nothing and the whole. A restart calls nobody by itself.
func TestR7_Moved(t *testing.T) {
	longStory(t)
	for _, away := range []time.Duration{time.Second, 9 * time.Minute, 11 * time.Minute} {
		for name, tt := range map[string]struct{ wrong, passed time.Duration }{
			"the same time":  {0, away},
			"an hour behind": {-time.Hour, 0},
			"a day ahead":    {24 * time.Hour, away + 24*time.Hour},
		} {
			t.Run(fmt.Sprintf("%s, %s", name, away), func(t *testing.T) {
				in(t, nil, func(h *home) {
					h.promised(away, func() {
						h.wrong.Store(int64(tt.wrong))
						h.reboot(away)
					}, tt.passed)
				})
			})
		}
	}
}

// promised has a node announce a reboot and not come back while the brain is away. passed
// is what the next brain takes for the time that it was.
func (h *home) promised(away time.Duration, gone func(), passed time.Duration) {
	h.Helper()
	h.slowly()
	n := h.nodes["pve2"]
	n.announce(wire.Reboot)
	rest(2 * time.Second)
	n.kill()
	last := n.lastWord()
	rest(30 * time.Second)
	lived := time.Since(last) // by the first brain
	if passed == 0 {
		lived = 20 * time.Second // its last fact is of then, and the time since is not known
	}
	gone()
	back := time.Now()
	rest(2 * time.Second)
	left := max(10*time.Minute-lived-passed, 20*time.Second) // as long as any silence
	h.calls(0)
	if s := h.shows("pve2"); s.Condition != "off" {
		h.Errorf("the page shows %+v", s)
	}
	rest(time.Until(back.Add(left + 7*time.Second)))
	call := h.calls(1)[0]
	if late := call.Created.Sub(back.Add(left)); late.Abs() > 5*time.Second {
		h.Errorf("called %s after the start, not %s", call.Created.Sub(back), left)
	}
	if !strings.Contains(call.Text, "P V E 2") {
		h.Errorf("said %q", call.Text)
	}
	rest(time.Minute)
	h.calls(1)
	h.inOrderOfTime()
}

// inOrderOfTime checks that the brain's time never went back.
func (h *home) inOrderOfTime() {
	h.Helper()
	var last time.Time
	for _, e := range h.entries() {
		if e.At.Before(last) {
			h.Errorf("%s is of %s, after one of %s", e.Fact.FactName(), e.At, last)
		}
		last = e.At
	}
}

// TestH8_MovedInCalm: to another machine, whatever its wall clock says: every silence
// starts anew and nobody is called; a node that died meanwhile is missed 20 s later.
func TestH8_MovedInCalm(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"the same time": 0, "an hour behind": -time.Hour, "a day ahead": 24 * time.Hour} {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, one dies %t", name, dies), func(t *testing.T) {
				in(t, nil, func(h *home) {
					h.wrong.Store(int64(wrong))
					if dies {
						h.nodes["pve2"].kill()
					}
					h.reboot(9 * time.Minute)
					on := time.Now()
					rest(time.Minute)
					h.inOrderOfTime()
					if dies {
						h.onTime("the call", h.calls(1)[0].Created, on.Add(20*time.Second))
						return
					}
					h.well()
				})
			})
		}
	}
}

// TestH8_MovedWithAnAnsweredIncident: it stays open and answered, and calls nobody again.
func TestH8_MovedWithAnAnsweredIncident(t *testing.T) {
	t.Parallel()
	longStory(t)
	for name, wrong := range map[string]time.Duration{"the same time": 0, "an hour behind": -time.Hour, "a day ahead": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(h *home) {
				h.nodes["pve2"].kill()
				rest(45 * time.Second)
				h.calls(1)
				h.slowly()
				h.wrong.Store(int64(wrong))
				h.reboot(time.Minute)
				rest(40 * time.Minute)
				h.calls(1)
				if v := h.view(); len(v.Incidents) != 1 || !v.Incidents[0].Open || v.Incidents[0].Answered != "Alex" {
					h.Errorf("incidents %+v", v.Incidents)
				}
				h.inOrderOfTime()
			})
		})
	}
}

// TestR7_JournalOfAWrongClock: moved together with a wall clock that was wrong, and which
// is right again: the brain's time goes on from the journal's and never back, and running
// deadlines keep what was left of them.
func TestR7_JournalOfAWrongClock(t *testing.T) {
	for name, jump := range jumps() {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(h *home) {
				h.wrong.Store(int64(jump(time.Now())))
				h.crash(time.Second) // its facts are of the wrong clock
				rest(30 * time.Second)
				h.wrong.Store(0)
				h.reboot(time.Second)
				rest(30 * time.Second)
				h.reboot(time.Second)
				h.nodes["pve3"].kill()
				last := time.Now()
				rest(time.Minute)
				h.onTime("the call", h.calls(1)[0].Created, last.Add(20*time.Second))
				h.inOrderOfTime()
			})
		})
	}
}
