package channel

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Way is a channel as it is configured: one of URL, Email, SMS and Webhook.
type Way struct {
	URL     string // as shoutrrr writes it
	Email   string
	SMS     string // a number, E.164
	Webhook string
	Secret  string // of the webhook
}

// Means is what ways are gone by. The zero value does for checking them.
type Means struct {
	Post      Post              // how mail leaves
	Transport http.RoundTripper // to webhooks and services; nil: a way of their own
	// Text sends a text message, and TextFailure says in words that may be shown what an error of it means.
	Text        func(ctx context.Context, to, body string) error
	TextFailure func(err error) (why string, permanent bool)
	Now         func() time.Time // the wall clock
}

// Sender makes the sender of a way. Its errors say what is wrong with it, and hold no secret.
func (m Means) Sender(w Way) (Sender, error) {
	switch {
	case w.Email != "":
		return NewMail(m.Post, w.Email), nil
	case w.SMS != "":
		return NewSMS(w.SMS, m.Text, m.TextFailure), nil
	case w.Webhook != "":
		return NewWebhook(w.Webhook, w.Secret, m.Transport, m.Now)
	}
	service, err := Service(w.URL)
	switch {
	case err != nil:
		return nil, err
	case service == "smtp": // mail has a sender of its own
		return NewSMTP(w.URL, Post{Dial: m.Post.Dial})
	}
	return NewURL(w.URL, m.Transport)
}

// Unusable is a channel that lacks something, such as its secret. It may come: each try fails by why, and another may not.
func Unusable(why error) Sender { return unusable{why} }

type unusable struct{ why error }

// Send implements Sender.
func (u unusable) Send(context.Context, Message) error { return temporary("%s", u.why) }

// About implements Sender.
func (u unusable) About() string { return "a channel that cannot be used" }

// Name is what the way is called: the service of its address, email, sms or webhook.
func (w Way) Name() string {
	switch {
	case w.Email != "":
		return "email"
	case w.SMS != "":
		return "sms"
	case w.Webhook != "":
		return "webhook"
	}
	name, err := Service(w.URL)
	if err != nil {
		return "unknown" // which is refused
	}
	return name
}

// Names gives the ways of one contact names, which stay the same as long as the contact has the same ways in
// the same order.
type Names map[string]int

// Of is the next way's: ntfy, then ntfy#2.
func (n Names) Of(w Way) string {
	name := w.Name()
	if n[name]++; n[name] > 1 {
		return fmt.Sprintf("%s#%d", name, n[name])
	}
	return name
}
