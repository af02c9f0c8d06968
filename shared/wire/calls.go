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

// MaxContacts is how many people a Calls list names at most, MaxChannels how many channels each.
const (
	MaxContacts = 16
	MaxChannels = 20
)

// Calls is whom a Pi calls and tells when no brain answers, and by which account (rule G3). Secrets are
// not in it; it names the credentials that the Pi must have. It is beside the bundle, and only
// for a Pi that names the one that it has: one that knows of none would refuse the bundle.
type Calls struct {
	Contacts []Contact `json:"contacts,omitempty"`
	Zone     string    `json:"zone,omitempty"` // the site's time zone; empty: the Pi's own
	Twilio   *Twilio   `json:"twilio,omitempty"`
	Mail     *Mail     `json:"mail,omitempty"`
}

// Contact is somebody to call, the first one first.
type Contact struct {
	Name  string `json:"name"`
	Phone string `json:"phone"` // E.164; empty: who is not called
	// How the contact is spoken to, if not as the account says.
	Language string `json:"language,omitempty"`
	Voice    string `json:"voice,omitempty"`
	// Channels are those beside the phone, only for a Pi that Tells.
	Channels []Channel `json:"channels,omitempty"`
}

// Channel is a way to tell a contact by notice: one of the first five.
type Channel struct {
	URL     string `json:"url,omitempty"`      // as shoutrrr writes it
	URLFile string `json:"url_file,omitempty"` // the credential that holds such
	Email   string `json:"email,omitempty"`
	SMS     bool   `json:"sms,omitempty"` // to the contact's phone
	Webhook string `json:"webhook,omitempty"`
	Secret  string `json:"secret,omitempty"` // of the webhook: the credential's name
	Turns   string `json:"turns,omitempty"`  // offline, online, or both
}

// Mail is how mail leaves: through a server alone, since nobody tells another machine which program to run.
type Mail struct {
	Host     string `json:"host,omitempty"`
	Port     uint16 `json:"port,omitempty"`
	TLS      string `json:"tls,omitempty"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"` // the credential's name
	From     string `json:"from"`
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
	for _, p := range c.Contacts {
		if len(p.Channels) > MaxChannels {
			return errors.New("calls: too many channels")
		}
	}
	return nil
}
