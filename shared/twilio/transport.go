package twilio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// Answers are buffered whole, so that nothing of twilio-go reads from the
// network or leaves a body open. A page of 50 calls has about 100 kB.
const (
	maxAnswer = 1 << 20
	maxError  = 64 << 10
)

// perCall carries one request: it gives twilio-go a context and another host,
// and remembers what twilio-go forgets.
type perCall struct {
	ctx  context.Context // of this one request; twilio-go has no parameter for it
	base *url.URL
	next http.RoundTripper

	err        error // the transport's failure
	unsent     bool  // proved: no byte of the request left
	status     int   // 0 if no answer came
	retryAfter time.Duration
	date       time.Time // of the answer, by its server
}

// RoundTrip implements [http.RoundTripper].
func (p *perCall) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := p.ctx.Err(); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper owns the body, sent or not
		}
		p.err, p.unsent = err, true
		return nil, err
	}
	var asked, got atomic.Bool
	ctx := httptrace.WithClientTrace(p.ctx, &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	})
	out := req.Clone(ctx)
	out.URL.Scheme, out.URL.Host, out.Host = p.base.Scheme, p.base.Host, p.base.Host

	resp, err := p.next.RoundTrip(out)
	if err != nil {
		p.err = err
		p.unsent = asked.Load() && !got.Load() || neverConnected(err)
		return nil, err
	}
	original := resp.Body                   // resp gets another one below
	defer func() { _ = original.Close() }() // read to its end or given up: its error says nothing

	p.status = resp.StatusCode
	p.date = serverTime(resp.Header)
	p.retryAfter = retryAfter(resp.Header, p.date)
	limit := int64(maxAnswer)
	if resp.StatusCode >= http.StatusBadRequest {
		limit = maxError
	}
	body, err := io.ReadAll(io.LimitReader(original, limit)) // one cut off is no longer JSON
	if err != nil {
		p.err = err
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// neverConnected recognises a failed dial of a transport that does not report
// its connections (net/http's does).
func neverConnected(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// retryAfter reads the header's seconds or date (RFC 9110, 10.2.3); 0 if there
// is none. A date is measured from the server's own, as our clock may be off.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil {
		const day = 24 * 60 * 60
		return time.Duration(min(max(s, 0), day)) * time.Second
	}
	until, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(until.Sub(now), 0), 24*time.Hour)
}

// serverTime is when an answer was made, by the clock of its server; ours if it does not
// say.
func serverTime(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Now()
	}
	return t
}
