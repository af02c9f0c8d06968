package brain

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/channel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/routing"
)

// longestName is how long a person's name may be, in bytes: it is spoken.
const longestName = 60

func (c *Config) checkContacts(f *config.File) []error {
	var errs []error
	seen := map[string]bool{}
	for i, p := range c.Contacts {
		at := fmt.Sprintf("contacts[%d]", i)
		switch {
		case p.Name == "":
			errs = append(errs, f.Errorf(at+".name", "the contact has no name; it is greeted by it"))
		case len(p.Name) > longestName || strings.ContainsFunc(p.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
			errs = append(errs, f.Errorf(at+".name", "%.80q cannot be spoken; write a name of at most %d letters, without control characters", p.Name, longestName))
		case seen[p.Name]:
			errs = append(errs, f.Errorf(at+".name", "%q stands here for the second time; names tell people apart", p.Name))
		}
		seen[p.Name] = true
		switch {
		case p.Phone == "" && len(p.Notices) == 0:
			errs = append(errs, f.Errorf(at+".phone", "nothing says how %s is told; add phone: with an international number such as +886912345678, or notices:", orSomebody(p.Name)))
		case p.Phone != "" && !phonePattern.MatchString(p.Phone):
			errs = append(errs, f.Errorf(at+".phone", "%q is no international number; write it as +<country><number>, e.g. +886912345678", p.Phone))
		}
		errs = append(errs, c.checkNames(f, at+".calls.kinds", p.Calls.Kinds, "kind of incident", ringKinds())...)
		errs = append(errs, c.checkNames(f, at+".calls.sites", p.Calls.Sites, "site", c.siteNames())...)
		for j := range p.Notices {
			errs = append(errs, c.checkChannel(f, fmt.Sprintf("%s.notices[%d]", at, j), &p, &p.Notices[j])...)
		}
	}
	if len(c.callable()) > 0 && c.Twilio == nil && !f.Spoilt("twilio") {
		errs = append(errs, f.Errorf("contacts", "nobody can be called without a twilio: section; add one, or remove phone: where it stands"))
	}
	return append(errs, c.checkEmail(f)...)
}

func orSomebody(name string) string {
	if name == "" {
		return "the contact"
	}
	return name
}

func (c *Config) siteNames() []string {
	var names []string
	for _, s := range c.Sites {
		names = append(names, s.Name)
	}
	return names
}

// checkNames wants names that there are, each once.
func (c *Config) checkNames(f *config.File, at string, names []string, what string, known []string) (errs []error) {
	for i, n := range names {
		key := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case !slices.Contains(known, n):
			errs = append(errs, f.Errorf(key, "%.80q is no %s; %s", n, what, hint(n, slices.Clone(known))))
		case slices.Contains(names[:i], n):
			errs = append(errs, f.Errorf(key, "%q stands here for the second time", n))
		}
	}
	return errs
}

func (c *Config) checkChannel(f *config.File, at string, p *Person, n *Channel) []error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		if n.bare {
			key = ""
		}
		errs = append(errs, f.Errorf(at+key, format, args...))
	}
	ways := 0
	for _, named := range []bool{!n.URL.IsZero(), !n.URLFile.IsZero(), n.Email != "", n.SMS, !n.Webhook.IsZero()} {
		if named {
			ways++
		}
	}
	if ways != 1 {
		names := "it names several ways to tell somebody"
		if ways == 0 {
			names = "it names no way to tell somebody"
		}
		wrong("", "%s; write an address such as ntfy://ntfy.example.org/home, or one of url, url_file, email, sms and webhook", names)
	}
	if !n.URL.IsZero() {
		if _, err := (channel.Means{}).Sender(channel.Way{URL: n.URL.Reveal()}); err != nil {
			wrong(".url", "%s", err)
		}
	}
	if n.Email != "" {
		if err := channel.ValidAddress(n.Email); err != nil {
			wrong(".email", "%.80q %s", n.Email, err)
		}
		if c.Email == nil && !f.Spoilt("email") {
			wrong(".email", "no mail can be sent without an email: section; add one with host and from, or with sendmail and from")
		}
	}
	if n.SMS && p.Phone == "" {
		wrong(".sms", "%s has no phone; add phone: with an international number", orSomebody(p.Name))
	}
	if !n.Webhook.IsZero() {
		if err := channel.ValidWebhook(n.Webhook.Reveal()); err != nil {
			wrong(".webhook", "%s", err)
		}
		if n.Secret.IsZero() {
			wrong(".webhook", "it has no secret_file, by whose secret the receiver knows who speaks; add one")
		}
	} else if !n.Secret.IsZero() {
		wrong(".secret_file", "it belongs to a webhook, and there is none; add webhook:, or remove it")
	}
	errs = append(errs, c.checkNames(f, at+".kinds", n.Kinds, "kind of notice", sentinel.NoticeKinds())...)
	errs = append(errs, c.checkNames(f, at+".sites", n.Sites, "site", c.siteNames())...)
	if _, err := routing.ParseSeverity(n.Least); n.Least != "" && err != nil {
		wrong(".least", "%s", err)
	}
	if _, err := routing.ParseOn(n.On); n.On != "" && err != nil {
		wrong(".on", "%s", err)
	}
	return errs
}

func (c *Config) checkEmail(f *config.File) []error {
	e := c.Email
	if e == nil {
		return nil
	}
	var errs []error
	wrong := func(key, format string, args ...any) { errs = append(errs, f.Errorf("email"+key, format, args...)) }
	switch {
	case e.Host == "" && e.Sendmail == "":
		wrong("", "nothing says how mail is sent; add host: with a mail server, or sendmail: with a program's path")
	case e.Host != "" && e.Sendmail != "":
		wrong(".sendmail", "mail goes through a server or through a program, not both; remove host: or sendmail:")
	case e.Sendmail != "" && (!filepath.IsAbs(e.Sendmail) || e.Port != 0 || e.TLS != "" || e.User != "" || !e.Password.IsZero()):
		wrong(".sendmail", "write the program's absolute path, such as /usr/sbin/sendmail; port, tls, user and password_file belong to a server")
	}
	if e.From == "" {
		wrong("", "from: is missing; write the address that the mail comes from")
	} else if err := channel.ValidAddress(e.From); err != nil {
		wrong(".from", "%.80q %s", e.From, err)
	}
	switch way := channel.TLS(e.TLS); {
	case e.TLS == "", way == channel.StartTLS, way == channel.Implicit:
	case way != channel.NoTLS:
		wrong(".tls", "%.40q is no way to a mail server; write starttls, implicit or none", e.TLS)
	case e.Host != "" && !channel.Local(e.Host):
		wrong(".tls", "none is only for a mail server on this machine, localhost; write starttls or implicit")
	}
	if (e.User == "") != e.Password.IsZero() {
		wrong(".user", "user and password_file belong together; add the one that is missing, or remove the other")
	}
	if strings.ContainsFunc(e.Host, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(" :/@", r) }) && !channel.Local(e.Host) {
		wrong(".host", "%.80q is no host; write its name alone, and the port under port:", e.Host)
	}
	return errs
}
