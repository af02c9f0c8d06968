package escalation_test

import (
	"fmt"
	"testing"
	"time"

	"sentinel.home.arpa/shared/escalation"
)

var begin = time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)

func ended(contact string, seconds int) escalation.Call {
	return escalation.Call{Contact: contact, Ended: true, EndedAt: begin.Add(time.Duration(seconds) * time.Second)}
}

func refused(contact string, seconds int) escalation.Call {
	c := ended(contact, seconds)
	c.Refused = true
	return c
}

func TestC2_Due(t *testing.T) {
	both := []string{"alice", "bob"}
	round := []escalation.Call{ended("alice", 20), ended("alice", 100), ended("bob", 120), ended("bob", 200)}
	answered := ended("alice", 20)
	answered.Delivered = true
	for _, c := range []struct {
		name     string
		contacts []string
		calls    []escalation.Call
		want     string // contact and seconds; empty: nobody
	}{
		{"nobody to call", nil, nil, ""},
		{"the first call", both, nil, "alice 0"},
		{"it rings", both, []escalation.Call{{Contact: "alice"}}, ""},
		{"not taken: again after 60 s", both, []escalation.Call{ended("alice", 20)}, "alice 80"},
		{"taken", both, []escalation.Call{answered}, ""},
		{"an earlier one was taken", both, []escalation.Call{answered, ended("alice", 90)}, ""},
		{"twice not taken: the next contact at once", both, []escalation.Call{ended("alice", 20), ended("alice", 100)}, "bob 100"},
		{"the next contact's second try", both, round[:3], "bob 180"},
		{"a second round 5 min after the first", both, round, "alice 500"},
		{"a lone contact's second round", both[:1], []escalation.Call{ended("alice", 20), ended("alice", 100)}, "alice 400"},
		{"none of them is a contact any more: the round begins anew", []string{"carol"}, round, "carol 0"},
		{"bob is no contact any more", both[:1], round, "alice 0"},
		{"and the round goes on", both[:1], append(append([]escalation.Call{}, round...), ended("alice", 520)), "alice 580"},
		{"one who is no contact any more is being called", both[:1], []escalation.Call{ended("alice", 20), {Contact: "bob"}}, ""},
		{"one who is no contact any more took it", []string{"carol"}, []escalation.Call{answered}, ""},
		{"refused: the next contact at once", both, []escalation.Call{refused("alice", 1)}, "bob 1"},
		{"the second try is refused", both, []escalation.Call{ended("alice", 20), refused("alice", 81)}, "bob 81"},
		{"all are refused: a second round all the same", both, []escalation.Call{refused("alice", 1), refused("bob", 2)}, "alice 302"},
		{"and the round goes on after one that is not", both, []escalation.Call{refused("alice", 1), ended("bob", 30)}, "bob 90"},
		{"all are refused twice", both, []escalation.Call{refused("alice", 1), refused("bob", 2), refused("alice", 302), refused("bob", 303)}, ""},
		{"all were tried twice", both, append(append([]escalation.Call{}, round...), round...), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if n, ok := escalation.Due(escalation.DefaultPolicy(), c.contacts, c.calls, begin); ok {
				got = fmt.Sprintf("%s %d", n.Contact, int(n.At.Sub(begin).Seconds()))
			}
			if got != c.want {
				t.Errorf("Due = %q, want %q", got, c.want)
			}
		})
	}
}

// TestC2_EverybodyIsTried walks to the end: nobody is left out, and it ends.
func TestC2_EverybodyIsTried(t *testing.T) {
	p, contacts := escalation.DefaultPolicy(), []string{"alice", "bob", "carol"}
	var calls []escalation.Call
	tries, last := map[string]int{}, begin
	for {
		n, ok := escalation.Due(p, contacts, calls, begin)
		if !ok {
			break
		}
		if n.At.Before(last) {
			t.Fatalf("call %d is due before the last one ended", len(calls)+1)
		}
		tries[n.Contact]++
		last = n.At.Add(25 * time.Second)
		calls = append(calls, escalation.Call{Contact: n.Contact, Ended: true, EndedAt: last})
	}
	for _, c := range contacts {
		if want := p.TriesEach * p.Rounds; tries[c] != want {
			t.Errorf("%s was tried %d times, want %d", c, tries[c], want)
		}
	}
}

// TestH5_Again: everybody is called anew half an hour after the first call, when all were
// called and nobody answered.
func TestH5_Again(t *testing.T) {
	alice := []string{"alice"}
	p := escalation.Policy{TriesEach: 2, RetryAfter: time.Minute, RoundAfter: 5 * time.Minute, Rounds: 1}
	first, second := ended("alice", 20), ended("alice", 100)
	first.Requested, second.Requested = begin.Add(5*time.Second), begin.Add(80*time.Second)
	taken, rings, long := second, second, second
	taken.Delivered, rings.Ended, long.EndedAt = true, false, begin.Add(time.Hour)
	for _, c := range []struct {
		name     string
		contacts []string
		calls    []escalation.Call
		every    time.Duration
		want     int // seconds; 0: not at all
	}{
		{"all were called", alice, []escalation.Call{first, second}, 30 * time.Minute, 1805},
		{"no reminder is wanted", alice, []escalation.Call{first, second}, 0, 0},
		{"nobody to call", nil, []escalation.Call{first, second}, 30 * time.Minute, 0},
		{"nobody was called", alice, nil, 30 * time.Minute, 0},
		{"the round goes on", alice, []escalation.Call{first}, 30 * time.Minute, 0},
		{"somebody answered", alice, []escalation.Call{first, taken}, 30 * time.Minute, 0},
		{"it rings", alice, []escalation.Call{first, rings}, 30 * time.Minute, 0},
		{"the round took longer", alice, []escalation.Call{first, long}, 30 * time.Minute, 3600},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, ok := escalation.Again(p, c.contacts, c.calls, c.every)
			if ok != (c.want != 0) || ok && !at.Equal(begin.Add(time.Duration(c.want)*time.Second)) {
				t.Errorf("Again = %s, %v; want %d s", at.Sub(begin), ok, c.want)
			}
		})
	}
}
