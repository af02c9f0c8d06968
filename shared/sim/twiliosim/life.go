package twiliosim

import "time"

const (
	defaultAfter = 2 * time.Second
	defaultTalk  = 10 * time.Second
	othersCancel = 5 * time.Second
)

// change notes a new status and tells of it; s.mu must be held.
func (s *Server) change(c *call, status string) {
	now := time.Now()
	c.Status, c.updated = status, now
	c.Statuses = append(c.Statuses, status)
	switch {
	case status == "initiated":
		c.Dialled = &now
	case status == "in-progress":
		c.Answered = &now
	case final(status):
		c.Ended = &now
		if c.Answered != nil {
			c.Duration = now.Sub(*c.Answered)
		}
		close(c.over)
	}
	if s.cfg.OnStatus != nil {
		snapshot := c.snapshot()
		s.post(func() { s.cfg.OnStatus(snapshot) })
	}
}

// live takes one call through its statuses until it is over.
func (s *Server) live(c *call) {
	if _, forever := c.behaviour.(QueuedForever); forever {
		s.pause(c, -1)
		return
	}
	if !s.pause(c, s.cfg.Timing.Queue) || !s.move(c, "initiated") || !s.pause(c, s.cfg.Timing.Dial) {
		return
	}
	switch b := c.behaviour.(type) {
	case Busy:
		s.move(c, "busy")
	case Fail:
		s.move(c, "failed")
	case Answer:
		s.answer(c, b)
	case RingsForever:
		if s.move(c, "ringing") {
			s.pause(c, -1)
		}
	case Canceled:
		if s.move(c, "ringing") && s.pause(c, othersCancel) {
			s.move(c, "canceled")
		}
	default:
		if s.move(c, "ringing") && s.pause(c, c.ring) {
			s.move(c, "no-answer")
		}
	}
}

// answer lets it ring, be answered, talk and end.
func (s *Server) answer(c *call, b Answer) {
	orDuration(&b.After, defaultAfter)
	orDuration(&b.TalkFor, defaultTalk)
	if b.By == "" {
		b.By = "human"
	}
	if !s.move(c, "ringing") || !s.pause(c, min(b.After, c.ring)) {
		return
	}
	if b.After >= c.ring {
		s.move(c, "no-answer")
		return
	}
	if !s.move(c, "in-progress") {
		return
	}
	talk := b.TalkFor
	if c.limit > 0 {
		talk = min(talk, c.limit)
	}
	if c.detect { // detection holds the text back, as Twilio's does
		wait := min(s.cfg.Timing.Detect, talk)
		if !s.pause(c, wait) {
			return
		}
		talk -= wait
	}
	doc, err := verbs(c.TwiML)
	keyed := err == nil && asks(doc)
	if !c.detect || talk > 0 {
		s.speak(c, b.By, !keyed)
	}
	if keyed {
		s.converse(c, doc, b, time.Now().Add(talk))
		return
	}
	if s.pause(c, talk) {
		s.move(c, "completed")
	}
}

// speak notes who answered, if that was asked, and tells what is said if it is all said at once.
func (s *Server) speak(c *call, by string, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if final(c.Status) {
		return
	}
	if c.detect {
		c.AnsweredBy = by
	}
	if whole && s.cfg.OnSpeech != nil {
		to, text := c.To, c.Text
		s.post(func() { s.cfg.OnSpeech(to, text) })
	}
}

// move changes the status unless the call was ended meanwhile.
func (s *Server) move(c *call, status string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if final(c.Status) {
		return false
	}
	s.change(c, status)
	return true
}

// pause waits for d (for ever, if negative) and reports whether the call goes on.
func (s *Server) pause(c *call, d time.Duration) bool {
	var tick <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		tick = t.C
	}
	select {
	case <-tick:
		return true
	case <-c.over:
		return false
	case <-s.done:
		return false
	}
}
