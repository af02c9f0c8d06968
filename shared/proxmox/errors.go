package proxmox

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Limits of what an error keeps of an answer, in bytes.
const (
	maxErrorBody   = 512
	maxErrorReason = 256
)

// ErrTargetClosed is for Options.Dial to wrap: the way to the node is in order,
// and there the node itself refused the connection or was silent.
var ErrTargetClosed = errors.New("the node refused the connection or was silent")

// Error is an answer that is no success, or no answer of Proxmox's API at all.
type Error struct {
	Code   int               // the HTTP status; 200 if the answer was not what the API gives
	Reason string            // the reason phrase, where Proxmox puts the cause, or what is odd
	Body   string            // the begin of the body
	Fields map[string]string // of a 400: what is wrong with which parameter; nil if not told
}

// Error names status and cause, and parameters if any are wrong. Of a refused token it says
// first what is to be done.
func (e *Error) Error() string {
	said := fmt.Sprintf("the API answered %d %s", e.Code, e.Reason)
	switch priv, path := e.Missing(); {
	case e.Code == http.StatusUnauthorized:
		return "the token is not valid; check its id, its secret, and whether it or its user has expired (" + said + ")"
	case priv != "":
		return fmt.Sprintf("the token lacks %s on %s; give it to the token and to its user (%s)", priv, path, said)
	}
	var b strings.Builder
	b.WriteString(said)
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		fmt.Fprintf(&b, "; %s: %s", name, e.Fields[name])
	}
	return b.String()
}

// SaidNo reports whether Proxmox has turned the request down without doing anything of it.
func (e *Error) SaidNo() bool {
	return e.Code >= 400 && e.Code < 500 || e.Code == http.StatusNotImplemented
}

// permissionForm is how Proxmox names the privilege that a 403 is about.
var permissionForm = regexp.MustCompile(`^Permission check failed \((/[^\s,()]*), ([A-Za-z.|]+)\)$`)

// Missing is the privilege that a 403 is about, and the path on which the token lacks it;
// both are empty if the answer is another one, or does not tell.
func (e *Error) Missing() (privilege, path string) {
	if m := permissionForm.FindStringSubmatch(e.Reason); m != nil && e.Code == http.StatusForbidden {
		return m[2], m[1]
	}
	return "", ""
}

// PinError means that the node showed another certificate than the pinned one.
// No request was sent.
type PinError struct {
	Got, Want string // SHA-256, "5C:1E:..."
}

// Error gives both fingerprints, so that a renewed certificate can be checked.
func (e *PinError) Error() string {
	return fmt.Sprintf("the certificate's fingerprint is %s, pinned is %s", e.Got, e.Want)
}

// newError makes an Error of an answer; secret is blotted out wherever a server
// echoes it.
func newError(code int, reason string, body []byte, secret string) *Error {
	e := &Error{Code: code, Reason: clean(reason, maxErrorReason, secret), Body: clean(string(body), maxErrorBody, secret)}
	var told struct {
		Errors map[string]json.RawMessage `json:"errors"`
	}
	if code == http.StatusBadRequest && json.Unmarshal(body, &told) == nil && len(told.Errors) > 0 {
		e.Fields = map[string]string{}
		for name, raw := range told.Errors {
			if len(e.Fields) == 8 {
				break
			}
			var text string
			if json.Unmarshal(raw, &text) != nil {
				text = string(raw)
			}
			e.Fields[clean(name, 64, secret)] = clean(text, maxErrorReason, secret)
		}
	}
	return e
}

// clean makes outside text fit for an error: secret gone, one line, printable,
// bounded.
func clean(s string, limit int, secret string) string {
	if secret != "" {
		s = strings.ReplaceAll(s, secret, "[secret]")
	}
	s = s[:min(len(s), limit)]
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.TrimSpace(s)
}
