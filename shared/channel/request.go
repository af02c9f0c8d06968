package channel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
)

// mostAnswer is how much of an answer is read, in bytes.
const mostAnswer = 64 << 10

// errEnough ends what a service's library would go on with by itself: whether and when there is another try is
// not its business.
var errEnough = errors.New("the answer was a refusal")

// transport is one for all channels: no connection is kept, since notices are rare and one that the other side has just
// closed would look like a failure.
func transport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.DisableKeepAlives = true
	return t
}

// try carries the requests of one try, all within its context, and keeps what became of them.
type try struct {
	ctx  context.Context
	next http.RoundTripper

	asked  bool
	host   string // of the last request
	status int    // 0: there was no answer
	body   []byte
	err    error // of the network
}

// client is for a library that has no context. Redirects are not followed: a message with a secret in its address is for
// one host alone.
func (t *try) client() *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// RoundTrip implements http.RoundTripper. The answer is read here, while the context holds.
func (t *try) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.asked && (t.err != nil || t.status/100 != 2) {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errEnough
	}
	t.asked, t.host, t.status, t.body = true, r.URL.Host, 0, nil
	res, err := t.next.RoundTrip(r.WithContext(t.ctx))
	if err != nil {
		t.err = err
		return nil, errEnough // or it would be tried again here
	}
	defer res.Body.Close()
	t.status = res.StatusCode
	if t.body, err = io.ReadAll(io.LimitReader(res.Body, mostAnswer)); err != nil && t.status/100 != 2 {
		t.body = nil
	}
	if t.status/100 != 2 {
		return nil, errEnough
	}
	res.Body = io.NopCloser(bytes.NewReader(t.body))
	return res, nil
}

// became is the try's failure, or nil. failed is what the library says; its words are not told, since they hold
// addresses with tokens in them.
func (t *try) became(about string, hidden secrets, failed error) error {
	if t.host != "" {
		about = service(about, t.host)
	}
	switch {
	case failed == nil && t.err == nil && t.status/100 == 2:
		return nil
	case t.ctx.Err() != nil, t.err != nil:
		return unanswered(t.ctx, about, t.err)
	case !t.asked:
		return permanent("%s takes no such message", about)
	case t.status/100 == 2:
		return permanent("%s answered, but did not take it%s", about, hidden.reason(t.body, t.host))
	}
	return refused(about, t.status, hidden.reason(t.body, t.host))
}

// refused is an answer other than yes. Some of them are no last word.
func refused(about string, status int, reason string) error {
	words := http.StatusText(status)
	if words != "" {
		words = " " + words
	}
	again := status/100 != 4 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests
	if again {
		return temporary("%s answered %d%s%s", about, status, words, reason)
	}
	return permanent("%s answered %d%s%s", about, status, words, reason)
}

// service names a service with its host.
func service(name, host string) string { return name + " at " + host }
