package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/shared/calls"
	"sentinel.home.arpa/shared/channel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/outbox"
	"sentinel.home.arpa/shared/routing"
	"sentinel.home.arpa/shared/twilio"
	"sentinel.home.arpa/shared/wire"
)

// kindUnwatched is the kind of the Pi's notices, as channels choose by it.
const kindUnwatched = "power_unwatched"

var errNoAccount = errors.New("there is no account of Twilio's for text messages")

// noticesEnd is how notices come back to the loop.
func (o *outside) noticesEnd() outbox.Report {
	return outbox.Report{
		Failing: func(outbox.Order, string) {}, // it is logged
		Ended: func(order outbox.Order, delivered bool, outcome string) {
			o.send(func(now time.Time) []brainwatch.Event {
				return o.core.NoticeEnded(now, order.Message.ID, delivered, outcome)
			})
		},
	}
}

// channels are the ways to tell people beside calling, and with which sender, as the list says now. One
// whose secret is missing is there: what is to be sent by it fails, and says so.
func channels(list wire.Calls) (ways []brainwatch.Channel, senders map[outbox.Key]channel.Sender) {
	senders = map[outbox.Key]channel.Sender{}
	means := meansOf(list)
	for _, p := range list.Contacts {
		names := channel.Names{}
		for _, c := range p.Channels {
			way, err := configured(p, c)
			name := names.Of(way)
			turns, unknown := routing.ParseOn(c.Turns)
			if unknown != nil { // of a later version: all is better than nothing
				turns = routing.Both
			}
			ways = append(ways, brainwatch.Channel{Contact: p.Name, Name: name, Gone: turns != routing.Online, Back: turns != routing.Offline})
			var sender channel.Sender
			if err == nil {
				sender, err = means.Sender(way)
			}
			if err != nil {
				sender = channel.Unusable(err)
			}
			senders[outbox.Key{Contact: p.Name, Channel: name}] = sender
		}
	}
	return ways, senders
}

// configured is a channel as it is, with its secrets read.
func configured(p wire.Contact, c wire.Channel) (channel.Way, error) {
	way := channel.Way{URL: c.URL, Email: c.Email, Webhook: c.Webhook}
	if c.SMS {
		way.SMS = p.Phone
	}
	var err error
	if c.URLFile != "" {
		way.URL, err = credential(c.URLFile)
	}
	if c.Secret != "" && err == nil {
		way.Secret, err = credential(c.Secret)
	}
	return way, err
}

func meansOf(c wire.Calls) channel.Means {
	m := channel.Means{Post: channel.Post{Dial: (&net.Dialer{}).DialContext}, Now: time.Now, TextFailure: calls.TextFailure,
		Text: func(context.Context, string, string) error { return errNoAccount }}
	if t := c.Twilio; t != nil {
		m.Text = func(ctx context.Context, to, body string) error {
			client, err := account(t)
			if err != nil {
				return err
			}
			return calls.Text(client)(ctx, to, body)
		}
	}
	if e := c.Mail; e != nil {
		m.Post.Host, m.Post.Port, m.Post.TLS, m.Post.User, m.Post.From = e.Host, int(e.Port), channel.TLS(e.TLS), e.User, e.From
		if e.Password != "" {
			m.Post.Password, _ = credential(e.Password) // the server will refuse; that it is missing is told as well
		}
	}
	return m
}

// sendNotices hands notices to their channels, and waits for nothing.
func (o *outside) sendNotices(ctx context.Context, notices []brainwatch.Notice) {
	for _, n := range notices {
		s := o.story()
		s.since = o.p.clock.Shown(n.Since).In(o.zone())
		subject, text := s.notice(n)
		o.outbox.Send(ctx, outbox.Order{To: outbox.Key{Contact: n.Contact, Channel: n.Channel},
			Message: channel.Message{ID: n.ID, Kind: kindUnwatched, Severity: routing.Critical.String(), Site: s.site, Over: n.Back, Subject: subject, Text: text, At: o.p.clock.Shown(n.At)},
			Age:     func() time.Duration { return o.p.clock.Now().Sub(n.At) },
			From:    o.p.clock.Shown(n.At).In(o.zone()).Format(clockTime)})
	}
}

// account is that of Twilio's which the list names; its secret is read anew each time.
func account(t *wire.Twilio) (*twilio.Client, error) {
	secret, err := credential(t.Secret)
	if err != nil {
		return nil, fmt.Errorf("read Twilio's secret: %w", err)
	}
	return twilio.New(twilio.Config{AccountSID: t.AccountSID, APIKeySID: t.KeySID, APIKeySecret: secret, From: t.From, BaseURL: t.APIURL})
}

func credential(name string) (string, error) {
	secret, err := config.NewCredential(name)
	if err != nil {
		return "", err
	}
	return secret.Read()
}

// lacksToTell are the credentials of the channels that are missing here.
func (o *outside) lacksToTell() (names []string) {
	called := o.called.Load()
	if called == nil {
		return nil
	}
	need := func(name string) {
		if _, err := credential(name); name != "" && err != nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, p := range called.Calls.Contacts {
		for _, c := range p.Channels {
			need(c.URLFile)
			need(c.Secret)
		}
	}
	if m := called.Calls.Mail; m != nil {
		need(m.Password)
	}
	return names
}
