package notify

import "sentinel.home.arpa/shared/speech"

// What is said about keys of the telephone (rule C3).
const (
	Keys       = "keys"        // which there are
	KeyKnown   = "key_known"   // it is on disk that it is known
	KeyOver    = "key_over"    // it is over
	KeySure    = "key_sure"    // once more, and the plan is stopped
	KeyStopped = "key_stopped" // it is
	KeyNone    = "key_none"    // was pressed
	KeyLater   = "key_later"   // what was pressed is not on disk
)

// KeyWords are all of them.
func KeyWords() []string {
	return []string{Keys, KeyKnown, KeyOver, KeySure, KeyStopped, KeyNone, KeyLater}
}

// SayKeys says one of them; stoppable: a shutdown can be stopped.
func (t *Texts) SayKeys(what string, stoppable bool, l speech.Language) (string, error) {
	return t.say(what, struct{ Stoppable bool }{stoppable}, l)
}
