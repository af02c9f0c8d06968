package brain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/channel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/outbox"
	"sentinel.home.arpa/shared/routing"
)

// Keys that name secrets of channels.
const emailPassword = "email.password_file"

func channelKey(person, n int, key string) string {
	return fmt.Sprintf("contacts[%d].notices[%d].%s", person, n, key)
}

// channelSecrets are those that the channels need.
func (c *Config) channelSecrets() []namedSecret {
	var out []namedSecret
	add := func(key string, s config.Secret) {
		if !s.IsZero() {
			out = append(out, namedSecret{key, s})
		}
	}
	if c.Email != nil {
		add(emailPassword, c.Email.Password)
	}
	for i, p := range c.Contacts {
		for j, n := range p.Notices {
			add(channelKey(i, j, "url_file"), n.URLFile)
			add(channelKey(i, j, "secret_file"), n.Secret)
		}
	}
	return out
}

// checkChannelSecret is what is wrong with the contents of a file that a channel names, which it does not repeat.
func checkChannelSecret(key, secret string) error {
	if !isURLFile(key) {
		return nil
	}
	_, err := channel.Means{}.Sender(channel.Way{URL: secret})
	return err
}

func isURLFile(key string) bool {
	var i, j int
	n, err := fmt.Sscanf(key, "contacts[%d].notices[%d].url_file", &i, &j)
	return n == 2 && err == nil && key == channelKey(i, j, "url_file")
}

// people makes the channels of everybody, and what the core knows of them: a name for each that carries no secret and
// stays the same as long as the file names the same ways in the same order.
func (b *Brain) people(s *settings, read map[string]string, said func(key string, err error)) {
	s.senders = map[outbox.Key]channel.Sender{}
	for i, p := range s.cfg.Contacts {
		who := sentinel.Person{Name: p.Name, Phone: routing.Route{Kinds: p.Calls.Kinds, Sites: p.Calls.Sites}, Quiet: p.QuietHours.Quiet}
		names := channel.Names{}
		for j := range p.Notices {
			n := &p.Notices[j]
			address, key := n.URL.Reveal(), channelKey(i, j, "url")
			if !n.URLFile.IsZero() {
				key = channelKey(i, j, "url_file")
				address = read[key]
				if address == "" {
					continue // it was said that it cannot be read
				}
			}
			way := n.way(&p, address, read[channelKey(i, j, "secret_file")])
			name := names.Of(way)
			sender, err := b.sender(s, way, read[emailPassword])
			if err != nil {
				said(key, err)
				continue
			}
			s.senders[outbox.Key{Contact: p.Name, Channel: name}] = sender
			who.Channels = append(who.Channels, sentinel.Channel{Name: name, Route: n.route()})
		}
		s.core.People = append(s.core.People, who)
	}
}

// way is what a channel is; address is what its url or url_file says.
func (c *Channel) way(p *Person, address, secret string) channel.Way {
	w := channel.Way{URL: address, Email: c.Email, Webhook: c.Webhook.Reveal(), Secret: secret}
	if c.SMS {
		w.SMS = p.Phone
	}
	return w
}

func (b *Brain) sender(s *settings, w channel.Way, password string) (channel.Sender, error) {
	if w.Email != "" && s.cfg.Email == nil || w.SMS != "" && s.client == nil {
		return nil, errors.New("the section that it needs is wrong")
	}
	m := channel.Means{Post: channel.Post{Dial: b.machine.dial}, Transport: b.machine.hooks, TextFailure: calls.TextFailure, Now: b.machine.wall}
	if e := s.cfg.Email; e != nil {
		m.Post = channel.Post{Host: e.Host, Port: int(e.Port), TLS: channel.TLS(e.TLS), User: e.User, Password: password, From: e.From, Sendmail: e.Sendmail,
			Dial: b.machine.dial}
	}
	if s.client != nil {
		m.Text = calls.Text(s.client)
	}
	return m.Sender(w)
}

// noticeReport is how notices come back to the loop.
func (b *Brain) noticeReport() outbox.Report {
	report := func(o outbox.Order, in sentinel.Input, outcome string) {
		b.metrics.notices.WithLabelValues(o.To.Channel, outcome).Inc()
		if err := b.submit(context.Background(), in); err != nil && !errors.Is(err, errStopping) {
			b.log.Error("input lost", "input", fmt.Sprintf("%T", in), "err", err)
		}
	}
	return outbox.Report{
		Failing: func(o outbox.Order, why string) {
			report(o, sentinel.NoticeFailing{Notice: o.Message.ID, Why: why}, "tried again")
		},
		Ended: func(o outbox.Order, delivered bool, outcome string) {
			word := "not delivered"
			if delivered {
				word = "delivered"
			}
			report(o, sentinel.NoticeHasEnded{Notice: o.Message.ID, Delivered: delivered, Outcome: outcome}, word)
		},
	}
}

// sendNotice hands a notice to its channel, and waits for nothing.
func (b *Brain) sendNotice(ctx context.Context, n *sentinel.Notice) {
	shown := b.clock.Shown(n.Requested)
	b.outbox.Send(ctx, outbox.Order{To: outbox.Key{Contact: n.Contact, Channel: n.Channel},
		Message: channel.Message{ID: n.ID, Kind: n.Kind, Severity: n.Severity.String(), Site: n.Site, Incident: n.Incident, Over: n.Over,
			Subject: n.Subject, Text: n.Text, At: shown},
		Age:  func() time.Duration { return b.clock.Now().Sub(n.Requested) },
		From: shown.In(b.zone(n.Site)).Format(clockTime)})
}

// channelTroubles are the page's warnings about channels that fail (rule C7).
func (b *Brain) channelTroubles() []string {
	var out []string
	for _, c := range b.state.FailingChannels() {
		out = append(out, fmt.Sprintf("%s of %s has failed since %s: %s.", c.Channel, c.Contact, b.clock.Shown(c.Failing).In(b.zone("")).Format(clockTime), c.Why))
	}
	return out
}
