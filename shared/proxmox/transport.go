package proxmox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxAnswer bounds an answer, unpacked. A list of 1,000 guests is about 600 kB.
const maxAnswer = 4 << 20

// strict is the RoundTripper that lets only what the API calls a success
// through: 2xx, JSON, an object with "data", of bounded size.
type strict struct{ next http.RoundTripper }

func (t strict) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_, secret, _ := strings.Cut(req.Header.Get("Authorization"), "!")
	_, secret, _ = strings.Cut(secret, "=")
	if err != nil && resp.StatusCode < 300 { // else the status says more than a body that broke off
		return nil, &brokenYes{err}
	}
	if fail := checkAnswer(resp, body, secret); fail != nil {
		return nil, fail
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// brokenYes is a success whose answer broke off.
type brokenYes struct{ err error }

func (b *brokenYes) Error() string { return "the answer broke off: " + b.err.Error() }

func (b *brokenYes) Unwrap() error { return b.err }

// BeganYes tells who sent a command that it was taken.
func (b *brokenYes) BeganYes() bool { return true }

// checkAnswer returns an *Error for what is no success. It returns a plain
// error type so that nil is nil.
func checkAnswer(resp *http.Response, body []byte, secret string) error {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		_, reason, _ := strings.Cut(resp.Status, " ")
		return newError(resp.StatusCode, reason, body, secret)
	}
	odd := func(what string) error { return newError(resp.StatusCode, what, body, secret) }
	if len(body) > maxAnswer {
		return odd(fmt.Sprintf("with more than %d bytes", maxAnswer))
	}
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), "application/json") {
		return odd(fmt.Sprintf("with %q instead of JSON", mediaType))
	}
	var envelope map[string]json.RawMessage
	if json.Unmarshal(body, &envelope) != nil {
		return odd("with malformed JSON")
	}
	if _, ok := envelope["data"]; !ok {
		return odd("without data")
	}
	return nil
}

// newTransport opens few connections (Proxmox has three workers a node) and
// forgets idle ones soon, since nodes come and go.
func newTransport(dial dialFunc, verify *tls.Config, timeout time.Duration) *http.Transport {
	// A dial outlives the request that wanted it, and is one of the few until it ends.
	within := func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            within,
		TLSClientConfig:        verify,
		TLSHandshakeTimeout:    timeout,
		MaxConnsPerHost:        4,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        15 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// tlsConfig verifies the peer: by its leaf's fingerprint if one is pinned, else
// by roots (nil: the system's).
func tlsConfig(pin []byte, roots *x509.CertPool) *tls.Config {
	if pin == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Only the chain's check is replaced: a pinned leaf needs no issuer, and
		// an expired one must not keep a house from being shut down.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("no certificate was shown")
			}
			got := sha256.Sum256(state.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(got[:], pin) != 1 {
				return &PinError{Got: formatFingerprint(got[:]), Want: formatFingerprint(pin)}
			}
			return nil
		},
	}
}
