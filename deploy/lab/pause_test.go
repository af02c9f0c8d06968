//go:build lab

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/home"
)

// stopped is how long the programs are stopped here.
const stopped = 60 * time.Second

// paused is a home whose programs are stopped, and what its edges saw.
type paused struct {
	*testing.T
	*home.Home
	rec *edge.Recorder
}

// openHome starts a home of the real programs, all of them built before.
func openHome(t *testing.T, programs string) *paused {
	t.Helper()
	p := &paused{T: t, rec: edge.NewRecorder(nil)}
	o := home.DefaultOptions()
	o.Page, o.Speak, o.Programs, o.Log = "127.0.0.1:0", false, programs, io.Discard
	var err error
	if p.Home, err = home.Open(t.Context(), o, p.rec, func(who, what string) { t.Log(who, what) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Home.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *paused) do(line string) time.Duration {
	p.Helper()
	if err := p.Do(line); err != nil {
		p.Fatal(err)
	}
	return p.rec.Now()
}

// calls are when calls were asked for.
func (p *paused) calls() (at []time.Duration) {
	es, _ := p.rec.Since(0)
	for _, e := range es {
		if e.Edge == edge.Twilio && e.Method == http.MethodPost && strings.HasSuffix(e.Path, "/Calls.json") {
			at = append(at, e.At())
		}
	}
	return at
}

// commands are the requests that change something at Proxmox.
func (p *paused) commands() (at []time.Duration) {
	es, _ := p.rec.Since(0)
	for _, e := range es {
		if e.Edge == edge.PVE && e.Method != http.MethodGet {
			at = append(at, e.At())
		}
	}
	return at
}

// page is what the brain's page says now.
func (p *paused) page() (verdict, all string) {
	resp, err := http.Get(p.Page() + "/api/v1/status")
	if err != nil {
		return "", err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	var v struct{ Verdict string }
	if err := json.Unmarshal(data, &v); err != nil {
		return "", err.Error()
	}
	return v.Verdict, string(data)
}

func (p *paused) says(within time.Duration, texts ...string) {
	p.Helper()
	eventually(p.T, within, func() bool {
		_, all := p.page()
		for _, text := range texts {
			if !strings.Contains(all, text) {
				return false
			}
		}
		return true
	}, func() string { _, all := p.page(); return strings.Join(texts, ", ") + " is not in " + all })
}

// TestPauses stops the real programs, one after the other, as a cloud's host does.
func TestPauses(t *testing.T) {
	programs := t.TempDir()
	if err := home.Build(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	for name, story := range map[string]func(p *paused){
		"brain in calm": brainInCalm, "brain while a node dies": brainWhileANodeDies, "brain while the power fails": brainWhileThePowerFails,
		"pi": piStopped, "agent": agentStopped, "brain moved": brainMoved,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(openHome(t, programs))
		})
	}
}

// incidents is how many the page has, and how many of them are open.
func (p *paused) incidents() (all, open int) {
	_, text := p.page()
	var v struct{ Incidents []struct{ Open bool } }
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		p.Error(err)
	}
	for _, i := range v.Incidents {
		if i.Open {
			open++
		}
	}
	return len(v.Incidents), open
}

// called waits for the first call, which must come so long after a moment.
func (p *paused) called(since, from, to time.Duration) {
	p.Helper()
	eventually(p.T, to+10*time.Second, func() bool { return len(p.calls()) > 0 }, func() string { _, all := p.page(); return all })
	if late := p.calls()[0] - since; late < from || late > to {
		p.Errorf("called after %s", late)
	}
}

func brainInCalm(p *paused) {
	p.do("freeze brain")
	time.Sleep(stopped)
	p.do("thaw brain")
	p.says(10*time.Second, "the brain had stood still for ", "All well.")
	time.Sleep(35 * time.Second)
	p.says(time.Second, "All well.")
	if c := p.calls(); len(c) > 0 {
		p.Errorf("%d calls", len(c))
	}
	if _, all := p.page(); strings.Contains(all, "failure at home") || strings.Contains(all, "outage at home") {
		p.Errorf("the page says %s", all)
	}
}

func brainWhileANodeDies(p *paused) {
	p.do("freeze brain")
	time.Sleep(stopped / 2)
	p.do("kill pve2")
	time.Sleep(stopped / 2)
	on := p.do("thaw brain")
	p.called(on, 19*time.Second, 30*time.Second)
	time.Sleep(20 * time.Second)
	if n := len(p.calls()); n != 1 {
		p.Errorf("%d calls", n)
	}
}

func brainWhileThePowerFails(p *paused) {
	p.do("freeze brain")
	p.do("unplug")
	time.Sleep(stopped)
	if len(p.commands()) == 0 {
		p.Fatal("the Pi told nobody")
	}
	before := len(p.commands())
	down := !p.Up("pve1") && !p.Up("pve2") && !p.Up("pve3")
	p.do("thaw brain")
	p.says(15*time.Second, "the brain had stood still for ", "The Pi's own run ")
	time.Sleep(30 * time.Second)
	if down && len(p.commands()) > before {
		p.Errorf("%d commands after the brain went on, so the plan was begun twice", len(p.commands())-before)
	}
	if _, all := p.page(); strings.Contains(all, " to shut down") {
		p.Errorf("the brain told somebody by itself: %s", all)
	}
	if n := len(p.calls()); n != 1 {
		p.Errorf("%d calls", n)
	}
}

// piStopped: the Pi watches the power, and is missed itself; nobody is called for a minute
// of it, and nothing is shut down from what it knew before.
func piStopped(p *paused) {
	p.do("freeze pi")
	time.Sleep(stopped)
	p.do("thaw pi")
	p.says(20*time.Second, "All well.", "pi is back")
	time.Sleep(10 * time.Second)
	if c, told := p.calls(), p.commands(); len(c) > 0 || len(told) > 0 {
		p.Errorf("%d calls, %d commands", len(c), len(told))
	}
}

// agentStopped: one failure, one call, and the end of it once the agent goes on.
func agentStopped(p *paused) {
	at := p.do("freeze pve2")
	p.called(at, 18*time.Second, 27*time.Second)
	time.Sleep(stopped - (p.rec.Now() - at))
	p.says(time.Second, "pve2 at home failed ")
	p.do("thaw pve2")
	p.says(80*time.Second, "All well.", "is over, because all of its nodes have been back for 60 s")
	if all, open := p.incidents(); all != 1 || open != 0 || len(p.calls()) != 1 || len(p.commands()) > 0 {
		p.Errorf("%d incidents, %d of them open, %d calls, %d commands", all, open, len(p.calls()), len(p.commands()))
	}
}

// brainMoved: an answered incident goes on at the other machine, and nobody is called again.
func brainMoved(p *paused) {
	p.called(p.do("kill pve2"), 18*time.Second, 27*time.Second)
	p.says(30*time.Second, " knows.")
	p.do("move brain")
	p.says(15*time.Second, " knows.", "the brain started")
	time.Sleep(40 * time.Second)
	p.says(time.Second, " knows.")
	if all, open := p.incidents(); all != 1 || open != 1 || len(p.calls()) != 1 {
		p.Errorf("%d incidents, %d of them open, %d calls after the move", all, open, len(p.calls()))
	}
	p.do("start pve2")
	p.says(90*time.Second, "All well.")
	if all, _ := p.incidents(); all != 1 || len(p.calls()) != 1 || len(p.commands()) > 0 {
		p.Errorf("%d incidents, %d calls, %d commands", all, len(p.calls()), len(p.commands()))
	}
}
