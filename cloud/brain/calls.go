package brain

import (
	"log/slog"
	"slices"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/wire"
)

// callList is whom a site's Pis call and tell when no brain answers (rule G3), ready to be sent.
type callList struct {
	wire.Calls
	hash string
}

// callLists are those of all sites, with the channels or without. Without twilio: nobody can be called.
func callLists(cfg *Config, channels bool, log *slog.Logger) map[string]callList {
	lists := map[string]callList{}
	for _, site := range cfg.Sites {
		list := wire.Calls{Zone: site.TimeZone}
		usual := cfg.tongueOf("")
		if t := cfg.Twilio; t != nil {
			list.Twilio = &wire.Twilio{AccountSID: t.AccountSID, KeySID: t.APIKeySID, Secret: t.APIKeySecret.Name(), From: t.From,
				APIURL: t.APIURL, Voice: usual.voice, Language: usual.code}
		}
		mails := cfg.Email != nil && cfg.Email.Sendmail == "" // which program to run is no machine's word to another
		if e := cfg.Email; channels && mails {
			list.Mail = &wire.Mail{Host: e.Host, Port: e.Port, TLS: e.TLS, User: e.User, Password: e.Password.Name(), From: e.From}
		}
		for _, p := range cfg.Contacts {
			c := wire.Contact{Name: p.Name, Phone: p.Phone}
			if own := cfg.tongueOf(p.Name); own != usual { // said only where it is needed: an older Pi does not know of it
				c.Language, c.Voice = own.code, own.voice
			}
			if channels {
				c.Channels = p.ofPis(site.Name, mails)
			}
			if !p.ringsAt(site.Name) && !slices.ContainsFunc(c.Channels, func(c wire.Channel) bool { return c.SMS }) {
				c.Phone = ""
			}
			if len(list.Contacts) < wire.MaxContacts && (c.Phone != "" || len(c.Channels) > 0) {
				list.Contacts = append(list.Contacts, c)
			}
		}
		hash, err := list.Hash()
		if err != nil {
			log.Error("list of calls not made", "site", site.Name, "err", err)
			continue
		}
		lists[site.Name] = callList{list, hash}
	}
	return lists
}

// ringsAt reports whether a phone rings for a site.
func (p *Person) ringsAt(site string) bool {
	return len(p.Calls.Sites) == 0 || slices.Contains(p.Calls.Sites, site)
}

// ofPis are the channels on which a site's Pis say that nobody watches, and that somebody does again; mails
// says that a Pi can send mail.
func (p *Person) ofPis(site string, mails bool) (out []wire.Channel) {
	for _, n := range p.Notices {
		r := n.route()
		gone := routing.Event{Kind: string(sentinel.Unwatched), Severity: routing.Critical, Site: site}
		back := gone
		back.Over = true
		if n.Email != "" && !mails || !r.Wants(gone) && !r.Wants(back) || len(out) == wire.MaxChannels {
			continue
		}
		out = append(out, wire.Channel{URL: n.URL.Reveal(), URLFile: n.URLFile.Name(), Email: n.Email, SMS: n.SMS, Webhook: n.Webhook.Reveal(), Secret: n.Secret.Name(),
			Turns: r.On.String()})
	}
	return out
}

// callsFor is what a Pi is to be told of whom to call; nil: it knows, or knows of no such list.
func (b *Brain) callsFor(pi, site string) *wire.Calls {
	b.pis.mu.Lock()
	said := b.pis.said[pi]
	b.pis.mu.Unlock()
	lists := b.set.Load().calls
	if said.tells {
		lists = b.set.Load().tells
	}
	list, ok := lists[site]
	if !ok || said.calls == "" || said.calls == list.hash {
		return nil
	}
	return &list.Calls
}
