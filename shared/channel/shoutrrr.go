package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/nicholas-fedor/shoutrrr/pkg/format"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// servicesAt is where the services and their addresses are explained.
const servicesAt = "https://shoutrrr.nickfedor.com/services/overview"

// URL is a channel by an address as shoutrrr writes them.
type URL struct {
	name   string // the service's
	raw    string
	hidden secrets
	titled bool // it has a place for a title, and shows it
	next   http.RoundTripper

	wg   sync.WaitGroup
	mu   sync.Mutex
	busy bool // a try is under way, perhaps one that did not end with its context
}

// Service is what an address is for, such as ntfy. An error repeats nothing of the address but that.
func Service(address string) (string, error) {
	scheme, _, found := strings.Cut(address, ":")
	if !found {
		return "", errors.New("is no address of a service; write one such as ntfy://ntfy.example.org/home; " + servicesAt + " lists them")
	}
	name, _, _ := strings.Cut(strings.ToLower(scheme), "+")
	switch _, err := (&router.ServiceRouter{}).NewService(name); {
	case name == "logger":
		return "", errors.New("logger only writes into a log; name a service that reaches somebody")
	case err != nil:
		return "", errors.New("begins with no service that is known; write an address such as ntfy://ntfy.example.org/home; " + servicesAt + " lists the services")
	}
	return name, nil
}

// NewURL makes a sender. Transport is nil but in tests. An error repeats nothing of the address but the service's name.
func NewURL(address string, transport http.RoundTripper) (*URL, error) {
	name, err := Service(address)
	if err != nil {
		return nil, err
	}
	s := &URL{name: name, raw: address, hidden: secretsOf(address), next: cmpTransport(transport)}
	offline := &try{ctx: context.Background(), next: nowhere{}}
	service, err := s.service(offline)
	if err == nil && !offline.asked && name != "mqtt" && name != "mqtts" { // some look at their address only when they send
		err = s.hand(offline, Message{Subject: "a try", Text: "that reaches nobody"})
	}
	if err != nil && !offline.asked {
		return nil, fmt.Errorf("is no address of %s%s; %s says how it is written", name, s.hidden.reason([]byte(innermost(err).Error()), name), servicesAt)
	}
	s.titled = name != "ifttt" && slices.Contains(format.GetConfigQueryResolver(format.GetServiceConfig(service)).QueryFields(), "title")
	return s, nil
}

// nowhere is the network of whom is only looked at.
type nowhere struct{}

// RoundTrip implements http.RoundTripper.
func (nowhere) RoundTrip(*http.Request) (*http.Response, error) { return nil, errEnough }

func cmpTransport(t http.RoundTripper) http.RoundTripper {
	if t == nil {
		return transport()
	}
	return t
}

func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// service makes the service anew, so that all it asks goes by one try's context.
func (s *URL) service(t *try) (types.Service, error) {
	u, err := url.Parse(s.raw)
	if err != nil {
		return nil, errors.New("it cannot be read")
	}
	service, err := (&router.ServiceRouter{}).NewService(s.name)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(u.Scheme, s.name) && u.Scheme != "mqtts" {
		custom, ok := service.(types.CustomURLService)
		if !ok {
			return nil, errors.New("it has no + in its name")
		}
		if u, err = custom.GetServiceURLFromCustom(u); err != nil {
			return nil, err
		}
	}
	setter, settable := service.(types.HTTPClientSetter)
	if settable {
		setter.SetHTTPClient(t.client()) // some ask the network while they begin
	}
	if err := service.Initialize(u, log.New(io.Discard, "", 0)); err != nil {
		return service, err
	}
	if settable {
		setter.SetHTTPClient(t.client())
	}
	return service, nil
}

// About implements Sender.
func (s *URL) About() string { return s.name }

// Wait waits for a try that went on past its context to end.
func (s *URL) Wait() { s.wg.Wait() }

// Send implements Sender. What the library does has no context of its own: its requests get ours, and where it talks by
// other means than HTTP it may go on for a while; until then nothing else is begun.
func (s *URL) Send(ctx context.Context, m Message) error {
	s.mu.Lock()
	if s.busy {
		s.mu.Unlock()
		return temporary("%s still hangs since the try before", s.name)
	}
	s.busy = true
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	t := &try{ctx: ctx, next: s.next}
	done := make(chan error, 1)
	s.wg.Go(func() {
		err := s.hand(t, m)
		s.mu.Lock()
		s.busy = false
		s.mu.Unlock()
		done <- err
	})
	select {
	case err := <-done:
		if !t.asked && err == nil { // by other means
			return nil
		}
		if s.name == "mqtt" {
			return temporary("mqtt did not take it%s", s.hidden.reason([]byte(innermost(err).Error()), ""))
		}
		return t.became(s.name, s.hidden, err)
	case <-ctx.Done():
	}
	select {
	case err := <-done: // it ended with its context, and may say more
		return t.became(s.name, s.hidden, err)
	default:
		return unanswered(ctx, s.name, ctx.Err())
	}
}

func (s *URL) hand(t *try, m Message) error {
	service, err := s.service(t)
	if err != nil {
		return err
	}
	subject, text, params := line(m.Subject), m.Text, types.Params{}
	if s.titled {
		params.SetTitle(subject)
	} else if subject != "" {
		text = subject + "\n" + text
	}
	return service.Send(text, &params)
}
