package brain

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/routing"
)

// Person is somebody who is told.
type Person struct {
	Name       string    `yaml:"name"`
	Phone      string    `yaml:"phone"`    // empty: who is not called
	Language   string    `yaml:"language"` // empty: that of twilio:
	Calls      Rings     `yaml:"calls"`
	QuietHours Hours     `yaml:"quiet_hours"`
	Notices    []Channel `yaml:"notices"`
}

// Rings is what a phone rings for; what is empty leaves nothing out.
type Rings struct {
	Kinds []string `yaml:"kinds"`
	Sites []string `yaml:"sites"`
}

// Channel is a way to tell somebody beside calling: one of the first five, and what it is for.
type Channel struct {
	URL     config.Private `yaml:"url"`
	URLFile config.Secret  `yaml:"url_file"`
	Email   string         `yaml:"email"`
	SMS     bool           `yaml:"sms"`
	Webhook config.Private `yaml:"webhook"`
	Secret  config.Secret  `yaml:"secret_file"` // of the webhook

	Kinds  []string        `yaml:"kinds"`
	Least  string          `yaml:"least"`
	Sites  []string        `yaml:"sites"`
	On     string          `yaml:"on"`
	Repeat config.Duration `yaml:"repeat"`

	bare bool // an address alone
}

// UnmarshalYAML takes an address, or a map of what it is and is for.
func (c *Channel) UnmarshalYAML(decode func(any) error) error {
	type plain Channel
	err := decode((*plain)(c))
	var wrong *config.Error
	if errors.As(err, &wrong) && strings.HasPrefix(wrong.Msg, "must be a map") {
		c.bare = true
		return decode(&c.URL)
	}
	return err
}

// Email is how mail leaves the brain: through a server, or a program of its machine.
type Email struct {
	Host     string        `yaml:"host"`
	Port     uint16        `yaml:"port"`
	TLS      string        `yaml:"tls"`
	User     string        `yaml:"user"`
	Password config.Secret `yaml:"password_file"`
	From     string        `yaml:"from"`
	Sendmail string        `yaml:"sendmail"`
}

// Notices is how often a channel is told something at most, and when all are told how it was.
type Notices struct {
	PerHour int     `yaml:"per_hour"`
	Digest  Regular `yaml:"digest"`
}

// Hours are a part of each day, such as 22:00-07:00.
type Hours struct{ routing.Quiet }

const clockTime = "15:04"

// UnmarshalText reads from and to.
func (h *Hours) UnmarshalText(text []byte) error {
	from, to, found := strings.Cut(string(text), "-")
	read := func(text string) (time.Duration, error) {
		at, err := time.Parse(clockTime, text)
		return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, err
	}
	begin, noBegin := read(from)
	end, noEnd := read(to)
	if !found || noBegin != nil || noEnd != nil || len(from) != len(clockTime) || len(to) != len(clockTime) || begin == end {
		return fmt.Errorf("%.40q are no hours of a day; write them such as 22:00-07:00", text)
	}
	h.From, h.To = begin, end
	return nil
}

// IsZero reports whether there are none.
func (h Hours) IsZero() bool { return h.From == h.To }

// String is how they are written.
func (h Hours) String() string {
	if h.IsZero() {
		return ""
	}
	at := func(d time.Duration) string { return time.Time{}.Add(d).Format(clockTime) }
	return at(h.From) + "-" + at(h.To)
}

// MarshalText is the inverse of UnmarshalText.
func (h Hours) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// route is what the core goes by. What is wrong was refused when the file was read.
func (c *Channel) route() routing.Route {
	r := routing.Route{Kinds: c.Kinds, Sites: c.Sites, Repeat: c.Repeat.Std()}
	if least, err := routing.ParseSeverity(c.Least); err == nil {
		r.Least = least
	}
	if on, err := routing.ParseOn(c.On); err == nil {
		r.On = on
	}
	return r
}

// callable are those with a phone.
func (c *Config) callable() []Person {
	var out []Person
	for _, p := range c.Contacts {
		if p.Phone != "" {
			out = append(out, p)
		}
	}
	return out
}

// ringKinds are the kinds of incidents, which a phone may ring for.
func ringKinds() []string {
	var kinds []string
	for _, k := range []sentinel.IncidentKind{sentinel.PowerOutage, sentinel.NodeFailure, sentinel.InternetOutage, sentinel.Unwatched, sentinel.TailnetDown} {
		kinds = append(kinds, string(k))
	}
	return kinds
}
