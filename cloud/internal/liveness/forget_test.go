package liveness

import (
	"testing"
	"time"
)

// TestR5_Forgotten: who is forgotten is not missed, and its next word is its first.
func TestR5_Forgotten(t *testing.T) {
	start := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	table := New(20 * time.Second)
	beat := func(s int, site, name string) News {
		return table.Beat(at(s), Beat{Key: Key{Site: site, Name: name}, Boot: "1"})
	}
	for _, k := range []Key{{"home", "pve1"}, {"home", "pve2"}, {"home", "pve3"}, {"office", "nas"}, {"office", "pve1"}} {
		if !beat(0, k.Site, k.Name).Heard {
			t.Errorf("the first word of %v is no news", k)
		}
	}
	table.Forget(Key{"home", "pve2"})
	table.Forget(Key{"home", "nobody"})
	table.ForgetSite("office")
	if left := table.Site("office"); len(left) != 0 {
		t.Errorf("of the office there is %+v", left)
	}
	if !beat(1, "home", "pve2").Heard || beat(1, "home", "pve1").Heard {
		t.Error("the next word of one that is forgotten is its first, of another it is not")
	}
	table.Forget(Key{"home", "pve2"})
	silent := table.Expire(at(30))
	if len(silent) != 2 || silent[0].Name != "pve3" || silent[1].Name != "pve1" {
		t.Errorf("silent are %+v", silent)
	}
	table.Forget(Key{"home", "pve3"}) // also one that is silent
	if left := table.Site("home"); len(left) != 1 || !table.Next().IsZero() {
		t.Errorf("there is %+v, the next is due at %s", left, table.Next())
	}
}

// TestR5_SilenceChanges for those that are heard already, from their last words on.
func TestR5_SilenceChanges(t *testing.T) {
	start := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	table := New(20 * time.Second)
	table.Beat(start, Beat{Key: Key{Site: "home", Name: "pve1"}})
	for _, silence := range []time.Duration{time.Minute, 8 * time.Second} {
		table.SetSilence(silence)
		if next := table.Next(); next != start.Add(silence) {
			t.Errorf("with %s it is due at %s", silence, next)
		}
		if n := len(table.Expire(start.Add(silence - time.Nanosecond))); n != 0 {
			t.Errorf("with %s it is silent early", silence)
		}
	}
	if n := len(table.Expire(start.Add(8 * time.Second))); n != 1 {
		t.Error("it is not silent")
	}
}

// TestDeletedIsNotHeardOfByItsLastWords: a Pi tells for a minute of a node that it no longer
// hears, which does not bring back one that was deleted meanwhile.
func TestDeletedIsNotHeardOfByItsLastWords(t *testing.T) {
	start := time.Date(2026, 11, 21, 19, 2, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	table := New(20 * time.Second)
	k := Key{"home", "pve3"}
	said := func(s, age int) News {
		return table.Beat(at(s), Beat{Key: k, Boot: "1", Via: "pi", Age: time.Duration(age) * time.Second})
	}
	if !said(0, 0).Heard {
		t.Fatal("its first word is no news")
	}
	table.Delete(at(6), k)
	for s := 6; s < 19; s++ {
		if said(s, s).Heard || len(table.Site("home")) != 0 {
			t.Fatalf("it is back at %d s by what it said %d s before", s, s)
		}
	}
	if silent := table.Expire(at(60)); len(silent) != 0 {
		t.Errorf("it is missed: %+v", silent)
	}
	if !said(61, 0).Heard {
		t.Error("its next word is not its first")
	}
}
