package liveness_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/liveness"
)

// said is a word of a boot, which began so many seconds before the table did, spoken at
// that second and heard late.
func said(boot string, booted, spoken float64) liveness.Beat {
	b := beat("pve1")
	b.Boot, b.Seq = boot, int64((spoken+booted)*1e6)
	return b
}

// clones lets two machines speak in turn until there are two, and returns when it is.
func clones(t *testing.T, table *liveness.Table) float64 {
	t.Helper()
	for s := 0.0; s < 10; s++ {
		table.Beat(at(s), said("a", 1000, s))
		if s >= 5 {
			if news := table.Beat(at(s+0.4), said("b", 10, s+0.4)); news.Cloned != "" {
				if news.Cloned != "a" || news.As != "pve1 (2)" {
					t.Errorf("the news is %+v", news)
				}
				return s + 0.4
			}
		}
	}
	t.Fatal("nobody noticed")
	return 0
}

// TestH11_TwoMachinesUnderOneName are two from the second time on that the word comes back
// to each, and are heard apart.
func TestH11_TwoMachinesUnderOneName(t *testing.T) {
	table := liveness.New(silence)
	if s := clones(t, table); s != 6.4 {
		t.Errorf("noticed at %v s", s)
	}
	news := table.Beat(at(7), said("a", 1000, 7))
	if news.As != "" || news.Heard || news.Cloned != "" {
		t.Errorf("the first machine's word is %+v", news)
	}
	if news := table.Beat(at(7.4), said("b", 10, 7.4)); news != (liveness.News{As: "pve1 (2)"}) {
		t.Errorf("the second machine's word is %+v", news)
	}
	for s := 8.0; s < 40; s++ { // the second one dies
		table.Beat(at(s), said("a", 1000, s))
	}
	if got := table.Expire(at(40)); len(got) != 1 || got[0].Key != key("pve1 (2)") || !got[0].Last.Equal(at(7.4)) {
		t.Errorf("silent are %v", got)
	}
	if got := table.Expire(at(60)); len(got) != 1 || got[0].Key != key("pve1") || !got[0].Last.Equal(at(39)) {
		t.Errorf("silent are %v", got)
	}
}

// TestH11_WithinHalfAMinute: what came long ago, or comes again, is no turn.
func TestH11_WithinHalfAMinute(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), said("a", 1000, 0))
	for s := 10.0; s < 70; s++ {
		want := liveness.News{Heard: s == 10}
		if s == 61 {
			want = liveness.News{As: "pve1 (2)", Heard: true, State: true, Cloned: "a"}
		} else if s > 61 {
			want = liveness.News{As: "pve1 (2)"}
		}
		if news := table.Beat(at(s), said("b", -9, s)); news != want {
			t.Errorf("at %v s %+v", s, news)
		}
		switch word := said("a", 1000, 45.5); {
		case s == 45, s == 60:
			table.Beat(at(s+0.5), said("a", 1000, s+0.5))
		case s > 45 && s < 60:
			word.Via = "pi"
			table.Beat(at(s+0.5), word)
		}
	}
}

// TestH11_AnOldBootOfOneOfTwo takes nobody's place.
func TestH11_AnOldBootOfOneOfTwo(t *testing.T) {
	table := liveness.New(silence)
	clones(t, table)
	for s := 7.0; s < 30; s++ {
		if s < 20 {
			table.Beat(at(s), said("a", 1000, s))
		}
		table.Beat(at(s+0.1), said("c", 5, s+0.1))
		if s < 14 {
			continue
		}
		if news := table.Beat(at(s+0.2), said("b", 10, 6.5)); news != (liveness.News{}) {
			t.Errorf("at %v s a word of a boot that is over is %+v", s, news)
		}
	}
}

// TestH11_AnotherBootOfOneOfTwo takes the place of the one that is silent, not of the other.
func TestH11_AnotherBootOfOneOfTwo(t *testing.T) {
	for name, dead := range map[string]string{"the first": "pve1", "the second": "pve1 (2)"} {
		t.Run(name, func(t *testing.T) {
			table := liveness.New(silence)
			clones(t, table)
			other := said("a", 1000, 0)
			if dead == "pve1" {
				other = said("b", 10, 0)
			}
			for s := 7.0; s < 40; s++ {
				b := other
				b.Seq += int64(s * 1e6)
				table.Beat(at(s), b)
				switch news := table.Beat(at(s+0.1), said("c", 5, s+0.1)); {
				case s < 11 && news != (liveness.News{}):
					t.Errorf("a third machine's word at %v s is %+v", s, news)
				case s > 13 && (news.As != "") != (dead == "pve1 (2)"):
					t.Errorf("its next boot's word at %v s is %+v", s, news)
				}
				if got := table.Expire(at(s + 0.2)); len(got) > 0 {
					t.Errorf("at %v s silent are %v", s, got)
				}
			}
		})
	}
}

// TestH11_RebootsAreNoClones, whatever comes late of the boot that is over.
func TestH11_RebootsAreNoClones(t *testing.T) {
	for name, late := range map[string]func(s float64) liveness.Beat{
		"nothing comes late": func(s float64) liveness.Beat { return said("b", -5, s) },
		"a copy":             func(float64) liveness.Beat { return said("a", 1000, 4) },
		"one that was held":  func(s float64) liveness.Beat { return said("a", 1000, 4.1+s/100) },
		"a Pi's late copy":   func(float64) liveness.Beat { b := said("a", 1000, 4); b.Via = "pi"; return b },
		"a Pi's word held":   func(s float64) liveness.Beat { b := said("a", 1000, 4.1+s/100); b.Via = "pi"; return b },
	} {
		t.Run(name, func(t *testing.T) {
			table := liveness.New(silence)
			var heard []string
			for s := 0.0; s < 60; s++ {
				b := said("a", 1000, s)
				if s > 4 {
					b = said("b", -5, s)
				}
				if s > 4 && s < 10 {
					continue // it reboots
				}
				for i, x := range []liveness.Beat{b, late(s)} {
					if s < 10 && i > 0 {
						continue
					}
					news := table.Beat(at(s+float64(i)*0.5), x)
					if news.Heard {
						heard = append(heard, x.Boot)
					}
					if news.Cloned != "" || news.As != "" {
						t.Errorf("at %v s there are two machines: %+v", s, news)
					}
				}
			}
			if !slices.Equal(heard, []string{"a", "b"}) {
				t.Errorf("booted %q", heard)
			}
		})
	}
}

// TestH11_OneOfTwoGoesBeforeItShows: the name stays with the one that speaks, and is not
// silent.
func TestH11_OneOfTwoGoesBeforeItShows(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), said("a", 1000, 0))
	table.Beat(at(0.4), said("b", 10, 0.4))
	heard := 0
	for s := 1.0; s < 60; s++ {
		if news := table.Beat(at(s), said("a", 1000, s)); news.Heard {
			heard++
		}
		if got := table.Expire(at(s)); len(got) > 0 {
			t.Errorf("at %v s silent are %v", s, got)
		}
	}
	if heard != 1 {
		t.Errorf("its return was told %d times", heard)
	}
}

// TestH11_ARevertedMachineComesBack, though its clock is behind that of its boot's last word.
func TestH11_ARevertedMachineComesBack(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), said("a", 1000, 0))
	table.Beat(at(10), said("b", 0, 10))
	for s := 100.0; s < 110; s++ { // as it was at 1 s
		table.Expire(at(s))
		if news := table.Beat(at(s), said("a", 901, s)); news.Heard != (s == 100) || news.As != "" {
			t.Errorf("at %v s its word is %+v", s, news)
		}
	}
}

// TestH11_KnownAfterARestart: both are heard apart, also if one is not up, and whichever
// speaks first.
func TestH11_KnownAfterARestart(t *testing.T) {
	for _, down := range []string{"", "pve1", "pve1 (2)"} {
		t.Run("down: "+down, func(t *testing.T) {
			table := liveness.New(silence)
			first, second := beat("pve1"), beat("pve1 (2)")
			second.Boot, second.CloneOf = "b", "pve1"
			first.Silent, second.Silent = down == "pve1", down == "pve1 (2)"
			table.Restart(at(0), []liveness.Beat{second, first})
			news := table.Beat(at(1), said("b", 10, 1))
			if news.As != "pve1 (2)" || news.Heard != (down == "pve1 (2)") {
				t.Errorf("the second one's word is %+v", news)
			}
			if news := table.Beat(at(1.5), said("a", 1000, 1.5)); news.As != "" || news.Heard != (down == "pve1") {
				t.Errorf("the first one's word is %+v", news)
			}
			var got []string
			for _, s := range table.Expire(at(40)) {
				got = append(got, fmt.Sprint(s.Name, " ", s.Last.Sub(begin)))
			}
			if !slices.Equal(got, []string{"pve1 (2) 1s", "pve1 1.5s"}) {
				t.Errorf("silent are %q", got)
			}
		})
	}
}

// TestH9_ForgottenOfTwo: what is deleted comes back under its own name.
func TestH9_ForgottenOfTwo(t *testing.T) {
	table := liveness.New(silence)
	clones(t, table)
	table.Forget(key("pve1"))
	if news := table.Beat(at(7), said("b", 10, 7)); news != (liveness.News{As: "pve1 (2)"}) {
		t.Errorf("the second one's word is %+v", news)
	}
	if news := table.Beat(at(7.1), said("a", 1000, 7.1)); !news.Heard || news.As != "" {
		t.Errorf("the first one's word is %+v", news)
	}
	table.Forget(key("pve1 (2)"))
	cloned := false
	for s := 8.0; s < 12; s++ {
		cloned = table.Beat(at(s), said("b", 10, s)).Cloned != "" || table.Beat(at(s+0.5), said("a", 1000, s+0.5)).Cloned != "" || cloned
	}
	if !cloned {
		t.Error("what was deleted is not noticed again")
	}
	table.ForgetSite("home")
	if got := table.Site("home"); len(got) > 0 || !table.Next().IsZero() {
		t.Errorf("of the site are left %v", got)
	}
}

// TestH10_OnlyAPiHearsIt is news after a minute, once, and so is its next direct word.
func TestH10_OnlyAPiHearsIt(t *testing.T) {
	via := func(s float64) liveness.Beat { b := said("a", 1000, s); b.Via = "pi"; return b }
	for _, tt := range []struct {
		name  string
		begin func(table *liveness.Table) // at 0 s
		told  float64                     // 0: never
		since time.Time
	}{
		{"heard directly before", func(table *liveness.Table) { table.Beat(at(0), said("a", 1000, 0)) }, 61, at(0)},
		{"never heard directly", func(table *liveness.Table) { table.Beat(at(0), via(0)) }, 0, time.Time{}},
		{"heard directly by another process", func(table *liveness.Table) {
			table.Restart(at(0), []liveness.Beat{{Key: key("pve1"), Boot: "a", WasDirect: true}})
		}, 61, at(1)},
		{"never heard directly by another process", func(table *liveness.Table) { table.Restart(at(0), []liveness.Beat{{Key: key("pve1"), Boot: "a"}}) }, 0, time.Time{}},
		{"told by another process", func(table *liveness.Table) {
			table.Restart(at(0), []liveness.Beat{{Key: key("pve1"), Boot: "a", Indirect: true}})
		}, 0, time.Time{}},
		{"it was silent in between", func(table *liveness.Table) {
			table.Beat(at(-3600), said("a", 1000, -3600))
			table.Expire(at(-3500))
		}, 61, at(-3600)},
		{"it was silent after the Pi alone had heard it", func(table *liveness.Table) {
			table.Beat(at(-200), said("a", 1000, -200))
			table.Beat(at(-190), via(-190))
			table.Expire(at(-100))
		}, 61, at(-200)},
		{"another boot", func(table *liveness.Table) { table.Beat(at(0), said("0", 5000, 0)) }, 61, at(0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := liveness.New(silence)
			tt.begin(table)
			told, since := 0.0, time.Time{}
			for s := 1.0; s < 200; s++ {
				if news := table.Beat(at(s), via(s)); news.Indirect {
					if told != 0 {
						t.Errorf("told again at %v s", s)
					}
					told, since = s, news.Since
				}
			}
			if told != tt.told || !since.Equal(tt.since) {
				t.Errorf("told at %v s, since %s", told, since)
			}
			want := tt.told != 0 || tt.name == "told by another process"
			if news := table.Beat(at(200), said("a", 1000, 200)); news.Direct != want {
				t.Errorf("its direct word is %+v", news)
			}
			if news := table.Beat(at(201), said("a", 1000, 201)); news != (liveness.News{}) {
				t.Errorf("its next is %+v", news)
			}
		})
	}
}

// TestH10_DirectAllTheSame: a node that both hear is never heard by the Pi alone, also
// where the Pi is quicker; and it is only counted while the table runs.
func TestH10_DirectAllTheSame(t *testing.T) {
	table := liveness.New(silence)
	for s := 0.0; s < 300; s++ {
		b := said("a", 1000, s)
		b.Via = "pi"
		if news := table.Beat(at(s+0.3), b); news.Indirect {
			t.Errorf("at %v s it is heard by the Pi alone", s)
		}
		b.Via, b.Age = "", 100*time.Millisecond
		table.Beat(at(s+0.35), b) // late, and so older than the Pi's word
	}
	for s := 300.0; s < 355; s++ {
		b := said("a", 1000, s)
		b.Via = "pi"
		table.Beat(at(s), b)
	}
	table.Restart(at(355), nil) // nobody knows what was missed
	b := said("a", 1000, 362)
	b.Via = "pi"
	if news := table.Beat(at(362), b); news.Indirect {
		t.Error("a pause was counted")
	}
}

// TestUntold: news that the loop did not take is news again.
func TestUntold(t *testing.T) {
	table := liveness.New(silence)
	table.Beat(at(0), said("a", 1000, 0))
	told := 0
	for s := 1.0; s < 70; s++ {
		b := said("a", 1000, s)
		b.Via = "pi"
		if news := table.Beat(at(s), b); news.Indirect {
			if told++; told == 1 {
				table.Untold(key("pve1"), news)
			}
		}
	}
	if told != 2 {
		t.Errorf("told %d times", told)
	}
	for s := 70.0; s < 73; s++ {
		if news := table.Beat(at(s), said("a", 1000, s)); news.Direct != (s < 72) {
			t.Errorf("at %v s %+v", s, news)
		} else if s == 70 {
			table.Untold(key("pve1"), news)
		}
	}
	table.Untold(key("nas"), liveness.News{Direct: true}) // which nobody knows any more
}
