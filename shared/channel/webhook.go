package channel

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// SignatureHeader says when a request was signed, and its signature: "t=1767225600, v1=9f86d0...".
const SignatureHeader = "Sentinel-Signature"

// Body is what a webhook gets. Fields are added and never change their meaning.
type Body struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Severity string    `json:"severity"`
	Site     string    `json:"site"`
	Incident string    `json:"incident"`
	Over     bool      `json:"over"`
	Subject  string    `json:"subject"`
	Text     string    `json:"text"`
	At       time.Time `json:"at"`
}

// Webhook is a program that somebody runs.
type Webhook struct {
	url    string
	host   string
	secret []byte
	hidden secrets
	next   http.RoundTripper
	now    func() time.Time
}

// ValidWebhook is for who checks an address. The error does not repeat it.
func ValidWebhook(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errors.New("is no address of a webhook; write it such as https://hooks.example.org/sentinel")
	}
	return nil
}

// NewWebhook makes a sender. Transport is nil but in tests; now is the wall clock.
func NewWebhook(address, secret string, transport http.RoundTripper, now func() time.Time) (*Webhook, error) {
	if err := ValidWebhook(address); err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("is no address of a webhook")
	}
	return &Webhook{url: address, host: u.Host, secret: []byte(secret), hidden: append(secretsOf(address), secretWords(secret)...),
		next: cmpTransport(transport), now: now}, nil
}

// About implements Sender.
func (s *Webhook) About() string { return service("webhook", s.host) }

// Send implements Sender.
func (s *Webhook) Send(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	body, err := json.Marshal(Body(m))
	if err != nil {
		return permanent("the notice could not be written for %s", s.About())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return permanent("%s has an address that cannot be asked", s.About())
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "sentinel")
	r.Header.Set(SignatureHeader, Sign(s.secret, s.now(), body))
	t := &try{ctx: ctx, next: s.next}
	res, err := t.client().Do(r)
	if err == nil {
		res.Body.Close()
	}
	return t.became("webhook", s.hidden, err)
}

// Sign is the header's value for a body that is sent at a time.
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return fmt.Sprintf("t=%s, v1=%s", t, hex.EncodeToString(mac.Sum(nil)))
}
