package brain

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/routing"
)

// digestWithin is how long the loop may be at something else before it tells how all was.
const digestWithin = 2 * appendWithin

var errBusy = errors.New("the brain is busy")

// shownDigest is what a digest would say now.
type shownDigest struct {
	At      time.Time `json:"at"`
	Since   time.Time `json:"since"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
}

// showDigest asks the loop, which alone knows: nothing is told, and nothing begins anew.
func (b *Brain) showDigest(w http.ResponseWriter, r *http.Request) {
	d, err := b.askDigest(r)
	if err != nil {
		var no *courier.Fault
		if !errors.As(err, &no) {
			no = &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errBusy, Hint: "try again in a moment"}
		}
		b.metrics.refused.WithLabelValues(courier.Fail(w, no)).Inc()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(d) // the reader may be gone
}

func (b *Brain) askDigest(r *http.Request) (shownDigest, error) {
	if _, err := parameters(r); err != nil {
		return shownDigest{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), digestWithin)
	defer cancel()
	answer := make(chan shownDigest, 1)
	select {
	case b.digests <- answer:
	case <-b.stopped:
		return shownDigest{}, errStopping
	case <-ctx.Done():
		return shownDigest{}, ctx.Err()
	}
	select {
	case d := <-answer:
		return d, nil
	case <-b.stopped:
		return shownDigest{}, errStopping
	case <-ctx.Done():
		return shownDigest{}, ctx.Err()
	}
}

// digest is the loop's answer.
func (b *Brain) digest(now time.Time) shownDigest {
	var sites []string
	for _, sc := range b.core().Sites {
		sites = append(sites, sc.Name)
	}
	subject, text := b.state.Digest(now, sites)
	return shownDigest{At: b.machine.wall(), Since: b.clock.Shown(b.state.Tally.From).In(b.zone(sites[0])), Subject: subject, Text: text}
}

// untoldDigest reports whether a digest is configured that no channel takes.
func (c *Config) untoldDigest() bool {
	takes := func(ch Channel) bool {
		return slices.ContainsFunc(c.Sites, func(s Site) bool {
			r := ch.route()
			return r.Wants(routing.Event{Kind: sentinel.KindDigest, Site: s.Name})
		})
	}
	return c.Notices.Digest != "" && !slices.ContainsFunc(c.Contacts, func(p Person) bool { return slices.ContainsFunc(p.Notices, takes) })
}
