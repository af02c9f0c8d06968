package proxmox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// DefaultTimeout limits one request when Options.Timeout is zero. Proxmox holds
// back a 401 for 3 s, so it must be longer than that.
const DefaultTimeout = 5 * time.Second

var (
	nodeForm  = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?$`)
	tokenForm = regexp.MustCompile(`^[^\s:/@!=]+@[A-Za-z][A-Za-z0-9._-]+![A-Za-z][A-Za-z0-9._-]+$`)
	graphic   = regexp.MustCompile(`^[\x21-\x7e]+$`)
)

// Options say which node to talk to and how. Formatted with any verb, and
// logged, they do not show Secret; only in another struct's unexported field fmt
// cannot know that.
type Options struct {
	Node        string // the node's own name in Proxmox, "pve1"
	API         string // this node's own address, "https://192.168.1.11:8006"
	Fingerprint string // SHA-256 of the leaf certificate, "5C:1E:..."; empty: the system's CAs decide
	TokenID     string // "user@realm!name"
	Secret      string // the token's secret

	// Dial opens connections instead of the machine's own network, for instance through a
	// relay. Its errors say nothing about the node, unless they wrap
	// ErrTargetClosed: a relay that is gone is no evidence of a node being down.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	own *Dialer // the machine's own network; nil: one that remembers nothing of before

	Timeout time.Duration // for each request; DefaultTimeout if zero
}

// String shows the options without the secret.
func (o Options) String() string {
	return fmt.Sprintf("proxmox node %s at %s as %s", o.Node, o.API, o.TokenID)
}

// Format makes every verb print String, so that none prints the secret.
func (o Options) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, o.String()) }

// LogValue is String for log/slog.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText is String for encoders.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// check returns the base URL and the fingerprint, nil if none is given.
func (o Options) check() (base *url.URL, pin []byte, err error) {
	if !nodeForm.MatchString(o.Node) {
		return nil, nil, fmt.Errorf("node name %q is malformed", o.Node)
	}
	base, err = url.Parse(o.API)
	switch {
	case err != nil:
		return nil, nil, errors.New("api address is no URL, write https://host:8006")
	case base.User != nil:
		return nil, nil, errors.New("api address must not hold credentials")
	case base.Scheme != "https", base.Hostname() == "", base.RawQuery != "", base.Fragment != "",
		base.Path != "" && base.Path != "/":
		return nil, nil, fmt.Errorf("api address %q: write https://host:8006", o.API)
	case !tokenForm.MatchString(o.TokenID):
		return nil, nil, errors.New("token id is malformed, write user@realm!name")
	case !graphic.MatchString(o.Secret):
		return nil, nil, errors.New("token secret is empty or holds spaces, line ends or control characters")
	case o.Timeout < 0:
		return nil, nil, fmt.Errorf("timeout %s is negative", o.Timeout)
	}
	if o.Fingerprint != "" {
		if pin, err = parseFingerprint(o.Fingerprint); err != nil {
			return nil, nil, err
		}
	}
	return base, pin, nil
}

// parseFingerprint reads a SHA-256 in hex, with a colon between all bytes or none.
func parseFingerprint(s string) ([]byte, error) {
	digits := s
	if strings.Contains(s, ":") {
		for part := range strings.SplitSeq(s, ":") {
			if len(part) != 2 {
				return nil, fmt.Errorf("fingerprint %q: write 32 bytes in hex, as 5C:1E:FF", s)
			}
		}
		digits = strings.ReplaceAll(s, ":", "")
	}
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("fingerprint %q: write the SHA-256, 32 bytes in hex, as 5C:1E:FF", s)
	}
	return sum, nil
}

func formatFingerprint(sum []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}
