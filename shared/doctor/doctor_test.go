package doctor

import (
	"fmt"
	"strings"
	"testing"
)

// fits wants 24 lines of 80 columns at most, the prompt's own included.
func fits(t *testing.T, screen string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
	if len(lines) > 23 {
		t.Errorf("%d lines:\n%s", len(lines), screen)
	}
	for _, l := range lines {
		if n := len([]rune(l)); n > 80 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}

func some(n int, s State) (all []Finding) {
	for i := range n {
		f := Finding{What: fmt.Sprintf("%s %d", s, i), State: s, Say: "it stands as it stood yesterday, and the day before that, and the day before that one"}
		if s != OK {
			f.Do = "look at it, and then look at it once more, until you have seen enough of it to go on"
		}
		all = append(all, f)
	}
	return all
}

func TestScreenFits(t *testing.T) {
	for _, n := range []struct{ wrong, look, fine int }{{0, 0, 0}, {0, 0, 1}, {0, 0, 22}, {0, 0, 23}, {0, 0, 400}, {1, 0, 20}, {5, 0, 3}, {6, 5, 3}, {40, 1, 1}, {0, 40, 0}, {5, 0, 60}} {
		all := append(append(some(n.fine, OK), some(n.look, Look)...), some(n.wrong, Wrong)...)
		screen := Screen(all)
		fits(t, screen)
		if Well(all) != (n.wrong == 0) {
			t.Errorf("%+v: well is %t", n, Well(all))
		}
		shown := strings.Count(screen, "\nwrong ") + strings.Count(screen, "\nlook ")
		if bad := n.wrong + n.look; shown < bad && !strings.Contains(screen, fmt.Sprintf("and %d more, which --json lists", bad-shown)) {
			t.Errorf("%+v: %d of %d are shown, and no word of the others:\n%s", n, shown, bad, screen)
		}
		if n.fine > 0 && !strings.Contains(screen, "\nok ") {
			t.Errorf("%+v: nothing of what is fine:\n%s", n, screen)
		}
	}
}

func TestScreen(t *testing.T) {
	got := Screen([]Finding{
		{"clock", OK, "it is right", ""},
		{"UPS", Look, "its battery is old", "renew it"},
		{"key", Wrong, "it waits to be approved", "on the brain: sudo sentinel-cloud approve pve1 --key ed25519:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa="},
	})
	want := `1 wrong, 1 to look at, 1 fine.
wrong  key: it waits to be approved
       -> on the brain: sudo sentinel-cloud approve pve1 --key
       ed25519:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=
look   UPS: its battery is old
       -> renew it
ok     clock: it is right
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
	if got := Screen([]Finding{{"a", OK, "b", ""}}); got != "All is well: 1 fine.\nok     a: b\n" {
		t.Errorf("got\n%s", got)
	}
}

// TestScreenObeysNobody: names and errors of other machines are on it.
func TestScreenObeysNobody(t *testing.T) {
	got := Screen([]Finding{{"guest \x1b[2Ja\x07", Wrong, "b\u009b8mc\u202ed", "e\rf"}, {"\x1b]0;g", OK, "\x1b[1Ah", ""}})
	if want := "1 wrong, 1 fine.\nwrong  guest [2Ja: b8mcd\n       -> e f\nok     ]0;g: [1Ah\n"; got != want {
		t.Errorf("got %q", got)
	}
}
