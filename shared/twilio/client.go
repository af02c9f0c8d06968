package twilio

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const (
	defaultBaseURL = "https://api.twilio.com"
	defaultTimeout = 10 * time.Second
)

var (
	accountForm = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	keyForm     = regexp.MustCompile(`^SK[0-9a-fA-F]{32}$`)
	callForm    = regexp.MustCompile(`^CA[0-9a-fA-F]{32}$`)
	// twilio-go refuses other characters; a short secret would make redaction absurd.
	secretForm = regexp.MustCompile(`^[a-zA-Z0-9]{8,}$`)
	e164Form   = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
)

// Config names the account and the number that calls.
type Config struct {
	AccountSID   string // "AC" and 32 hexadecimal digits
	APIKeySID    string // "SK" and 32 hexadecimal digits
	APIKeySecret string // letters and digits; never logged, never part of an error
	From         string // a number of the account, E.164 ("+15005550006")

	BaseURL   string            // scheme and host; https://api.twilio.com if empty
	Transport http.RoundTripper // a transport without idle connections if nil
	Timeout   time.Duration     // of one request with its answer; 10 s if zero
}

// Client talks to one Twilio account. It is safe for concurrent use.
type Client struct {
	account, key, secret, from string

	base      *url.URL
	transport http.RoundTripper
	timeout   time.Duration
	redact    *strings.Replacer
}

// New checks the form of the configuration; it does not reach for the network.
func New(cfg Config) (*Client, error) {
	switch {
	case !accountForm.MatchString(cfg.AccountSID):
		return nil, errors.New("twilio: account SID must be AC and 32 hexadecimal digits")
	case !keyForm.MatchString(cfg.APIKeySID):
		return nil, errors.New("twilio: API key SID must be SK and 32 hexadecimal digits")
	case !secretForm.MatchString(cfg.APIKeySecret):
		return nil, errors.New("twilio: API key secret must be at least 8 letters and digits, without spaces or line ends")
	case !e164Form.MatchString(cfg.From):
		return nil, fmt.Errorf("twilio: from number %q must be + and country code, digits only", cfg.From)
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("twilio: timeout %v is negative", cfg.Timeout)
	}
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	c := &Client{
		account: cfg.AccountSID, key: cfg.APIKeySID, secret: cfg.APIKeySecret, from: cfg.From,
		base: base, transport: cfg.Transport, timeout: cfg.Timeout,
	}
	if c.transport == nil {
		c.transport = defaultTransport()
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	basic := base64.StdEncoding.EncodeToString([]byte(c.key + ":" + c.secret))
	c.redact = strings.NewReplacer(basic, "[redacted]", c.secret, "[redacted]")
	return c, nil
}

func parseBase(raw string) (*url.URL, error) {
	if raw == "" {
		raw = defaultBaseURL
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		// The text itself may hold a password, so it is not repeated.
		return nil, errors.New("twilio: base URL must be scheme and host only, such as https://api.twilio.com")
	}
	return u, nil
}

// defaultTransport keeps no idle connections: a POST on one that the server has
// just closed ends in EOF, and then nobody knows whether it rings. Calls are rare.
func defaultTransport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.DisableKeepAlives = true
	return t
}

// do runs one request of twilio-go under ctx and the client's deadline, and says what
// time it was at Twilio's. Its error, if any, is an *Error.
func (c *Client) do(ctx context.Context, request func(*api.ApiService) error) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	per := &perCall{ctx: ctx, base: c.base, next: c.transport}
	rest := &client.Client{
		Credentials: client.NewCredentials(c.key, c.secret),
		HTTPClient: &http.Client{
			Transport: per,
			// Twilio's API never redirects; whoever does gets no credentials.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	rest.SetAccountSid(c.account)
	err := request(api.NewApiServiceWithClient(rest))
	return per.date, c.classify(per, err)
}
