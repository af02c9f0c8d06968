package twiliosim

import "time"

// Behaviour is how a called number takes one call: [Answer], [NoAnswer],
// [Busy], [Fail], [QueuedForever], [RingsForever], [Canceled] or [Refuse].
type Behaviour interface{ behaviour() }

// Answer picks up.
type Answer struct {
	After   time.Duration // it rings so long first, 2 s if zero
	By      string        // "human" (if empty), "machine_start", "machine_end_beep", "unknown", "fax" and their likes
	TalkFor time.Duration // from the answer until it hangs up, 10 s if zero
	Keys    []Key         // what is pressed meanwhile, one after the other
}

// Key is a key that is pressed during a call. One that nothing asks for is lost.
type Key struct {
	After time.Duration // the one before it, or the answer
	Digit string
}

// NoAnswer rings until the caller's Timeout.
type NoAnswer struct{}

// Busy is busy as soon as it is dialled.
type Busy struct{}

// Fail cannot be connected.
type Fail struct{}

// QueuedForever stays queued until it is cancelled.
type QueuedForever struct{}

// RingsForever rings until it is cancelled, as no call should.
type RingsForever struct{}

// Canceled rings until somebody else cancels it, 5 s later.
type Canceled struct{}

// Refuse makes the API refuse calls and messages to the number, say with 21214
// or 21610.
type Refuse struct{ Code int }

func (Answer) behaviour()        {}
func (NoAnswer) behaviour()      {}
func (Busy) behaviour()          {}
func (Fail) behaviour()          {}
func (QueuedForever) behaviour() {}
func (RingsForever) behaviour()  {}
func (Canceled) behaviour()      {}
func (Refuse) behaviour()        {}

// Behave scripts a number: each call takes the next behaviour, the last one
// stays. Calls already under way keep theirs. Without any, the number goes back
// to the default answer.
func (s *Server) Behave(number string, b ...Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviours[number] = append([]Behaviour(nil), b...)
}

// peek returns the behaviour that number's next call will have; s.mu must be held.
func (s *Server) peek(number string) Behaviour {
	if script := s.behaviours[number]; len(script) > 0 {
		return script[0]
	}
	return s.cfg.Default
}

// next uses up the behaviour for one more call to number; s.mu must be held.
func (s *Server) next(number string) Behaviour {
	b := s.peek(number)
	if script := s.behaviours[number]; len(script) > 1 {
		s.behaviours[number] = script[1:]
	}
	return b
}
