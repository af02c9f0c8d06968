package sentinel

import (
	"fmt"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/routing"
)

// Times of the phone's self-test (rule C7).
const (
	// testAgain is how soon a test that came to nothing is made again, at first; each time
	// that waits twice as long, up to testAgainMost. So long a person's mending is waited for.
	testAgain     = time.Minute
	testAgainMost = time.Hour
	// unclearAtMost is how long the phone's provider may be out of reach before anybody is told.
	unclearAtMost = 10 * time.Minute
)

// DefaultFewCalls is how many calls the credit must last for.
const DefaultFewCalls = 10

// What is told of the phone.
const (
	aboutPhone  = "the phone"
	aboutCredit = "credit for calls"
	aboutCalled = "calls to "
)

// Phone is what is known of the way to call people.
type Phone struct {
	Tested  time.Time // when the last self-test ended; zero: there was none
	Fine    bool      // it would place a call
	Unclear bool      // nobody can mend that: it is tried again by itself
	Why     string    // it would not
	Advice  string
	Calls   *int   `json:",omitempty"` // about so many can be paid for; nil: not known
	Credit  string `json:",omitempty"`
	Trial   bool   `json:",omitempty"`
	Failing int    // tests in a row that were not fine
	Since   time.Time
	Refused map[string]Refusal `json:",omitempty"` // by contact, until one is placed
}

// Refusal is why a contact's last call was not placed and the next would not be either.
type Refusal struct {
	At          time.Time
	Why, Advice string
}

// WantsSelfTest reports whether it is time to ask the phone's provider whether a call would
// be placed.
func (s *State) WantsSelfTest() bool { return s.testDue }

// settleSelfTest finds out whether a self-test is due: at the start, when the phone is another,
// and each day (rule C7).
func (d *decider) settleSelfTest() {
	d.testDue = d.cfg.SelfTestEach > 0 && (!d.tested || d.due(d.Phone.testAt(d.cfg)))
}

// testAt is when the next self-test is due.
func (p *Phone) testAt(cfg Config) time.Time {
	wait := cfg.SelfTestEach
	switch {
	case !p.Fine && p.Unclear:
		wait = min(wait, testAgainMost, testAgain<<min(p.Failing-1, 10))
	case !p.Fine, p.few(cfg): // until somebody has mended it
		wait = min(wait, testAgainMost)
	}
	return p.Tested.Add(wait)
}

func (p *Phone) few(cfg Config) bool { return p.Calls != nil && *p.Calls < cfg.FewCalls }

// phoneTested notes what a self-test found out. One of a phone that is no longer the
// configured one says nothing of it.
func (d *decider) phoneTested(in PhoneTested) {
	if in.Phone != d.cfg.Phone || d.cfg.SelfTestEach == 0 || in.Unclear && !d.Blind.IsZero() {
		return // it is another's, or the brain's own uplink is the reason
	}
	d.tested = true
	d.emit(&SelfTested{Fine: in.Why == "", Unclear: in.Unclear, Why: in.Why, Advice: in.Advice, Calls: in.Calls, Credit: in.Credit, Trial: in.Trial})
	p := &d.Phone
	n := &Noticed{About: aboutPhone, As: p.Why, Kind: KindPhone, Severity: routing.Critical}
	told, wasTold := d.Told[aboutPhone]
	switch {
	case p.Fine && wasTold && told != "":
		n.Over = true
		n.Text = "the phone works again: nothing keeps a call from being placed"
	case p.Fine:
		n = nil
	case p.Unclear && d.now.Sub(p.Since) < unclearAtMost:
		n = nil
	case p.Unclear:
		n.As = "out of reach" // in whichever words
		n.Text = fmt.Sprintf("nobody can be called: the phone's self-test has come to nothing for %s: %s", power.Spell(d.now.Sub(p.Since)), withAdvice(p.Why, p.Advice))
	default:
		n.Text = "nobody can be called: " + withAdvice(p.Why, p.Advice)
	}
	if n != nil && (n.As == "" || !wasTold || told != n.As) {
		d.emit(n)
	}
	if few := p.few(d.cfg); few != (d.Told[aboutCredit] == saidLow) && p.Calls != nil {
		n := &Noticed{About: aboutCredit, Kind: KindPhone, Severity: routing.Warning, Over: !few, Text: fmt.Sprintf("the credit lasts for about %d calls again (%s)", *p.Calls, p.Credit)}
		if few {
			n.As, n.Text = saidLow, fmt.Sprintf("the credit lasts for about %s only (%s); add funds in Twilio's console", saidCalls(*p.Calls), p.Credit)
		}
		d.emit(n)
	}
}

// saidLow is how credit stands that is about to end.
const saidLow = "low"

func saidCalls(n int) string {
	if n == 1 {
		return "one call"
	}
	return fmt.Sprintf("%d calls", max(n, 0))
}

func withAdvice(why, advice string) string {
	if advice == "" {
		return why
	}
	return why + "; " + advice
}

// callRefused tells that a contact cannot be called before somebody mends something, once for
// each thing that is to be mended (rule C7).
func (d *decider) callRefused(c *Call, in CallHasEnded) {
	n := &Noticed{Incident: c.Incident, About: aboutCalled + c.Contact, As: in.Advice, Kind: KindPhone, Severity: routing.Critical}
	if i := d.Incidents[c.Incident]; i != nil {
		n.Site = i.Site
	}
	if told, is := d.Told[n.About]; is && told == n.As {
		return
	}
	n.Text = fmt.Sprintf("%s cannot be called: %s", c.Contact, withAdvice(in.Outcome, in.Advice))
	d.emit(n)
}

// callLate tells once of a call that cannot be placed for now (rule C7). While the brain itself is
// offline it is not told: that is shown by itself, and is the reason.
func (d *decider) callLate(in CallIsLate) {
	if c := d.call(in.Call); c != nil && c.Open() && c.SID == "" && !c.Dropped && c.Late == nil && d.Blind.IsZero() {
		d.emit(&CallLate{Call: c.ID, Contact: c.Contact, Why: in.Why, Advice: in.Advice})
	}
}

// evolvePhone is how the way to call people stands.
func (s *State) evolvePhone(at time.Time, f *SelfTested) {
	p := &s.Phone
	switch {
	case f.Fine:
		p.Failing, p.Since = 0, time.Time{}
	case p.Failing == 0:
		p.Failing, p.Since = 1, at
	default:
		p.Failing++
	}
	p.Tested, p.Fine, p.Unclear, p.Why, p.Advice, p.Trial = at, f.Fine, f.Unclear, f.Why, f.Advice, f.Trial
	if f.Calls != nil || f.Fine { // what is not asked has not changed
		p.Calls, p.Credit = f.Calls, f.Credit
	}
}

// refuse notes whose calls are not placed, and take that one was.
func (p *Phone) refuse(contact string, r Refusal) {
	if p.Refused == nil {
		p.Refused = map[string]Refusal{}
	}
	p.Refused[contact] = r
}

func (s *State) placed(contact string) {
	delete(s.Phone.Refused, contact)
	delete(s.Told, aboutCalled+contact)
	delete(s.ToldAt, aboutCalled+contact)
}

func sentenceOfSelfTest(f *SelfTested) string {
	if !f.Fine {
		return "the phone's self-test failed: " + withAdvice(f.Why, f.Advice)
	}
	text := "the phone's self-test is fine"
	if f.Calls != nil {
		text += fmt.Sprintf(", about %s left (%s)", saidCalls(*f.Calls), f.Credit)
	}
	if f.Trial {
		text += "; a trial account reaches verified numbers only"
	}
	return text
}
