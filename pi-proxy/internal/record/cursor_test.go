package record

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestN7_OneLineThatWaitsHasNothingElseToldAgain: what was told later is known after a
// restart, whatever waits before it, and no later line is taken for one of those.
func TestN7_OneLineThatWaitsHasNothingElseToldAgain(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	r.Note(node("waits", false))
	for range 100 {
		told := r.Note(node("told", true))
		m.write(r)
		r.Told(told)
	}
	r.Note(node("waits-too", true))
	r.Remark("for people")
	last := r.Note(node("told", true))
	r.Told(last)
	m.write(r)
	m.pass(time.Minute)
	r = m.open()
	b := m.owes(r, "waits false 1m0s", "waits-too true 1m0s")
	if next := r.Note(node("after", true)); next != last+1 {
		t.Errorf("the next line is %d, want %d", next, last+1)
	}
	r.Delivered(b.Numbers...)
	m.write(r)
	m.pass(time.Minute)
	m.owes(m.open(), "after true 1m0s")
}

// TestN7_ALineThatIsLostGivesItsNumberToNobody: it was told before the disk had it.
func TestN7_ALineThatIsLostGivesItsNumberToNobody(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	r.Note(node("waits", false))
	m.write(r)
	kept, err := os.ReadFile(m.path(newFile))
	if err != nil {
		t.Fatal(err)
	}
	r.Told(r.Note(node("told", true)))
	m.write(r)
	if err := os.WriteFile(m.path(newFile), kept, 0o600); err != nil { // a power cut
		t.Fatal(err)
	}
	r = m.open()
	r.Note(node("after", true))
	if _, err := r.append(r.unwritten); err != nil { // and a kill before the cursor is written
		t.Fatal(err)
	}
	m.pass(time.Minute)
	m.owes(m.open(), "waits false 1m0s", "after true 1m0s")
}

// TestN7_TheCursorIsBounded: what exceeds it is delivered again rather than not at all.
func TestN7_TheCursorIsBounded(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	for range 2 * alsoMost {
		r.Note(node("waits", false))
		r.Told(r.Note(node("told", true)))
	}
	m.write(r)
	if info, err := os.Stat(m.path(cursorFile)); err != nil || info.Size() > 16<<10 {
		t.Errorf("the cursor is %v, %v", info, err)
	}
	m.pass(time.Minute)
	r = m.open()
	var again []string
	for _, h := range r.held {
		again = append(again, h.Of.Node)
	}
	told := len(slices.DeleteFunc(again, func(n string) bool { return n != "told" }))
	if told != alsoMost || len(r.held) != 3*alsoMost || strings.Contains(m.log.String(), "cursor") {
		t.Errorf("of %d that wait %d were told; it says %s", len(r.held), told, m.log.String())
	}
}
