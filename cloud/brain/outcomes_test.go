package brain

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/sim/twiliosim"
)

// fate is one thing that may become of a call, or of asking for one. Everything after it
// goes well.
type fate struct {
	what    string
	is      twiliosim.Behaviour // of Alex's phone
	fault   twiliosim.Fault     // of the first request for a call
	offline bool                // there is no connection for it
}

// ofPhones are what a phone does.
func ofPhones() []fate {
	by := func(who string) twiliosim.Answer { return twiliosim.Answer{By: who, TalkFor: 30 * time.Second} }
	return []fate{
		{what: "a person takes it", is: by("human")},
		{what: "somebody, who Twilio cannot tell, listens for 20 s", is: twiliosim.Answer{By: "unknown", TalkFor: 20 * time.Second}},
		{what: "the same, for 5 s", is: twiliosim.Answer{By: "unknown", TalkFor: 5 * time.Second}},
		{what: "a mailbox begins to speak", is: by("machine_start")},
		{what: "a mailbox, after its beep", is: by("machine_end_beep")},
		{what: "a mailbox, after its silence", is: by("machine_end_silence")},
		{what: "a mailbox, otherwise at its end", is: by("machine_end_other")},
		{what: "a fax", is: by("fax")},
		{what: "busy, or declined", is: twiliosim.Busy{}},
		{what: "nobody takes it", is: twiliosim.NoAnswer{}},
		{what: "it cannot be connected", is: twiliosim.Fail{}},
		{what: "somebody cancels it in Twilio's console", is: twiliosim.Canceled{}},
		{what: "it waits at Twilio and never rings", is: twiliosim.QueuedForever{}},
		{what: "it rings and never ends", is: twiliosim.RingsForever{}},
	}
}

// ofRequests are what asking Twilio for a call comes to.
func ofRequests() []fate {
	fault := func(what string, kind twiliosim.FaultKind, done bool) fate {
		return fate{what: what, fault: twiliosim.Fault{Kind: kind, Done: done}}
	}
	refused := func(code int, what string) fate {
		return fate{what: fmt.Sprintf("%d, %s", code, what), fault: twiliosim.Fault{Kind: twiliosim.Refused, Code: code}}
	}
	return []fate{
		{what: "no connection", offline: true},
		fault("no answer", twiliosim.Hang, false),
		fault("no answer, though it rings", twiliosim.Hang, true),
		fault("the connection breaks off", twiliosim.Drop, false),
		fault("the same, though it rings", twiliosim.Drop, true),
		fault("half an answer", twiliosim.HalfAnswer, true),
		fault("too many requests", twiliosim.Throttled, false),
		fault("Twilio's own error", twiliosim.Internal, false),
		fault("Twilio is not available", twiliosim.Unavailable, false),
		fault("the same, though it rings", twiliosim.Unavailable, true),
		fault("a proxy's page", twiliosim.BadGateway, false),
		fault("a portal's page", twiliosim.Portal, false),
		refused(20003, "wrong credentials"),
		refused(20005, "the account is suspended"),
		refused(10001, "no credit"),
		refused(10004, "too many calls at once"),
		refused(21205, "the text is missing"),
		refused(21210, "not your number to call from"),
		refused(21211, "no such number"),
		refused(21214, "the number cannot be reached"),
		refused(21215, "calls to this country are not allowed"),
		refused(21216, "the number is blocked"),
		refused(21219, "not verified, as a trial account needs"),
		refused(29999, "one that is not known"),
	}
}

// lasts is how long it is looked at.
func (o fate) lasts() time.Duration {
	if _, forever := o.is.(twiliosim.RingsForever); forever {
		return 9 * time.Minute
	}
	return 3 * time.Minute
}

// became is what was seen of one.
type became struct {
	begun time.Time // when Alex's call was decided
	ended *sentinel.CallEnded
	over  time.Time
	next  time.Time // when the next call was decided; zero: none was
	asked []posed   // about calls, until it was over
	calls []twiliosim.Call
	told  []string
	page  *web.View // before the next call, or a while after this one
}

// play has a node fail, and Alex called about it.
func (o fate) play(t *testing.T) *became {
	b := &became{}
	var mu sync.Mutex
	var all []posed
	before := func(h *home) {
		tellsAlex(h)
		h.cfg.Contacts[0].Notices = h.cfg.Contacts[0].Notices[:1] // ntfy: what Twilio is asked is about calls alone
		h.slowly()
		h.x.seen = func(a posed) {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasSuffix(a.URL.Path, "/Calls.json") {
				all = append(all, a)
			}
		}
	}
	in(t, before, func(h *home) {
		if o.is != nil {
			h.x.Behave(alex, o.is, twiliosim.Answer{})
		}
		if o.offline {
			h.x.offline = 1
		}
		if o.fault.Kind != "" {
			o.fault.Method, o.fault.Path = http.MethodPost, "/Calls.json"
			h.x.Fault(o.fault, 1)
		}
		h.nodes["pve2"].kill()
		var pages []*web.View // one a second
		begin := time.Now()
		for range o.lasts() / time.Second {
			rest(time.Second)
			pages = append(pages, h.brain.page())
		}
		b.take(h.entries())
		if b.ended == nil {
			t.Fatalf("it has no end:\n%s", h.timeline())
		}
		until := b.next
		if until.IsZero() {
			until = b.over.Add(20 * time.Second)
		}
		looked := until.Add(-time.Second)
		if soon := b.over.Add(2 * time.Second); soon.After(looked) {
			looked = soon
		}
		b.page = pages[looked.Sub(begin)/time.Second-1]
		for _, a := range all {
			first := len(b.asked) == 0 && a.at.Sub(b.begun) > -time.Second
			if first || len(b.asked) > 0 && a.at.Before(until.Add(-time.Millisecond)) {
				b.asked = append(b.asked, a)
			}
		}
		for _, g := range h.hooks.Taken() {
			if g.Path == "/"+ntfyTopic && g.At.Before(looked) && !strings.HasSuffix(g.Title, ": pve2") { // that it failed is told in any case
				b.told = append(b.told, g.Title)
			}
		}
		b.calls = h.x.Calls()
	})
	b.once(t)
	return b
}

// take finds the first call and its end among the facts.
func (b *became) take(all []journal.Entry) {
	first := ""
	for _, e := range all {
		switch f := e.Fact.(type) {
		case *sentinel.CallRequested:
			if first == "" {
				first, b.begun = f.Call, e.At
			} else if b.next.IsZero() {
				b.next = e.At
			}
		case *sentinel.CallEnded:
			if f.Call == first {
				b.ended, b.over = f, e.At
			}
		}
	}
}

// once demands that no phone is called twice at a time, and that the call rang at most once
// for what was decided once (rule C4).
func (b *became) once(t *testing.T) {
	for i, c := range b.calls[1:] {
		if before := b.calls[i]; c.To == before.To && (before.Ended == nil || c.Created.Before(*before.Ended)) {
			t.Errorf("%s is called at %s, while the call of %s goes on", c.To, c.Created, before.Created)
		}
	}
	if len(b.calls) > 1 && b.next.IsZero() {
		t.Errorf("one call was decided, and %d were made", len(b.calls))
	}
}

// after is how long after something a thing came.
func after(d time.Duration) string {
	if d = d.Round(time.Second); d > 0 {
		return fmt.Sprintf("%.0f s later", d.Seconds())
	}
	return "at once"
}

// then is who is called next.
func (b *became) then() string {
	for _, c := range b.calls {
		if !b.next.IsZero() && !c.Created.Before(b.next) {
			return map[string]string{alex: "Alex", sam: "Sam"}[c.To] + ", " + after(c.Created.Sub(b.over))
		}
	}
	return "nobody"
}

// seen is what Twilio had of the call.
func (b *became) seen() string {
	c := b.calls[0]
	said := strings.Join(c.Statuses, ", ")
	if c.AnsweredBy != "" {
		said += "; by `" + c.AnsweredBy + "`"
	}
	return said
}

// answer is what the first request got.
func (b *became) answer() string {
	a := b.asked[0]
	if a.err != nil {
		return fmt.Sprintf("%v, after %.0f s", a.err, a.answered.Sub(a.at).Seconds())
	}
	kind, _, _ := strings.Cut(strings.TrimPrefix(a.res.Header.Get("Content-Type"), "text/"), ";")
	return fmt.Sprintf("HTTP %d, %s", a.res.StatusCode, strings.TrimPrefix(kind, "application/"))
}

// meanwhile is what is done until it rings, and when it does, from the first answer on.
func (b *became) meanwhile() string {
	var did []string
	from := b.asked[0].answered
	for _, a := range b.asked[1:] {
		what := "asked again"
		if a.Method == http.MethodGet {
			what = "list"
		}
		did = append(did, what+" "+after(a.at.Sub(from)))
	}
	if rang := b.calls[0].Created; b.next.IsZero() || rang.Before(b.next) {
		return strings.Join(append(did, "rings"), ", ")
	}
	return strings.Join(append(did, "next: "+b.then()), ", ")
}

func (b *became) counts() string {
	if b.ended.Delivered {
		return "yes"
	}
	return "no"
}

// elsewhere is what the other channels say.
func (b *became) elsewhere() string {
	if len(b.told) == 0 {
		return "nothing"
	}
	return strings.Join(b.told, "; ")
}

// shown is what the page says of it.
func (b *became) shown() string {
	_, verdict, _ := strings.Cut(b.page.Verdict, ". ")
	return strings.Join(append([]string{verdict}, b.page.Warnings...), " ")
}

func row(cells ...string) string {
	return "| " + strings.ReplaceAll(strings.Join(cells, " | "), "Refused by the simulation", "...") + " |\n"
}

// TestC2_WhatBecomesOfACall plays each outcome of a call, and of asking for one, to the end,
// and writes what was seen into docs/calls.md.
func TestC2_WhatBecomesOfACall(t *testing.T) {
	table := row("the call", "Twilio's words for it", "taken", "who is called next", "other channels tell", "the timeline", "the page") + row("---", "---", "---", "---", "---", "---", "---")
	for _, o := range ofPhones() {
		b := o.play(t)
		table += row(o.what, b.seen(), b.counts(), b.then(), b.elsewhere(), sentinel.Sentence(b.ended), b.shown())
	}
	table += "\n" + row("asking Twilio", "what comes back", "what is done", "other channels tell", "the page") + row("---", "---", "---", "---", "---")
	for _, o := range ofRequests() {
		b := o.play(t)
		table += row(o.what, b.answer(), b.meanwhile(), b.elsewhere(), b.shown())
	}
	inDocument(t, "../../docs/calls.md", "outcomes", table)
}

// inDocument demands that a part of a document says what was seen.
func inDocument(t *testing.T, path, part, want string) {
	t.Helper()
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from, to := "<!-- "+part+" -->\n", "<!-- /"+part+" -->"
	head, rest, ok := strings.Cut(string(doc), from)
	old, tail, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatalf("%s has no place for %s", path, part)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+from+want+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, want); diff != "" {
		t.Errorf("%s says something else (-written +seen); review, then -update:\n%s", path, diff)
	}
}
