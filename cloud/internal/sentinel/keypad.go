package sentinel

import "strings"

// The keys of a telephone during a call (rule C3).
const (
	KeyKnown  = "1" // it is known
	KeyStop   = "2" // the plan is stopped, once it was pressed twice in a row
	KeyRepeat = "9" // the text is said again
)

// mostKeys is after how many keys a call takes no more.
const mostKeys = 20

// pressed takes a key of a call that is under way. Step is how many came before it, so that the
// same one that arrives again is none: a repetition never counts as the second press.
func (d *decider) pressed(in Pressed) {
	c := d.call(in.Call)
	if c == nil || c.Test != "" || !c.Open() || in.Step != len(c.Keys) || len(c.Keys) >= mostKeys || !isKey(in.Key) {
		return
	}
	confirmed := in.Key == KeyStop && strings.HasSuffix(c.Keys, KeyStop)
	d.emit(&KeyPressed{Call: in.Call, Key: in.Key})
	i := d.Incidents[c.Incident]
	switch {
	case !i.Open():
		return
	case confirmed:
		d.stop(Stop{Site: i.Site, By: c.Contact})
	case in.Key != KeyKnown:
		return
	}
	if i.Answered == "" && !c.Stale { // of what got worse since, the call does not tell
		d.answer(i, c.Contact, c.Contact+" pressed "+in.Key)
	}
}

// isKey reports whether a key means something.
func isKey(key string) bool { return key == KeyKnown || key == KeyStop || key == KeyRepeat }

func sentenceOfKey(f *KeyPressed) string { return "key " + f.Key + " was pressed on the telephone" }
