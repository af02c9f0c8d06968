package brain

import (
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

// again stops the brain, lets somebody spoil its journal, and starts another.
func (h *home) again(spoil func(path string)) {
	h.Helper()
	stop := h.stop
	h.stop = nil
	h.must(stop())
	spoil(filepath.Join(h.cfg.StateDir, journalFile))
	h.start()
	rest(2 * time.Second)
}

func (h *home) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// garble breaks the last fact of a journal without snapshots, as after a kill.
func (h *home) garble(path string) {
	h.Helper()
	h.sqlDo(path, `DELETE FROM snapshots; UPDATE facts SET body = '{"x' WHERE n = (SELECT max(n) FROM facts)`)
}

// sqlDo changes the journal as no program of ours would.
func (h *home) sqlDo(path, statement string) {
	h.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	h.must(err)
	_, err = db.Exec(statement)
	h.must(errors.Join(err, db.Close()))
}

// warned checks that the page has one warning, which says all of this.
func (h *home) warned(texts ...string) {
	h.Helper()
	w := h.view().Warnings
	for _, text := range texts {
		if len(w) == 0 || !strings.Contains(w[0], text) {
			h.Errorf("the page does not warn of %q: %q", text, w)
		}
	}
}

func (h *home) ready(want int) {
	h.Helper()
	if code, text := h.request(http.MethodGet, "/readyz", nil, nil); code != want {
		h.Errorf("readyz answered %d %s", code, text)
	}
}

// TestR3_DamagedJournal: the brain starts, knows what stood before the damage, says what
// it has forgotten and where the old journal lies; all that happens next is written again.
func TestR3_DamagedJournal(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve3"].announce(wire.Reboot) // which is what gets lost
		h.again(h.garble)
		h.warned("The journal was damaged", "journal.db.broken-20", "What was decided after ", "check whether the plan is armed")
		h.mustTell("the journal was damaged")
		h.ready(http.StatusOK)
		if note := h.shows("pve3").Note; note != "" {
			h.Errorf("pve3 %s", note)
		}
		if !h.view().Sites[0].Armed {
			h.Error("the plan is not armed any more")
		}
		h.nodes["pve2"].kill()
		rest(40 * time.Second)
		h.calls(1)
		h.press("/api/v1/plan/arm") // now a person has looked
		h.crash(time.Second)
		rest(30 * time.Second)
		h.calls(1)
		if v := h.view(); len(v.Warnings) > 0 || !v.Sites[0].Armed || len(v.Incidents) != 1 {
			h.Errorf("the next process knows %+v", v)
		}
	})
}

// TestR3_DamageThatASnapshotBridges: what stands is known all the same, also whether the plan
// is armed; that the history is not whole is said.
func TestR3_DamageThatASnapshotBridges(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve3"].announce(wire.Reboot)
		h.again(func(path string) {
			h.sqlDo(path, `UPDATE facts SET body = '{"x' WHERE n = (SELECT max(n) FROM facts)`)
		})
		h.warned("The journal was damaged", "journal.db.broken-20", "How everything stands is known all the same")
		h.ready(http.StatusOK)
		if note := h.shows("pve3").Note; note != "announced its reboot" {
			h.Errorf("pve3 %q", note)
		}
		if v := h.view(); !v.Sites[0].Armed || len(v.Warnings) != 1 {
			h.Errorf("armed %t, warnings %q", v.Sites[0].Armed, v.Warnings)
		}
		h.again(func(string) {})
		if v := h.view(); len(v.Warnings) > 0 || !v.Sites[0].Armed || h.shows("pve3").Note != "announced its reboot" {
			h.Errorf("the next process knows %+v", v)
		}
	})
}

// TestR3_JournalInTheWay: where the journal cannot be, the brain acts from memory and says
// so; once it can, what happened is in it.
func TestR3_JournalInTheWay(t *testing.T) {
	in(t, nil, func(h *home) {
		h.again(func(path string) {
			for _, end := range []string{"", "-wal", "-shm"} {
				h.must(os.RemoveAll(path + end))
			}
			h.must(os.MkdirAll(filepath.Join(path, "x"), 0o700))
		})
		h.warned("cannot be read", "All that was decided before is forgotten; check whether the plan is armed")
		h.ready(http.StatusServiceUnavailable)
		h.nodes["pve2"].kill()
		rest(40 * time.Second)
		h.calls(1)
		h.must(os.RemoveAll(filepath.Join(h.cfg.StateDir, journalFile)))
		rest(5 * time.Second)
		h.ready(http.StatusOK)
		h.crash(time.Second)
		rest(30 * time.Second)
		h.calls(1)
		if v := h.view(); len(v.Incidents) != 1 || v.Incidents[0].Answered != "Alex" {
			h.Errorf("the next process knows %+v", v.Incidents)
		}
	})
}

// TestR3_EmptyJournal: a brain that has forgotten all without being told is suspicious.
func TestR3_EmptyJournal(t *testing.T) {
	in(t, nil, func(h *home) {
		if _, ok := h.told("the journal is empty"); ok {
			h.Error("told at the first start")
		}
		h.again(func(path string) {
			for _, end := range []string{"-wal", "-shm"} {
				h.must(os.RemoveAll(path + end))
			}
			h.must(os.Truncate(path, 0))
		})
		h.mustTell("the journal is empty though this brain has run before")
		h.ready(http.StatusOK)
	})
}

// TestR3_NewerJournal is the one that a brain does not start with.
func TestR3_NewerJournal(t *testing.T) {
	in(t, nil, func(h *home) {
		h.must(h.stop())
		h.stop = nil
		j := openJournal(h, h.cfg)
		h.must(j.Append(h.Context(), []journal.Entry{{At: time.Now(), Wall: time.Now(), Boot: "x", Fact: unheardOf{}}}))
		h.must(j.Close())
		_, err := New(h.Context(), h.cfg, h.brain.log, nil)
		if err == nil || !strings.Contains(err.Error(), `"moon_fell", which this version does not know`) {
			h.Errorf("answered with %v", err)
		}
	})
}

// TestR3_MemoryHasItsBounds: of what cannot be written for too long the oldest goes.
func TestR3_MemoryHasItsBounds(t *testing.T) {
	in(t, nil, func(h *home) {
		b := &Brain{log: h.brain.log}
		for range 3 {
			for i := range unwrittenMost {
				b.unwritten = append(b.unwritten, journal.Entry{SinceBoot: time.Duration(i)})
			}
			b.bound()
		}
		if len(b.unwritten) != unwrittenMost || b.dropped != 2*unwrittenMost || b.unwritten[unwrittenMost-1].SinceBoot != unwrittenMost-1 {
			h.Errorf("%d wait, %d were dropped", len(b.unwritten), b.dropped)
		}
	})
}

// TestU6_HeldBackReportAfterARestart: a report that somebody held back, newer than all
// that the journal knows of, shuts nothing down; a true outage is acted upon a second later.
func TestU6_HeldBackReportAfterARestart(t *testing.T) {
	var c *cluster
	in(t, func(h *home) { c = h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		held := wire.UPSReport{Header: h.pi.header(), UPS: "ups", Reading: power.Reading{Supply: power.Battery, For: 60}}
		rest(6 * time.Second) // the Pi reports mains once more
		h.pi.kill()
		h.crash(time.Second)
		if _, err := h.pi.post(courier.PathUPS, wire.KindUPS, held.Header, held); err != nil {
			h.Errorf("answered with %v", err)
		}
		rest(50 * time.Second)
		if v := h.view(); len(v.Incidents) > 0 || v.Sites[0].UPSes[0].OnBattery || len(c.told()) > 0 {
			h.Errorf("the page shows %+v, %+v", v.Incidents, v.Sites[0].UPSes)
		}
		h.pi.mu.Lock()
		h.pi.on = true // it was only its network
		h.pi.mu.Unlock()
		rest(10 * time.Second)
		h.crash(time.Second)
		h.ups.set(true) // it is out before the brain has heard the Pi
		out := time.Now()
		rest(20 * time.Second)
		h.onTime("the plan", h.mustTell("the plan begins"), out.Add(10*time.Second))
	})
}

// unheardOf is a fact of a newer version.
type unheardOf struct{}

func (unheardOf) FactName() string { return "moon_fell" }

// TestR3_AKeyThatWasPutThere for the first start is no sign of an earlier one: nothing is
// missed, and a Pi is handed its bundle.
func TestR3_AKeyThatWasPutThere(t *testing.T) {
	cfg := DefaultConfig()
	cfg.StateDir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	cfg.Sites = []Site{{Name: "home", Pis: []Peer{{Name: "pi"}}}}
	if _, err := wire.LoadKey(cfg.StateDir); err != nil {
		t.Fatal(err)
	}
	for _, first := range []bool{true, false} {
		b, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		if unknown := b.arming.lost.Load(); unknown == first || (len(b.notices) == 0) != first {
			t.Errorf("first start %t: arming unknown %t, notices %q", first, unknown, b.notices)
		}
		if _, err := os.Stat(filepath.Join(cfg.StateDir, ranFile)); first && err == nil {
			t.Error("a brain that has decided nothing yet has run")
		}
		b.ran()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(cfg.StateDir, journalFile)); err != nil {
			t.Fatal(err)
		}
	}
}
