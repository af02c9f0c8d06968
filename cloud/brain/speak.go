package brain

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/speech"
	"sentinel.home.arpa/shared/twilio"
)

// tongue is how a person is spoken to.
type tongue struct {
	language    speech.Language
	code, voice string // as the provider of calls names them
}

// tongueOf is that of a contact; of nobody in particular that of the account.
func (c *Config) tongueOf(contact string) tongue {
	own := ""
	if i := slices.IndexFunc(c.Contacts, func(p Person) bool { return p.Name == contact }); i >= 0 {
		own = c.Contacts[i].Language
	}
	return c.tongueIn(own)
}

// tongueIn is that of a language by its code; empty: that of the account.
func (c *Config) tongueIn(code string) tongue {
	var account Twilio
	if c.Twilio != nil {
		account = *c.Twilio
	}
	usual := cmp.Or(account.Language, speech.English.Code())
	t := tongue{code: speech.Known(cmp.Or(code, usual))}
	l, ok := speech.Of(t.code)
	t.language = l
	if !ok { // refused when the file was read
		t.language = speech.English
	}
	if t.code == speech.Known(usual) {
		t.voice = account.Voice
	}
	t.voice = cmp.Or(account.Voices[t.code], t.voice, speech.Voice(t.code))
	return t
}

// checkTongues wants languages that there are texts in, and voices for languages that are spoken.
func (c *Config) checkTongues(f *config.File) (errs []error) {
	var known []string
	for _, l := range speech.Languages() {
		known = append(known, l.Code())
	}
	check := func(key, code string) {
		if _, ok := speech.Of(code); code != "" && !ok {
			errs = append(errs, f.Errorf(key, "there are no texts in %.40q; write one of %s, or another country's, such as en-GB", code, strings.Join(known, ", ")))
		}
	}
	for i, p := range c.Contacts {
		check(fmt.Sprintf("contacts[%d].language", i), p.Language)
	}
	if c.Twilio == nil {
		return errs
	}
	check("twilio.language", c.Twilio.Language)
	for code, voice := range c.Twilio.Voices {
		key := "twilio.voices." + code
		check(key, code)
		if voice == "" {
			errs = append(errs, f.Errorf(key, "names no voice; write one such as Polly.Vicki, or remove the line"))
		}
	}
	return errs
}

// texts are what calls say, by the files that are there now. With an error they are those that are shipped.
func (c *Config) texts() (*notify.Texts, error) {
	if !filepath.IsAbs(c.Calls.Texts) { // there are none, or it is refused
		return notify.Shipped(), nil
	}
	contacts, sites := []string{"Alex"}, []string{}
	if len(c.Contacts) > 0 {
		contacts = nil
	}
	for _, p := range c.Contacts {
		contacts = append(contacts, p.Name)
	}
	for _, s := range c.Sites {
		sites = append(sites, s.Name)
	}
	own, err := notify.LoadTexts(c.Calls.Texts, c.tongueOf("").language, contacts, sites, func(text string, l speech.Language) error {
		_, err := twilio.SayTwice(text, speech.Voice(l.Code()), l.Code())
		return err
	})
	if err != nil {
		return notify.Shipped(), err
	}
	return own, nil
}

// say makes the text of a call. One of a person's own that fails for a story that no sample is like
// gives way to the shipped one: a call is never lost by what it says.
func (b *Brain) say(i *sentinel.Incident, contact string, to tongue) (string, error) {
	story, texts := b.story(i, contact), b.set.Load().texts
	if texts.Own(to.language) {
		text, err := texts.Say(story, to.language)
		if err == nil {
			_, err = twilio.SayTwice(text, to.voice, to.code)
		}
		if err == nil {
			return text, nil
		}
		b.log.Error("your own text of a call fails, so it says the shipped one", "texts", b.cfg().Calls.Texts, "kind", story.Kind, "err", err)
	}
	return notify.Shipped().Say(story, to.language)
}

// worsenings are what texts call the ways in which an incident gets worse.
func worsenings() map[string]string {
	return map[string]string{sentinel.AllNodes: "all_nodes", sentinel.LowCharge: "charge", sentinel.LowRuntime: "runtime",
		sentinel.LateTarget: "late", sentinel.PlanBegins: "plan"}
}

// alarmed is why an incident calls anew: what got worse, or that nobody has answered yet. An
// outage that turned out to be another is neither: its text says what it is.
func (b *Brain) alarmed(i *sentinel.Incident, contact string) (worse *notify.Worse, again bool) {
	if !i.Worsened {
		return nil, i.Alarm != "" && i.Alarm != i.Why
	}
	worse = &notify.Worse{Kind: worsenings()[i.Worst.What], UPSes: i.Worst.UPSes, Broken: i.Worst.Broken}
	switch {
	case len(worse.UPSes) > 0 && i.Kind == sentinel.PowerOutage:
		worse.Kind = "another_ups"
	case len(worse.UPSes) > 0:
		worse.Kind = "lost_power"
	case worse.Kind == "late":
		worse.Names = b.state.Late(i)
	}
	if _, called := b.set.Load().numbers[i.Known]; called && i.Known != contact {
		worse.Known = i.Known
	}
	return worse, false
}
