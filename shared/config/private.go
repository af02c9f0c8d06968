package config

import (
	"errors"
	"log/slog"
)

// Private is text that may hold a secret, such as an address with a token in it. It may stand in the file, and
// nothing prints it: neither an error nor the log, nor what says which keys have changed.
type Private struct{ text string }

// NewPrivate is for programs without a configuration file.
func NewPrivate(text string) Private { return Private{text} }

// UnmarshalText takes the text.
func (p *Private) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("is empty; give it a value or remove the line")
	}
	p.text = string(text)
	return nil
}

// Reveal is the text, for who hands it on to what needs it.
func (p Private) Reveal() string { return p.text }

// IsZero reports whether there is none.
func (p Private) IsZero() bool { return p.text == "" }

// String says that there is one.
func (p Private) String() string {
	if p.text == "" {
		return "nothing"
	}
	return "what is not shown"
}

// GoString is String for %#v.
func (p Private) GoString() string { return p.String() }

// LogValue is String for slog.
func (p Private) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText is String for whatever writes texts.
func (p Private) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
