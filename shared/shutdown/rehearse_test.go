package shutdown_test

import (
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// TestRehearse: everybody does at once what he is told, in the plan's order, and nothing is
// told twice.
func TestRehearse(t *testing.T) {
	plan := shutdown.Plan{Site: "home", Nodes: []shutdown.Node{{Name: "pve1"}, {Name: "pve2"}}, Stages: []shutdown.Stage{
		{AllGuests: true, Deadline: time.Minute}, {Nodes: []string{"pve2"}, Hosts: []string{"nas"}, Deadline: time.Minute}, {Nodes: []string{"pve1"}, Deadline: time.Minute}}}
	begun := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	var told, down []string
	last := shutdown.Event{}
	for _, e := range shutdown.Rehearse(shutdown.Header{ID: "r", Plan: plan}, begun, nil, func(node string) []shutdown.Target {
		if node == "pve2" {
			return nil
		}
		return []shutdown.Target{{Kind: shutdown.Guest, Node: node, VMID: 100, Name: "mail"}}
	}) {
		switch e.Type {
		case shutdown.Sent:
			told = append(told, e.Name)
		case shutdown.WentDown:
			down = append(down, e.Name)
		case shutdown.Late, shutdown.Refused:
			t.Errorf("%s of %s: %s", e.Type, e.Name, e.Why)
		}
		last = e
	}
	if want := []string{"pve1", "pve2", "mail", "pve2", "nas", "pve1"}; !slices.Equal(told, want) { // the first two were asked
		t.Errorf("asked and told %v, want %v", told, want)
	}
	if want := []string{"mail", "pve2", "nas", "pve1"}; !slices.Equal(down, want) {
		t.Errorf("down are %v, want %v", down, want)
	}
	if last.Type != shutdown.Ended || last.At != begun {
		t.Errorf("it ends with %s after %s", last.Type, last.At.Sub(begun))
	}
}
