package brain

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/tailnet"
)

// TestN10_NodeKeysAreLookedAt each minute, of nodes, Pis and the brain itself, as far as
// they expire; a tailnet that does not answer delays nothing.
func TestN10_NodeKeysAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		in3, past := begun.Add(72*time.Hour), begun.Add(-time.Hour)
		told := make(chan sentinel.KeyExpiring, 100)
		var down atomic.Bool
		k := &nodeKeys{own: "brain", log: slog.New(slog.DiscardHandler), wall: time.Now,
			status: func() tailnet.Status { return tailnet.Status{State: "Running", Name: "sentinel", KeyExpiry: &in3} },
			known:  func(p tailnet.Peer) (string, bool) { return "home", p.Name != "phone" },
			submit: func(_ context.Context, in sentinel.Input) error {
				told <- in.(sentinel.KeyExpiring)
				return nil
			},
			peers: func(ctx context.Context) ([]tailnet.Peer, error) {
				if down.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return []tailnet.Peer{{Name: "phone", Expired: true}, {Name: "pve1"}, {Name: "pve2", KeyExpiry: &in3},
					{Name: "pve3", KeyExpiry: &past, Expired: true}, {Name: "pi", Expired: true}}, nil
			}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx) }()
		synctest.Wait()
		want := []sentinel.KeyExpiring{{Name: "sentinel", At: in3, Left: 72 * time.Hour}, {Site: "home", Name: "pve2", At: in3, Left: 72 * time.Hour},
			{Site: "home", Name: "pve3", At: past, Left: -time.Hour, Expired: true}, {Site: "home", Name: "pi", Expired: true}}
		for _, w := range want {
			if diff := cmp.Diff(w, <-told); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		time.Sleep(keysEach)
		synctest.Wait()
		if len(told) != len(want) {
			t.Errorf("told %d times a minute later", len(told))
		}
		down.Store(true)
		time.Sleep(keysEach + peersWithin/2)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestN10_WhoseKeysCount: those of machines with our tags, and of those that were let in
// without one, which expire most often; no other machine's of the tailnet.
func TestN10_WhoseKeysCount(t *testing.T) {
	in(t, nil, func(h *home) {
		h.brain.identities.Learn(ingest.Known{Name: "laptop", Site: "home", Role: sentinel.Node, StableID: "n7"})
		for _, c := range []struct {
			peer tailnet.Peer
			ours bool
		}{
			{tailnet.Peer{Name: "new", StableID: "n1", Tags: []string{ingest.TagNode}}, true},
			{tailnet.Peer{Name: "pi9", StableID: "n2", Tags: []string{"tag:other", ingest.TagPi}}, true},
			{tailnet.Peer{Name: "laptop", StableID: "n7"}, true},
			{tailnet.Peer{Name: "laptop", StableID: "n8"}, false},
			{tailnet.Peer{Name: "phone", StableID: "n9"}, false},
		} {
			if site, ours := h.brain.ofPeer(c.peer); ours != c.ours || site != "home" {
				t.Errorf("%+v: %q, %t", c.peer, site, ours)
			}
		}
	})
}

// TestN10_KeysAreToldOnce: in the timeline, and not again after a crash.
func TestN10_KeysAreToldOnce(t *testing.T) {
	in(t, nil, func(h *home) {
		at := time.Now().Add(72 * time.Hour)
		for range 2 {
			if err := h.brain.submit(h.Context(), sentinel.KeyExpiring{Site: "home", Name: "pve2", At: at, Left: time.Until(at)}); err != nil {
				h.Fatal(err)
			}
			h.crash(time.Second)
		}
		n := 0
		for _, e := range h.view().Timeline {
			if e.Text == "the Tailscale key of pve2 expires on "+at.UTC().Format("2 January 2006 at 15:04")+
				" UTC; log it in again before, or switch its key's expiry off in Tailscale's console" {
				n++
			}
		}
		if n != 1 {
			h.Errorf("told %d times:\n%s", n, h.timeline())
		}
	})
}

// TestN10_TheBrainItself: the page says that it is not on the tailnet, and what to do.
func TestN10_TheBrainItself(t *testing.T) {
	for want, s := range map[string]tailnet.Status{
		"": {State: "Running"},
		"The brain is not on the tailnet: a person must log this machine in. Log it in at https://login.example/a/1": {State: "NeedsLogin",
			AuthURL: "https://login.example/a/1", Err: errors.New("a person must log this machine in")},
		"The brain is not on the tailnet. Log it in at https://login.example/a/1":              {State: "NeedsLogin", AuthURL: "https://login.example/a/1"},
		"The brain is not on the tailnet: the control server has not answered in time.":        {State: "NoState", Err: errors.New("the control server has not answered in time")},
		"The brain is not on the tailnet yet; its state is Starting.":                          {State: "Starting"},
		"The brain is not on the tailnet: the key of this machine on the tailnet has expired.": {State: "NeedsLogin", Expired: true, Err: errors.New("the key of this machine on the tailnet has expired")},
		"The brain is not on the tailnet: an admin of the tailnet must approve this machine.":  {State: "NeedsMachineAuth", Err: errors.New("an admin of the tailnet must approve this machine")},
	} {
		if got := tailnetTrouble(s); got != want {
			t.Errorf("%+v is told as %q", s, got)
		}
	}
}

func TestSiteOfPeer(t *testing.T) {
	b := set(&Brain{identities: &ingest.Identities{}}, Config{Sites: []Site{{Name: "home"}, {Name: "office"}}})
	b.identities.Learn(ingest.Known{Name: "nas", Site: "office", StableID: "n1"})
	siteOf := func(p tailnet.Peer) string { site, _ := b.ofPeer(p); return site }
	var got []string
	for _, p := range []tailnet.Peer{{Name: "nas", StableID: "n1"}, {Name: "nas", StableID: "n2"}, {Name: "pve1"}} {
		got = append(got, siteOf(p))
	}
	set(b, Config{Sites: []Site{{Name: "home"}}})
	if got = append(got, siteOf(tailnet.Peer{Name: "pve1"})); !slices.Equal(got, []string{"office", "", "", "home"}) {
		t.Errorf("%q", got)
	}
}
