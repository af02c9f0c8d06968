package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// NoCalls is what a Pi names that has no list yet.
const NoCalls = "none"

// MaxContacts is how many people a Calls list names at most.
const MaxContacts = 16

// Calls is whom a Pi calls when no brain answers, and by which account (rule G3). Secrets are
// not in it; it names the credential that the Pi must have. It is beside the bundle, and only
// for a Pi that names the one that it has: one that knows of none would refuse the bundle.
type Calls struct {
	Contacts []Contact `json:"contacts,omitempty"`
	Zone     string    `json:"zone,omitempty"` // the site's time zone; empty: the Pi's own
	Twilio   *Twilio   `json:"twilio,omitempty"`
}

// Contact is somebody to call, the first one first.
type Contact struct {
	Name  string `json:"name"`
	Phone string `json:"phone"` // E.164
}

// Twilio is the account that places calls.
type Twilio struct {
	AccountSID string `json:"account_sid"`
	KeySID     string `json:"key_sid"`
	Secret     string `json:"secret"` // the credential's name
	From       string `json:"from"`
	APIURL     string `json:"api_url,omitempty"`
	Voice      string `json:"voice,omitempty"`
	Language   string `json:"language,omitempty"`
}

// Hash names the list's contents.
func (c Calls) Hash() (string, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("hash the calls: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

// validate refuses a list that no brain makes.
func (c *Calls) validate() error {
	if c == nil {
		return nil
	}
	if len(c.Contacts) > MaxContacts {
		return errors.New("calls: too many contacts")
	}
	return nil
}
