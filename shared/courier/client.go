package courier

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"sentinel.home.arpa/shared/wire"
)

// The routes of programs.
const (
	PathHeartbeat = "/v1/heartbeat"
	PathUPS       = "/v1/ups"
	PathAnnounce  = "/v1/announce"
	PathRelay     = "/v1/relay"
	PathRecord    = "/v1/record"
	PathPi        = "/v1/pi" // from Pi to Pi, on the LAN
)

// maxAnswer bounds what is read of an answer: an envelope, which may hold a bundle.
const maxAnswer = wire.MaxEnvelope

// maxWords bounds what is told of an answer, in bytes.
const maxWords = 300

// Receiver is a brain or Pi.
type Receiver struct {
	Name string
	URL  string // http://host:port
	// Key signs its answers. Empty: whoever dials vouches for the receiver, as a
	// tailnet does.
	Key wire.PublicKey
}

// Client posts envelopes and keeps its connections alive.
type Client struct {
	http *http.Client
	mu   sync.Mutex
	told map[Receiver]told
}

// NewClient makes a client on a dialer; nil is the machine's own network.
func NewClient(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 3 * time.Second}).DialContext
	}
	return &Client{http: &http.Client{
		Transport: &http.Transport{
			DialContext:            dial,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Refusal is a receiver's own no, a status of 400 to 499 but 408 and 429: it understood, and
// asking again the same way is vain. Its texts are printable and 300 bytes each at most.
type Refusal struct {
	Status int
	Reason string
	Hint   string
}

func (r *Refusal) Error() string {
	if r.Hint == "" {
		return fmt.Sprintf("refused with %d: %s", r.Status, r.Reason)
	}
	return fmt.Sprintf("refused with %d: %s; %s", r.Status, r.Reason, r.Hint)
}

// Post sends an envelope, of which h is the header, and returns the verified answer.
// The context must carry a deadline. A *Refusal is the receiver's no; any other error
// leaves open whether it took the message, and posting it again does no harm.
func (c *Client) Post(ctx context.Context, to Receiver, path string, h wire.Header, envelope []byte) (*wire.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL+path, bytes.NewReader(envelope))
	if err != nil {
		return nil, fmt.Errorf("post to %s: %w", to.Name, err)
	}
	req.Header.Set("Content-Type", "application/json")
	// Lets net/http repeat the request by itself when a kept connection turns out dead.
	req.Header.Set("Idempotency-Key", h.Boot+"-"+strconv.FormatInt(h.Seq, 10))
	if to.Key == "" {
		req.Header.Set("Accept", string(wire.KindAnswer)) // see TakesBare
	}
	last, before := c.takeTold(to, path)
	if before {
		req.Header.Set(headerTold, last.name)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("post to %s: %w", to.Name, bounded{err})
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("post to %s: read the answer: %w", to.Name, err)
	}
	var a *wire.Answer
	switch {
	case before && resp.StatusCode == http.StatusNoContent:
		a, err = last.holds(resp.Header, h)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("post to %s: %w", to.Name, refusal(resp.StatusCode, body))
	default:
		a, err = readAnswer(body, resp.Header.Get("Content-Type"), to, h)
		last.name = resp.Header.Get(headerTold)
	}
	if err != nil {
		return nil, fmt.Errorf("post to %s: answer: %w", to.Name, bounded{err})
	}
	c.keepTold(to, path, last.name, a)
	if order := resp.Header.Get(headerOrder); order != "" {
		a.Order = []byte(order)
	}
	return a, nil
}

// refusal reads an answer that is no 200. A redirect or an empty answer is of a portal or
// proxy in between: that says nothing of the receiver, so it is no Refusal.
func refusal(status int, body []byte) error {
	if status < 400 || status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout {
		return fmt.Errorf("it answered %d", status)
	}
	var e ErrorBody
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		e.Error = http.StatusText(status)
	}
	return &Refusal{Status: status, Reason: plain(e.Error), Hint: plain(e.Hint)}
}

// bounded is an error that may quote what came back.
type bounded struct{ error }

func (b bounded) Error() string { return plain(b.error.Error()) }
func (b bounded) Unwrap() error { return b.error }

// plain is what may be logged of a text that nobody has signed.
func plain(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxWords)], "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func readAnswer(body []byte, contentType string, to Receiver, h wire.Header) (*wire.Answer, error) {
	var a wire.Answer
	var err error
	if to.Key == "" && contentType == string(wire.KindAnswer) {
		err = wire.DecodeAnswer(body, &a)
	} else {
		err = openAnswer(body, to, &a)
	}
	if err != nil {
		return nil, err
	}
	if !a.Answers(h) {
		return nil, errors.New("it answers another request")
	}
	return &a, nil
}

// openAnswer verifies and reads an answer that came in an envelope.
func openAnswer(body []byte, to Receiver, into *wire.Answer) error {
	e, err := wire.Read(body)
	if err != nil {
		return err
	}
	if err := e.Verify(cmp.Or(to.Key, e.Signer)); err != nil {
		return err
	}
	return e.Decode(wire.KindAnswer, into)
}
