package brain

import (
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/liveness"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
)

// TestS4_DirectWay: without a Pi between, the adapter's own dialer must be used; only its
// failures say that a node is down.
func TestS4_DirectWay(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		if h.brain.wayTo("home", courier.ToShutDown) == nil {
			h.Error("through the Pi there is no way")
		}
		h.cfg.Proxmox.Via = "direct"
		set(h.brain, h.cfg)
		if h.brain.wayTo("home", courier.ToShutDown) != nil {
			h.Error("the direct way has a dialer of its own")
		}
	})
}

// TestR1_PisAreThoseOfTheConfiguration: a name that the journal knows as a Pi is none once
// it is not configured as one, nor is a node a Pi because it is configured so now.
func TestR1_PisAreThoseOfTheConfiguration(t *testing.T) {
	bound := func(name, site string, role sentinel.Role) sentinel.KeyBound {
		return sentinel.KeyBound{Name: name, Site: site, Role: role, Key: someKey, StableID: "n-" + name}
	}
	b := set(&Brain{identities: &ingest.Identities{}}, Config{Sites: []Site{{Name: "home", Pis: []Peer{{Name: "pi"}, {Name: "nuc"}, {Name: "moved"}},
		Nodes: []Peer{{Name: "configured", Key: "ed25519:other"}}}}})
	b.identities.Learn(b.set.Load().keys...)
	for _, k := range []sentinel.KeyBound{bound("pi", "home", sentinel.Pi), bound("old-pi", "home", sentinel.Pi), bound("nuc", "home", sentinel.Node),
		bound("moved", "cabin", sentinel.Pi), bound("pve1", "home", sentinel.Node), bound("far", "cabin", sentinel.Node), bound("configured", "home", sentinel.Node)} {
		b.learn(k)
	}
	for name, want := range map[string]bool{"pi": true, "pve1": true, "old-pi": false, "nuc": false, "moved": false, "far": false} {
		if _, ok := b.identities.Lookup(name); ok != want {
			t.Errorf("%s is known: %t", name, ok)
		}
	}
	if k, _ := b.identities.Lookup("configured"); k.Key != "ed25519:other" {
		t.Errorf("the journal's key counts more than the configured one: %+v", k)
	}
}

// TestN3_OneAnchorIsEnough to know that the brain is online.
func TestN3_OneAnchorIsEnough(t *testing.T) {
	in(t, nil, func(h *home) {
		h.net.cut(anchors[0])
		h.offline()
		rest(30 * time.Second)
		h.mustTell("internet outage at home")
		if at, blind := h.told("the brain is offline itself"); blind {
			h.Errorf("blind at %s", at)
		}
	})
}

// TestR3_PauseWithoutAJournal: turns that are slow because the disk is are no pauses, or
// no silence would ever be long enough.
func TestR3_PauseWithoutAJournal(t *testing.T) {
	t.Parallel()
	in(t, fails(10*time.Second), func(h *home) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(h.cfg.StateDir, "journal.db"))
		if err != nil {
			h.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		defer db.Close()
		if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
			h.Fatal(err)
		}
		h.pause(30 * time.Second)
		h.nodes["pve2"].kill()
		rest(15 * time.Second)
		h.calls(1)
		if _, err := db.Exec("ROLLBACK"); err != nil {
			h.Fatal(err)
		}
	})
}

// fails has a node fail when it has been silent for so long. Each turn waits 2 s, by the wall, for a database that
// somebody else holds, so that fewer of them are a shorter test.
func fails(silence time.Duration) func(h *home) {
	return func(h *home) { h.cfg.Failure.Silence = config.Duration(silence) }
}

// BenchmarkDark is the loop's work when a site of 10,000 nodes falls silent at once.
func BenchmarkDark(b *testing.B) {
	for b.Loop() {
		cfg := DefaultConfig()
		cfg.StateDir, cfg.Listen = b.TempDir(), "127.0.0.1:0"
		cfg.Sites = []Site{{Name: "home"}}
		var since time.Duration
		m := thisMachine()
		m.sinceBoot = func() time.Duration { return time.Hour + since }
		br, err := newBrain(b.Context(), cfg, slog.New(slog.DiscardHandler), m)
		if err != nil {
			b.Fatal(err)
		}
		var subs []submission
		for i := range 10_000 {
			name := fmt.Sprintf("n%d", i)
			br.table.Beat(br.clock.Now(), liveness.Beat{Key: liveness.Key{Site: "home", Name: name}, Boot: "b"})
			subs = append(subs, submission{in: sentinel.Heard{Site: "home", Name: name, Role: sentinel.Node, Boot: "b"}})
		}
		for part := range slices.Chunk(subs, batch) {
			br.turn(b.Context(), part)
		}
		since += 20 * time.Second
		begin := time.Now()
		br.turn(b.Context(), br.silences(br.clock.Now()))
		b.ReportMetric(time.Since(begin).Seconds(), "s/silence")
		begin = time.Now()
		br.turn(b.Context(), []submission{{in: sentinel.Uplink{Online: true}}})
		b.ReportMetric(time.Since(begin).Seconds(), "s/verdict")
		if err := br.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTurn is the loop's work of a second at 10,000 nodes.
func BenchmarkTurn(b *testing.B) {
	cfg := DefaultConfig()
	cfg.StateDir, cfg.Listen = b.TempDir(), "127.0.0.1:0"
	cfg.Sites = []Site{{Name: "home"}}
	br, err := newBrain(b.Context(), cfg, slog.New(slog.DiscardHandler), thisMachine())
	if err != nil {
		b.Fatal(err)
	}
	defer br.Close()
	var subs []submission
	for i := range 10_000 {
		name := fmt.Sprintf("n%d", i)
		br.table.Beat(br.clock.Now(), liveness.Beat{Key: liveness.Key{Site: "home", Name: name}, Boot: "b"})
		subs = append(subs, submission{in: sentinel.Heard{Site: "home", Name: name, Role: sentinel.Node, Boot: "b"}})
	}
	for part := range slices.Chunk(subs, batch) {
		br.turn(b.Context(), part)
	}
	for b.Loop() {
		br.turn(b.Context(), []submission{{in: sentinel.Tick{}}})
	}
}
