package brain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/channel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/outbox"
)

const (
	// triedWithin is how long all channels of somebody may take together, and the disk.
	triedWithin = channel.Within + 2*appendWithin
	// triedEach is how often somebody's channels may be tried: a text message costs money.
	triedEach = time.Minute
)

var (
	errNoContact  = errors.New("say whom to tell")
	errNoChannels = errors.New("there is no such channel")
	errTriedNow   = errors.New("these channels were tried less than a minute ago")
)

// trials keeps who was sent a test when.
type trials struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// may notes a trial, unless there was one just now.
func (t *trials) may(what string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, was := t.last[what]; was && now.Sub(last) < triedEach {
		return false
	}
	if t.last == nil {
		t.last = map[string]time.Time{}
	}
	t.last[what] = now
	return true
}

// triedChannel is what became of a test by one channel.
type triedChannel struct {
	Channel   string `json:"channel"`
	By        string `json:"by"` // such as ntfy at ntfy.example.org
	Delivered bool   `json:"delivered"`
	Outcome   string `json:"outcome"`
}

type triedAnswer struct {
	Contact  string         `json:"contact"`
	Channels []triedChannel `json:"channels"`
}

// tryRoutes are how somebody sees that notices arrive.
func (b *Brain) tryRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/test/notice", b.answersWithin(triedWithin, b.tryChannels("notice", func(string) bool { return true }), "contact"))
	mux.HandleFunc("POST /api/v1/test/sms", b.answersWithin(triedWithin, b.tryChannels("sms", func(name string) bool { return name == "sms" || strings.HasPrefix(name, "sms#") }), "contact"))
}

// tryChannels sends a notice by the channels of a contact that are wanted, past the outbox and whatever the routes say, and
// waits for what becomes of it.
func (b *Brain) tryChannels(what string, wanted func(name string) bool) func(ctx context.Context, r *http.Request) (any, error) {
	return func(ctx context.Context, r *http.Request) (any, error) {
		set, name := b.set.Load(), r.URL.Query().Get("contact")
		var known []string
		for _, p := range set.cfg.Contacts {
			known = append(known, p.Name)
		}
		if name == "" {
			return nil, &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: errNoContact, Hint: "?contact=NAME; " + hint("", known)}
		}
		if !slices.Contains(known, name) {
			return nil, &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("there is no contact %.80q", name), Hint: hint(name, known)}
		}
		var keys []outbox.Key
		for key := range set.senders {
			if key.Contact == name && wanted(key.Channel) {
				keys = append(keys, key)
			}
		}
		if len(keys) == 0 {
			return nil, &courier.Fault{Status: http.StatusConflict, Reason: "no-channel", Err: errNoChannels, Hint: howToAdd(what, name)}
		}
		if !b.trials.may(what+" "+name, b.clock.Now()) {
			return nil, &courier.Fault{Status: http.StatusTooManyRequests, Reason: "limit", Err: errTriedNow}
		}
		slices.SortFunc(keys, func(x, y outbox.Key) int { return cmp.Compare(x.Channel, y.Channel) })
		answer := triedAnswer{Contact: name, Channels: make([]triedChannel, len(keys))}
		var all sync.WaitGroup
		for i, key := range keys {
			all.Go(func() { answer.Channels[i] = b.tryChannel(ctx, key, set.senders[key]) })
		}
		all.Wait()
		for _, c := range answer.Channels {
			in := sentinel.Tried{ChannelTried: sentinel.ChannelTried{Contact: name, Channel: c.Channel, By: operator, Delivered: c.Delivered, Outcome: c.Outcome}}
			if err := b.submit(ctx, in); err != nil {
				return nil, err
			}
		}
		return answer, nil
	}
}

// howToAdd is what to write so that there is such a channel.
func howToAdd(what, name string) string {
	if what == "sms" {
		return "write {sms: true} for " + name + " under contacts[].notices: in cloud.yaml"
	}
	return "name ways to tell " + name + " under contacts[].notices: in cloud.yaml"
}

func (b *Brain) tryChannel(ctx context.Context, key outbox.Key, by channel.Sender) triedChannel {
	at := b.clock.Shown(b.clock.Now())
	shown := at.In(b.zone("")).Format(clockTime)
	err := by.Send(ctx, channel.Message{ID: "test-" + at.UTC().Format("20060102T150405.000Z"), Kind: sentinel.KindNotice, Severity: "info", At: at,
		Subject: "Test of your home sentinel",
		Text:    fmt.Sprintf("This is a test of %s to %s, sent by %s at %s. Nothing has happened.", key.Channel, key.Contact, operator, shown)})
	tried := triedChannel{Channel: key.Channel, By: by.About(), Delivered: err == nil, Outcome: "delivered"}
	if err != nil {
		tried.Outcome = err.Error()
	}
	b.metrics.notices.WithLabelValues(key.Channel, map[bool]string{true: "delivered", false: "not delivered"}[err == nil]).Inc()
	return tried
}
