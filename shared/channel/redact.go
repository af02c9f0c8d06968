package channel

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// longestReason is how much of an answer is told, in bytes.
const longestReason = 120

// secrets are the words of an address that must not be shown, in small letters.
type secrets []string

// secretsOf takes every word of an address but its scheme. Which of them is a secret differs from service to
// service: with some the host is.
func secretsOf(address string) secrets {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest = address
	}
	rest = strings.TrimPrefix(rest, "//")
	texts := []string{rest}
	if plain, err := url.PathUnescape(rest); err == nil {
		texts = append(texts, plain)
	}
	if plain, err := url.QueryUnescape(rest); err == nil {
		texts = append(texts, plain)
	}
	if u, err := url.Parse(address); err == nil && u.User != nil {
		password, _ := u.User.Password()
		texts = append(texts, basics(u.User.Username(), password)...)
	}
	return secretWords(texts...)
}

// basics are a name and its password as they go over the wire.
func basics(user, password string) []string {
	var out []string
	for _, text := range []string{user, password, user + ":" + password, "\x00" + user + "\x00" + password} {
		out = append(out, base64.StdEncoding.EncodeToString([]byte(text)), base64.URLEncoding.EncodeToString([]byte(text)))
	}
	return out
}

func secretWords(texts ...string) secrets {
	var out secrets
	for _, text := range texts {
		out = append(out, words(text)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// shortWord is up to where a secret is looked for as a word, and not as a part of one: every text has an a in it.
const shortWord = 3

// shown reports whether a text holds none of the secrets. The host that was talked to may be shown.
func (s secrets) shown(text, host string) bool {
	lower, has, open := strings.ToLower(text), words(text), words(host)
	return !slices.ContainsFunc(s, func(word string) bool {
		if slices.Contains(open, word) {
			return false
		}
		if len(word) <= shortWord {
			return slices.Contains(has, word)
		}
		return strings.Contains(lower, word)
	})
}

// reason is what an answer says of itself, in brackets behind a space; empty if it says nothing that may be shown.
func (s secrets) reason(body []byte, host string) string {
	text := strings.TrimSpace(spoken(body))
	if len(text) > longestReason || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	if text == "" || strings.ContainsAny(text, "<>{}") || !s.shown(text, host) {
		return ""
	}
	return " (" + text + ")"
}

// spoken finds the words in an answer.
func spoken(body []byte) string {
	var answer map[string]any
	if json.Unmarshal(body, &answer) != nil {
		return string(body)
	}
	for _, key := range []string{"errorDescription", "description", "error", "message", "msg", "errors", "reason"} {
		switch v := answer[key].(type) {
		case string:
			return v
		case []any:
			if len(v) > 0 {
				if text, ok := v[0].(string); ok {
					return text
				}
			}
		}
	}
	return ""
}

// network is an error of the network without the address of the request, which url.Error repeats.
func network(err error) string {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return line(err.Error())
}
