package brain

import (
	"log/slog"

	"sentinel.home.arpa/shared/wire"
)

// callList is whom a site's Pis call when no brain answers (rule G3), ready to be sent.
type callList struct {
	wire.Calls
	hash string
}

// callLists are those of all sites. Without twilio: there is nothing in them.
func callLists(cfg *Config, log *slog.Logger) map[string]callList {
	lists := map[string]callList{}
	for _, site := range cfg.Sites {
		list := wire.Calls{Zone: site.TimeZone}
		if t := cfg.Twilio; t != nil {
			list.Twilio = &wire.Twilio{AccountSID: t.AccountSID, KeySID: t.APIKeySID, Secret: t.APIKeySecret.Name(), From: t.From,
				APIURL: t.APIURL, Voice: t.Voice, Language: t.Language}
		}
		for _, p := range cfg.Contacts[:min(len(cfg.Contacts), wire.MaxContacts)] {
			list.Contacts = append(list.Contacts, wire.Contact{Name: p.Name, Phone: p.Phone})
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

// callsFor is what a Pi is to be told of whom to call; nil: it knows, or knows of no such list.
func (b *Brain) callsFor(pi, site string) *wire.Calls {
	b.pis.mu.Lock()
	has := b.pis.said[pi].calls
	b.pis.mu.Unlock()
	list, ok := b.set.Load().calls[site]
	if !ok || has == "" || has == list.hash {
		return nil
	}
	return &list.Calls
}
