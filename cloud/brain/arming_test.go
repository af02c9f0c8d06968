package brain

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// destroy leaves nothing of a journal that could be read.
func (h *home) destroy(path string) {
	h.Helper()
	for _, end := range []string{"-wal", "-shm"} {
		h.must(os.RemoveAll(path + end))
	}
	h.must(os.WriteFile(path, []byte(strings.Repeat("no journal ", 1000)), 0o600))
}

// unsure checks whether the brain says that it does not know the plan's arming, and that a
// Pi keeps what it has while that is so.
func (h *home) unsure(want bool) {
	h.Helper()
	if got := slices.Contains(h.view().Warnings, armingWarning); got != want {
		h.Errorf("the page warns: %v", h.view().Warnings)
	}
	for _, s := range h.view().Sites {
		if s.ArmingUnknown != (want && s.HasPlan) {
			h.Errorf("%s: the page says that the arming is unknown: %t", s.Name, s.ArmingUnknown)
		}
	}
	a := h.ask("what it has")
	if keeps := a.Bundle == nil && a.Mandate.Bundle == "what it has"; keeps != want {
		h.Errorf("the Pi is told %+v, %+v", a.Mandate, a.Bundle)
	}
	if want && a.Mandate.Run != shutdown.None {
		h.Errorf("the run is %s", a.Mandate.Run)
	}
}

// TestS10_ALostJournalDisarmsNoPi: what is not known any more is not said, in this process
// and in the next, until a person has armed or disarmed the plan.
func TestS10_ALostJournalDisarmsNoPi(t *testing.T) {
	for name, spoil := range map[string]func(h *home, path string){
		"destroyed": (*home).destroy,
		"emptied": func(h *home, path string) {
			h.destroy(path)
			h.must(os.Truncate(path, 0))
		},
		"removed": func(h *home, path string) {
			h.destroy(path)
			h.must(os.Remove(path))
		},
		"its end garbled": (*home).garble,
	} {
		for _, press := range []string{"arm", "disarm"} {
			t.Run(name+", then "+press, func(t *testing.T) {
				in(t, func(h *home) { h.withPlan() }, func(h *home) {
					h.unsure(false) // a first start has forgotten nothing
					h.press("/api/v1/plan/arm")
					h.again(func(path string) { spoil(h, path) })
					h.unsure(true)
					h.crash(time.Second)
					rest(2 * time.Second)
					h.unsure(true)
					h.press("/api/v1/plan/" + press)
					rest(2 * time.Second) // the page is renewed
					for range 2 {
						h.unsure(false)
						if a := h.ask(""); a.Bundle == nil || a.Bundle.Armed != (press == "arm") || (a.Mandate.Run == shutdown.Disarmed) != (press == "disarm") {
							h.Errorf("the Pi is told %+v, %+v", a.Mandate, a.Bundle)
						}
						h.crash(time.Second)
						rest(2 * time.Second)
					}
				})
			})
		}
	}
}

// TestR3_OneBrainOnAStateDirectory: a second one waits for the first to end, and then says
// what is in its way.
func TestR3_OneBrainOnAStateDirectory(t *testing.T) {
	in(t, nil, func(h *home) {
		begun := time.Now()
		_, err := New(h.Context(), h.cfg, h.brain.log, nil)
		if err == nil || !strings.Contains(err.Error(), "another brain runs on the state directory "+h.cfg.StateDir) {
			h.Errorf("answered with %v", err)
		}
		if waited := time.Since(begun); waited != lockWithin {
			h.Errorf("waited for %s", waited)
		}
		if files, _ := filepath.Glob(filepath.Join(h.cfg.StateDir, "*broken*")); len(files) > 0 {
			h.Errorf("set aside: %v", files)
		}
	})
	dir := t.TempDir()
	first, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lockWithin)
	defer cancel()
	got := make(chan error, 1)
	go func() {
		second, err := lock(ctx, dir)
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("after the first had ended: %v", err)
	}
}
