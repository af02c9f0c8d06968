package proxmox

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
)

// seenAs looks at a target until what is seen is what is wanted.
func seenAs(t *testing.T, f *Fleet, target shutdown.Target, want func(shutdown.Sight) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := f.Look(ctx, target)
		if err == nil && want(s) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s is last seen as %+v, %v", target.ID(), s, err)
		}
	}
}

// A fleet finds what runs on a node, brings it down, and sees that it is; a guest that
// refuses in its task, as one under backup does, is seen to have.
func TestS4_AFleetGoesDown(t *testing.T) {
	l := newLab(t, nil)
	silent := 10 * time.Second
	plan := shutdown.Plan{}
	for _, n := range []string{"pve1", "pve2"} {
		plan.Nodes = append(plan.Nodes, shutdown.Node{Name: n, API: l.URL(n), Fingerprint: l.Fingerprint(n)})
	}
	f, err := NewFleet(plan, testToken, testSecret, nil, func(node string) *time.Duration {
		if node == "pve2" {
			return &silent
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, err := f.List(t.Context(), "pve1")
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]shutdown.Target{}
	for _, g := range found {
		by[g.Name] = g
	}
	if len(found) != 4 || by["tmpl"].VMID != 0 || by["dns"].Type != "lxc" || by["web"].VMID != 100 || by["web"].Node != "pve1" {
		t.Fatalf("found %+v", found)
	}
	for _, name := range []string{"web", "saved"} {
		if err := f.Do(t.Context(), shutdown.Command{Target: by[name], Left: time.Minute}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	seenAs(t, f, by["web"], func(s shutdown.Sight) bool { return !s.Running })
	seenAs(t, f, by["saved"], func(s shutdown.Sight) bool {
		return s.Running && strings.HasPrefix(s.Failed, "its shutdown failed: ")
	})
	if s, err := f.Look(t.Context(), by["dns"]); err != nil || !s.Running || s.Failed != "" {
		t.Errorf("an untouched guest: %+v, %v", s, err)
	}

	node := shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve2"}
	if s, err := f.Look(t.Context(), node); err != nil || s.Closed || s.SilentFor == nil || *s.SilentFor != silent {
		t.Errorf("before: %+v, %v", s, err)
	}
	if err := f.Do(t.Context(), shutdown.Command{Target: node, Left: time.Minute}); err != nil {
		t.Fatal(err)
	}
	seenAs(t, f, node, func(s shutdown.Sight) bool { return s.Closed })
	seenAs(t, f, shutdown.Target{Kind: shutdown.Listing, Node: "pve2"}, func(s shutdown.Sight) bool { return s.Closed })

	stranger := shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve9"}
	if err := f.Do(t.Context(), shutdown.Command{Target: stranger, Left: time.Minute}); err == nil || !strings.Contains(err.Error(), "pve9 is not part of the plan") {
		t.Errorf("a node outside the plan: %v", err)
	}
	if err := f.Do(t.Context(), shutdown.Command{Target: shutdown.Target{Kind: shutdown.Listing, Node: "pve1"}, Left: time.Minute}); err == nil {
		t.Error("a listing took a command")
	}
}

// TestS4_WhatATaskSaysIsNoEvidence: a guest that runs on was not shut down, whatever became
// of its task, and one whose node is off runs no more.
func TestS4_WhatATaskSaysIsNoEvidence(t *testing.T) {
	l := newLab(t, nil)
	silent := 10 * time.Second
	f, err := NewFleet(l.planOf("pve1"), testToken, testSecret, nil, func(string) *time.Duration { return &silent })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	web := shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu", Name: "web"}
	for line, want := range map[string]string{
		"100 nothing":       "its shutdown ended with OK, but it runs on",
		"100 notask":        "its shutdown came to nothing: pve1 knows no such task",
		"100 fails no luck": "its shutdown failed: no luck",
	} {
		if err := l.Do(line); err != nil {
			t.Fatal(err)
		}
		if err := f.Do(t.Context(), shutdown.Command{Target: web, Left: time.Minute}); err != nil {
			t.Fatal(err)
		}
		seenAs(t, f, web, func(s shutdown.Sight) bool { return s.Running && s.Failed == want })
	}
	if err := l.Do("100 endless"); err != nil {
		t.Fatal(err)
	}
	if err := f.Do(t.Context(), shutdown.Command{Target: web, Left: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if s, err := f.Look(t.Context(), web); err != nil || !s.Running || s.Failed != "" {
		t.Errorf("while its task runs: %+v, %v", s, err)
	}
	if err := l.Do("pve1 status 500 no"); err != nil {
		t.Fatal(err)
	}
	if s, err := f.Look(t.Context(), web); err == nil {
		t.Errorf("a node that answers with errors: %+v", s)
	}
	l.PowerCut("pve1")
	seenAs(t, f, web, func(s shutdown.Sight) bool { return s.Running && s.Closed && *s.SilentFor == silent })
}

// A guest is started again; one that runs already is as good, and one whose start comes to
// nothing is seen to.
func TestS5_AFleetIsPutBack(t *testing.T) {
	l := newLab(t, nil)
	plan := shutdown.Plan{Nodes: []shutdown.Node{{Name: "pve1", API: l.URL("pve1"), Fingerprint: l.Fingerprint("pve1")}}}
	f, err := NewFleet(plan, testToken, testSecret, nil, func(string) *time.Duration { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	web := shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu", Name: "web"}
	dns := shutdown.Target{Kind: shutdown.Guest, Node: "pve1", VMID: 101, Type: "lxc", Name: "dns"}
	for _, g := range []shutdown.Target{web, dns} {
		if err := f.Do(t.Context(), shutdown.Command{Target: g, Start: true}); err != nil {
			t.Errorf("%s, which runs: %v", g.Name, err)
		}
		if err := f.Do(t.Context(), shutdown.Command{Target: g, Left: time.Minute}); err != nil {
			t.Fatal(err)
		}
		seenAs(t, f, g, func(s shutdown.Sight) bool { return !s.Running && s.Failed == "" })
		if err := f.Do(t.Context(), shutdown.Command{Target: g, Start: true}); err != nil {
			t.Errorf("%s: %v", g.Name, err)
		}
		seenAs(t, f, g, func(s shutdown.Sight) bool { return s.Running && s.Failed == "" })
	}
	if err := f.Do(t.Context(), shutdown.Command{Target: web, Left: time.Minute}); err != nil {
		t.Fatal(err)
	}
	seenAs(t, f, web, func(s shutdown.Sight) bool { return !s.Running })
	if err := l.GuestFault(100, pvesim.GuestFault{Kind: pvesim.Fails, Reason: "no space left on device"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Do(t.Context(), shutdown.Command{Target: web, Start: true}); err != nil {
		t.Fatal(err)
	}
	seenAs(t, f, web, func(s shutdown.Sight) bool { return s.Failed == "its start failed: no space left on device" })
	if err := l.GuestFault(100, pvesim.GuestFault{Kind: pvesim.Refuses, Reason: "cluster not ready - no quorum?"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Do(t.Context(), shutdown.Command{Target: web, Start: true}); err == nil || !strings.Contains(err.Error(), "no quorum") {
		t.Errorf("refused: %v", err)
	}
}

// TestS4_OneUnfitNodeHoldsNobodyUp: who cannot be told anything says why, whatever a
// bundle holds, and the others go down. What is wrong with all of them is said at once.
func TestS4_OneUnfitNodeHoldsNobodyUp(t *testing.T) {
	l := newLab(t, nil)
	plan := shutdown.Plan{Nodes: []shutdown.Node{
		{Name: "pve1.lan", API: l.URL("pve1"), Fingerprint: l.Fingerprint("pve1")},
		{Name: "pve2", API: l.URL("pve2"), Fingerprint: l.Fingerprint("pve2")},
	}}
	none := func(string) *time.Duration { return nil }
	f, err := NewFleet(plan, testToken, testSecret, nil, none)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unfit := shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve1.lan"}
	_, listed := f.List(t.Context(), "pve1.lan")
	_, seen := f.Look(t.Context(), unfit)
	for what, err := range map[string]error{"told": f.Do(t.Context(), shutdown.Command{Target: unfit, Left: time.Minute}), "listed": listed, "seen": seen} {
		if err == nil || !strings.Contains(err.Error(), `pve1.lan can be told nothing`) || !strings.Contains(err.Error(), "malformed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := f.Do(t.Context(), shutdown.Command{Target: shutdown.Target{Kind: shutdown.ProxmoxNode, Node: "pve2"}, Left: time.Minute}); err != nil {
		t.Errorf("the other: %v", err)
	}
	if !slices.ContainsFunc(f.Check(t.Context()), func(f Finding) bool {
		return f.Severity == Refusal && f.Target == "pve1.lan" && strings.Contains(f.Text, "can be told nothing")
	}) {
		t.Errorf("the check says %v", f.Check(t.Context()))
	}
	plan.Nodes = plan.Nodes[1:]
	if _, err := NewFleet(plan, "no-token", testSecret, nil, none); err == nil || !strings.Contains(err.Error(), "token id") {
		t.Errorf("without a token: %v", err)
	}
}
