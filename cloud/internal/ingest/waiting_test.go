package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// waits checks who waits, by name.
func (b *bench) waits(names ...string) {
	b.Helper()
	var got []string
	for _, s := range b.ids.Waiting() {
		got = append(got, s.Name)
	}
	if !slices.Equal(got, names) {
		b.Errorf("%q wait, not %q", got, names)
	}
}

// refusedPost posts a heartbeat under a name, which must be refused.
func (b *bench) refusedPost(name, by string) {
	b.Helper()
	m := wire.Heartbeat{Header: b.header(name)}
	b.refusedWith(b.post(courier.PathHeartbeat, bytes.NewReader(b.seal(wire.KindHeartbeat, m, by))), http.StatusForbidden)
}

// TestR8_WaitingSaysWhatIsApproved: name, key, machine, why, and since when.
func TestR8_WaitingSaysWhatIsApproved(t *testing.T) {
	o := newTailnet(t)
	o.who = tagged("laptop", "n9")
	first := o.time()
	o.refusedPost("pve1", "pve1")
	o.pass(time.Minute)
	o.refusedPost("pve1", "pve1")
	want := []Stranger{{Known: Known{Name: "pve1", Site: "home", Role: sentinel.Node, Key: o.keys["pve1"].PublicKey(), StableID: "n9"},
		From: "laptop on the tailnet", Why: `the tailnet calls this machine "laptop"`, First: first, Last: first.Add(time.Minute)}}
	if diff := cmp.Diff(want, o.ids.Waiting()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestR8_OnlyAKeysHolderWaits: what is not signed by the key that it names is forged.
func TestR8_OnlyAKeysHolderWaits(t *testing.T) {
	o := newTailnet(t)
	o.who = tagged("laptop", "n9")
	forged := o.edit(o.heartbeat("pve1"), func(e map[string]any) { signature(e)["keyid"] = o.keys["pve2"].PublicKey() })
	o.refusedWith(o.post(courier.PathHeartbeat, bytes.NewReader(forged)), http.StatusForbidden)
	if c := o.counted(); c["forged"] != 1 {
		t.Errorf("counted %v", c)
	}
	b := newBench(t)
	forged = b.edit(b.announcement("stranger", wire.Reboot), func(e map[string]any) { signature(e)["keyid"] = b.keys["pve2"].PublicKey() })
	b.send(courier.PathRelay, b.relayed("pi", forged))
	o.waits()
	b.waits()
}

// TestR8_ApprovedMachinesSpeak as the name that was approved, and nobody else does.
func TestR8_ApprovedMachinesSpeak(t *testing.T) {
	for _, tt := range []struct {
		name  string
		who   Machine
		known func(o *onTailnet) // before
		site  string             // that the admin says
		sites []string
	}{
		{name: "another tailnet name", who: tagged("laptop", "n9", TagNode)},
		{name: "no tag", who: tagged("pve1", "n9")},
		{name: "a person's machine", who: Machine{Name: "pve1", StableID: "n9", Login: "eve@example.org"}},
		{name: "set up anew, on the same machine", who: tagged("pve1", "n9", TagNode), known: func(o *onTailnet) {
			o.ids.Learn(Known{Name: "pve1", Site: "home", Role: sentinel.Node, Key: o.keys["pve2"].PublicKey(), StableID: "n9"})
		}},
		{name: "set up anew, as a new machine", who: tagged("pve1", "n9", TagNode), known: func(o *onTailnet) {
			o.ids.Learn(Known{Name: "pve1", Site: "home", Role: sentinel.Node, Key: o.keys["pve2"].PublicKey(), StableID: "n1"})
		}},
		{name: "the configured key on a new machine", who: tagged("pve1", "n9", TagNode), known: func(o *onTailnet) {
			o.ids.Configured["pve1"] = o.keys["pve1"].PublicKey()
			o.ids.Learn(Known{Name: "pve1", Site: "home", Role: sentinel.Node, Key: o.keys["pve1"].PublicKey(), StableID: "n1"})
		}},
		{name: "several sites", who: tagged("pve1", "n9", TagNode), sites: []string{"home", "office"}, site: "home"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newTailnet(t)
			if tt.sites != nil {
				o.ids.Sites = tt.sites
			}
			if tt.known != nil {
				tt.known(o)
			}
			o.who = tt.who
			o.refusedPost("pve1", "pve1")
			if err := o.ids.Approve(t.Context(), Approval{Name: "pve1", Key: o.keys["pve1"].PublicKey(), Site: tt.site, By: "alex"}); err != nil {
				t.Fatal(err)
			}
			want := []Known{{Name: "pve1", Site: "home", Role: sentinel.Node, Key: o.keys["pve1"].PublicKey(), StableID: "n9"}}
			if diff := cmp.Diff(want, o.bound); diff != "" || o.by != "alex" {
				t.Errorf("by %q (-want +got):\n%s", o.by, diff)
			}
			o.waits()
			o.send(courier.PathHeartbeat, o.heartbeat("pve1"))
			o.waits()
			o.refusedPost("pve1", "pve2") // the key from before, or anybody's
			o.who.StableID = "n10"
			o.refusedPost("pve1", "pve1")
			o.bound = nil
		})
	}
}

// TestR8_ApprovalsThatCannotBe say what to do instead, and bind nothing.
func TestR8_ApprovalsThatCannotBe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(o *onTailnet)
		a      Approval
		status int
		want   string // of error and hint
	}{
		{"nobody waits", func(o *onTailnet) {}, Approval{Name: "pve1"}, 404, "`sentinel-cloud approve` lists those that do"},
		{"another waits", func(o *onTailnet) { o.refusedPost("pve2", "pve2") }, Approval{Name: "pve1"}, 404, `no machine "pve1" waits`},
		{"another key waits", func(o *onTailnet) { o.refusedPost("pve1", "pve1") }, Approval{Name: "pve1", Key: "ed25519:none"}, 404, "say which: --key ed25519:"},
		{"two keys wait", func(o *onTailnet) { o.refusedPost("pve1", "pve1"); o.refusedPost("pve1", "pve2") }, Approval{Name: "pve1"}, 409,
			"several keys wait as pve1"},
		{"two machines wait with one key", func(o *onTailnet) {
			o.refusedPost("pve1", "pve1")
			o.who.StableID = "n10"
			o.refusedPost("pve1", "pve1")
		}, Approval{Name: "pve1"}, 409, "one is a copy of another"},
		{"known by another key", func(o *onTailnet) {
			o.refusedPost("pve1", "pve1")
			o.ids.known = map[string]Known{"pve1": {Name: "pve1", Key: o.keys["pve2"].PublicKey()}}
		}, Approval{Name: "pve1"}, 409, "pve1 is known by another key, so that the new one must be named; say which: --key ed25519:"},
		{"no site", func(o *onTailnet) { o.ids.Sites = []string{"home", "office"}; o.refusedPost("pve1", "pve1") }, Approval{Name: "pve1"}, 409,
			"say --site, one of home, office"},
		{"a site that is none", func(o *onTailnet) { o.ids.Sites = []string{"home", "office"}; o.refusedPost("pve1", "pve1") },
			Approval{Name: "pve1", Site: "cabin"}, 409, `there is no site "cabin"`},
		{"another site than it says", func(o *onTailnet) { o.refusedPost("pve1", "pve1") }, Approval{Name: "pve1", Site: "office"}, 409, `pve1 is at home, not at "office"`},
		{"a Pi without its tag", func(o *onTailnet) { o.refusedPost("pi", "pi") }, Approval{Name: "pi"}, 409, "a Pi needs " + TagPi},
		{"a configured key", func(o *onTailnet) {
			o.ids.Configured["pve1"] = o.keys["pve2"].PublicKey()
			o.refusedPost("pve1", "pve1")
		}, Approval{Name: "pve1"}, 409, "its key stands in cloud.yaml"},
		{"a broken disk", func(o *onTailnet) { o.refusedPost("pve1", "pve1"); o.disk = errors.New("the loop is busy") }, Approval{Name: "pve1"}, 503, "the loop is busy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newTailnet(t)
			o.who = tagged("laptop", "n9")
			tt.before(o)
			err := o.ids.Approve(t.Context(), tt.a)
			var no *courier.Fault
			if !errors.As(err, &no) || no.Status != tt.status || !strings.Contains(no.Error()+"; "+no.Hint, tt.want) {
				t.Errorf("got %+v", err)
			}
			if len(o.bound) > 0 {
				t.Errorf("bound %v", o.bound)
			}
		})
	}
}

// TestR8_WhichKey: where several wait, the admin says which, and only that one is bound.
func TestR8_WhichKey(t *testing.T) {
	o := newTailnet(t)
	o.who = tagged("laptop", "n9")
	o.refusedPost("pve1", "pve1")
	o.refusedPost("pve1", "pve2")
	key := o.keys["pve2"].PublicKey()
	if err := o.ids.Approve(t.Context(), Approval{Name: "pve1", Key: key}); err != nil {
		t.Fatal(err)
	}
	if k, _ := o.ids.Lookup("pve1"); k.Key != key {
		t.Errorf("bound to %s", k.Key)
	}
	o.waits("pve1") // the other
}

// TestR8_PisThatComeWithANewKey wait like nodes, if they have the tag.
func TestR8_PisThatComeWithANewKey(t *testing.T) {
	o := newTailnet(t)
	o.ids.Learn(Known{Name: "pi", Site: "home", Role: sentinel.Pi, Key: o.keys["pve1"].PublicKey(), StableID: "p1"})
	o.who = tagged("pi", "p2", TagPi)
	o.refusedPost("pi", "pi")
	if err := o.ids.Approve(t.Context(), Approval{Name: "pi", Key: o.keys["pi"].PublicKey()}); err != nil {
		t.Fatal(err)
	}
	o.send(courier.PathUPS, o.report("pi", onMains()))
}

// TestR8_RelayedKeysWait: who is only heard by a Pi waits as well, its announcements, and the heartbeat by
// which the Pi asks about it, are taken off the Pi's hands and counted, and once approved it is heard.
func TestR8_RelayedKeysWait(t *testing.T) {
	t.Run("by an announcement", func(t *testing.T) {
		b := newBench(t)
		relayedKeysWait(t, b, b.announcement("stranger", wire.Reboot))
	})
	t.Run("by a heartbeat", func(t *testing.T) {
		b := newBench(t)
		relayedKeysWait(t, b, b.heartbeat("stranger"))
		b.counted()
		for _, word := range [][]byte{b.heartbeat("stranger"), b.heartbeat("pve1")} { // the Pi did not know yet
			if a := b.send(courier.PathRelay, b.relayed("pi", word)); !slices.Equal(a.Taken, []int{0}) || len(b.taken()) > 0 || b.counted()["relayed"] != 1 {
				t.Errorf("one that is known: taken %v", a.Taken)
			}
		}
		b.waits()
	})
}

func relayedKeysWait(t *testing.T, b *bench, word []byte) {
	t.Helper()
	var bound []Known
	b.ids.Bind = func(_ context.Context, k Known, _ string) error { bound = append(bound, k); return nil }
	if a := b.send(courier.PathRelay, b.relayed("pi", word)); !slices.Equal(a.Taken, []int{0}) {
		t.Errorf("taken: %v", a.Taken)
	}
	if c := b.counted(); c["relayed"] != 1 || len(b.taken()) > 0 {
		t.Errorf("counted %v", c)
	}
	at := b.time()
	want := Stranger{Known: Known{Name: "stranger", Site: "home", Role: sentinel.Node, Key: b.keys["stranger"].PublicKey()},
		From: "the LAN of pi", Via: "pi", Why: "nobody has said that it belongs here", First: at, Last: at}
	if diff := cmp.Diff([]Stranger{want}, b.ids.Waiting()); diff != "" {
		t.Errorf("waiting (-want +got):\n%s", diff)
	}
	a := Approval{Name: "stranger"}
	var no *courier.Fault
	if err := b.ids.Approve(t.Context(), a); !errors.As(err, &no) || no.Status != http.StatusConflict ||
		no.Hint != fmt.Sprintf("say which: --key %s (from the LAN of pi)", want.Key) || len(bound) > 0 {
		t.Errorf("without its key: %+v, bound %v", err, bound)
	}
	a.Key = want.Key
	if err := b.ids.Approve(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Known{want.Known}, bound); diff != "" {
		t.Errorf("bound (-want +got):\n%s", diff)
	}
	b.send(courier.PathRelay, b.relayed("pi", b.announcement("stranger", wire.Reboot)))
	in := b.taken()
	if a, ok := in[len(in)-1].(sentinel.Announced); !ok || a.Name != "stranger" || a.Via != "pi" || a.Seq == 0 {
		t.Errorf("inputs %+v", in)
	}
	b.waits()
}

// TestR8_ApprovedMeanwhile: who is let in while its message is being refused does not wait.
func TestR8_ApprovedMeanwhile(t *testing.T) {
	b := newBench(t)
	e, err := wire.Read(b.heartbeat("stranger"))
	if err != nil {
		t.Fatal(err)
	}
	k := Known{Name: "stranger", Site: "home", Role: sentinel.Node, Key: b.keys["stranger"].PublicKey()}
	b.ids.Learn(k)
	if err := b.ids.refuse(e, Stranger{Known: k}, "wait"); err == nil {
		t.Error("not refused")
	}
	b.waits()
}

// TestR8_WithoutTailnet a name that was approved, and comes with another key, waits again;
// under one whose key is configured another signature is forged.
func TestR8_WithoutTailnet(t *testing.T) {
	b := newBench(t)
	b.ids.Learn(Known{Name: "stranger", Site: "home", Role: sentinel.Node, Key: b.keys["stranger"].PublicKey()})
	b.keys["other"] = b.newKey()
	b.refusedPost("stranger", "other")
	b.waits("stranger")
	b.counted()
	b.refusedPost("pve1", "other")
	b.waits("stranger")
	if c := b.counted(); c["forged"] != 1 {
		t.Errorf("counted %v", c)
	}
}

// TestR8_RelayedStrangersThatDoNotWait: a Pi's name, another site's node, and what is
// neither an announcement nor a heartbeat.
func TestR8_RelayedStrangersThatDoNotWait(t *testing.T) {
	b := newBench(t)
	b.keys["pi2"] = b.newKey()
	b.ids.Pis["pi2"] = "home"
	other := b.seal(wire.KindRelay, wire.Relay{Header: b.header("stranger")}, "stranger")
	b.send(courier.PathRelay, b.relayed("pi", b.announcement("pi2", wire.Reboot), b.announcement("nas", wire.Reboot), other))
	b.waits()
	if c := b.counted(); c["relayed"] != 3 {
		t.Errorf("counted %v", c)
	}
	if in := b.taken(); len(in) > 0 {
		t.Errorf("inputs %+v", in)
	}
}

// TestR8_ANewKeyOfARelayedName waits too, and until then changes nothing.
func TestR8_ANewKeyOfARelayedName(t *testing.T) {
	b := newBench(t)
	delete(b.ids.Configured, "pve1") // bound at first contact
	m := wire.Announcement{Header: b.header("pve1"), ID: "x", Kind: wire.Poweroff}
	b.send(courier.PathRelay, b.relayed("pi", b.seal(wire.KindAnnouncement, m, "pve2")))
	b.waits("pve1")
	if w := b.ids.Waiting(); w[0].Why != "it is known by another key, and its key is that of pve2" {
		t.Errorf("why: %q", w[0].Why)
	}
	m = wire.Announcement{Header: b.header("pve2"), ID: "x", Kind: wire.Poweroff} // whose key is configured: forged
	b.send(courier.PathRelay, b.relayed("pi", b.seal(wire.KindAnnouncement, m, "pve1")))
	b.waits("pve1")
	if c := b.counted(); c["relayed"] != 2 {
		t.Errorf("counted %v", c)
	}
	if in := b.taken(); len(in) > 0 {
		t.Errorf("inputs %+v", in)
	}
}

// TestR8_ANoisyStrangerDisplacesItself: with ever new keys and names it fills the list, and
// nobody else falls out of it.
func TestR8_ANoisyStrangerDisplacesItself(t *testing.T) {
	o := newTailnet(t)
	for i := range 5 {
		o.who = tagged(fmt.Sprintf("quiet%d", i), fmt.Sprintf("q%d", i))
		o.refusedPost(o.who.Name, "pve1")
	}
	o.who = tagged("noisy", "n9")
	for i := range 3 * waitingKept {
		o.keys["new"] = o.newKey()
		o.refusedPost("pve1", "new")
		o.keys["new"] = o.newKey()
		o.refusedPost(fmt.Sprintf("name%d", i), "new")
	}
	w := o.ids.Waiting()
	quiet, pve1 := 0, 0
	for _, s := range w {
		if strings.HasPrefix(s.Name, "quiet") {
			quiet++
		}
		if s.Name == "pve1" {
			pve1++
		}
	}
	if len(w) != waitingKept || quiet != 5 || pve1 == 0 {
		t.Errorf("%d wait, %d of the quiet ones, %d as pve1", len(w), quiet, pve1)
	}
}

// TestA7_RememberedAcrossProcesses: what an earlier process took is a repetition, counted
// and answered; what is newer is not.
func TestA7_RememberedAcrossProcesses(t *testing.T) {
	b := newBench(t)
	old := b.announcement("pve1", wire.Poweroff)
	e, err := wire.Read(old)
	if err != nil {
		t.Fatal(err)
	}
	b.h.Remember(wire.KindAnnouncement, "pve1", e.Header.Boot, e.Header.Seq)
	b.send(courier.PathAnnounce, old)
	b.send(courier.PathRelay, b.relayed("pi", old))
	if c := b.counted(); c["repeated"] == 0 || len(b.taken()) > 0 {
		t.Errorf("counted %v", c)
	}
	b.send(courier.PathAnnounce, b.announcement("pve1", wire.Poweroff))
	if len(b.taken()) != 1 {
		t.Error("the next one was not taken")
	}
}
