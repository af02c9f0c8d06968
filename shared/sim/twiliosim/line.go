package twiliosim

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Twilio's own errors of a call that is under way, as its debugger names them.
const (
	errRetrieval   = 11200 // nobody answered at the address, or with something else than 2xx
	errAddress     = 11100
	errTooLarge    = 11750
	errNotXML      = 12100
	errContentType = 12300
)

const (
	answersWithin = 15 * time.Second // an address, before Twilio gives up
	maxDocument   = 64 << 10
	apology       = "We are sorry, an application error has occurred. Goodbye."
)

// verb is an element of TwiML.
type verb struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Inner   []verb     `xml:",any"`
}

func (v verb) attr(name, usual string) string {
	if i := slices.IndexFunc(v.Attrs, func(a xml.Attr) bool { return a.Name.Local == name }); i >= 0 {
		return v.Attrs[i].Value
	}
	return usual
}

func (v verb) seconds(name string, usual time.Duration) time.Duration {
	n, err := strconv.Atoi(v.attr(name, ""))
	if err != nil || n < 0 {
		return usual
	}
	return time.Duration(n) * time.Second
}

// verbs are what a document has done.
func verbs(twiml string) ([]verb, error) {
	if _, err := spoken(twiml); err != nil {
		return nil, err
	}
	var v verb
	if err := xml.Unmarshal([]byte(twiml), &v); err != nil {
		return nil, err
	}
	return v.Inner, nil
}

// asks reports whether a document asks for keys.
func asks(doc []verb) bool {
	return slices.ContainsFunc(doc, func(v verb) bool { return v.XMLName.Local == "Gather" })
}

// line is a call that somebody listens to and presses keys in.
type line struct {
	s     *Server
	c     *call
	keys  []Key // that are still to come
	since time.Time
	until time.Time // when they hang up
	at    *url.URL  // of the document; nil: it came with the call
}

// converse has a call do what its TwiML says, until that or the person's patience ends.
func (s *Server) converse(c *call, doc []verb, b Answer, until time.Time) {
	l := &line{s: s, c: c, keys: b.Keys, since: time.Now(), until: until}
	for goes := true; goes; {
		doc, goes = l.play(doc)
	}
	s.move(c, "completed")
}

// play does the verbs of a document. What it gives is the document that goes on in its place; false:
// the call is over.
func (l *line) play(doc []verb) (next []verb, goes bool) {
	for _, v := range doc {
		switch v.XMLName.Local {
		case "Say", "Pause":
			if _, goes := l.pass(l.begin(v), false); !goes {
				return nil, false
			}
		case "Gather":
			switch digits, goes := l.gather(v); {
			case !goes:
				return nil, false
			case digits != "":
				return l.fetch(v.attr("action", ""), v.attr("method", http.MethodPost),
					url.Values{"Digits": {digits}, "FinishedOnKey": {""}, "msg": {"Gather End"}})
			}
		case "Redirect":
			return l.fetch(strings.TrimSpace(v.Text), v.attr("method", http.MethodPost), nil)
		default: // Hangup, and what the simulation does not know
			return nil, false
		}
	}
	return nil, false
}

// begin begins to speak, or a pause, and tells how long it takes.
func (l *line) begin(v verb) time.Duration {
	if v.XMLName.Local == "Pause" {
		return v.seconds("length", time.Second)
	}
	l.say(v.Text)
	return time.Duration(utf8.RuneCountInString(v.Text)) * l.s.cfg.Timing.Speak
}

func (l *line) say(text string) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.c.Heard = append(l.c.Heard, text)
	if l.s.cfg.OnSpeech != nil {
		to := l.c.To
		l.s.post(func() { l.s.cfg.OnSpeech(to, text) })
	}
}

// gather collects keys while it speaks and for a while after. None: the document goes on.
func (l *line) gather(v verb) (digits string, goes bool) {
	timeout, finish := v.seconds("timeout", 5*time.Second), v.attr("finishOnKey", "#")
	most, unlimited := strconv.Atoi(v.attr("numDigits", ""))
	key := ""
	goes = true
	for i := 0; goes && key == "" && i < len(v.Inner); i++ {
		key, goes = l.pass(l.begin(v.Inner[i]), true)
	}
	if goes && key == "" {
		key, goes = l.pass(timeout, true)
	}
	for goes && key != "" && key != finish {
		if digits += key; unlimited == nil && len(digits) >= most {
			return digits, true
		}
		key, goes = l.pass(timeout, true)
	}
	return digits, goes
}

// pass lets a time pass, or less if a key comes that is listened for. False: they have hung up, or
// the call was ended.
func (l *line) pass(d time.Duration, listens bool) (key string, goes bool) {
	for end := time.Now().Add(d); ; {
		next := end
		pressed := false
		if len(l.keys) > 0 {
			if at := l.since.Add(l.keys[0].After); !at.After(end) {
				next, pressed = at, true
			}
		}
		if l.until.Before(next) {
			l.s.pause(l.c, max(time.Until(l.until), 0))
			return "", false
		}
		if !l.s.pause(l.c, max(time.Until(next), 0)) {
			return "", false
		}
		if !pressed {
			return "", true
		}
		key, l.since, l.keys = l.keys[0].Digit, next, l.keys[1:]
		if listens {
			return key, true
		}
	}
}

// fetch asks an address what to do next, as Twilio does. Without a document for an answer the call
// ends, with words that are Twilio's. What is pressed meanwhile is lost.
func (l *line) fetch(ref, method string, more url.Values) ([]verb, bool) {
	doc, code := l.ask(ref, method, more)
	for len(l.keys) > 0 && !l.since.Add(l.keys[0].After).After(time.Now()) {
		l.since, l.keys = l.since.Add(l.keys[0].After), l.keys[1:]
	}
	if code == 0 {
		return doc, true
	}
	l.s.mu.Lock()
	l.c.Errors = append(l.c.Errors, code)
	l.s.mu.Unlock()
	l.say(apology)
	return nil, false
}

func (l *line) ask(ref, method string, more url.Values) ([]verb, int) {
	u, err := url.Parse(ref)
	if err == nil && l.at != nil {
		u = l.at.ResolveReference(u)
	}
	if err != nil || u.Host == "" {
		return nil, errAddress
	}
	form := url.Values{"CallSid": {l.c.SID}, "AccountSid": {l.s.cfg.AccountSID}, "ApiVersion": {"2010-04-01"}, "Direction": {"outbound-api"},
		"CallStatus": {"in-progress"}, "From": {l.c.From}, "Caller": {l.c.From}, "To": {l.c.To}, "Called": {l.c.To}}
	maps.Copy(form, more)
	x := Exchange{At: time.Now(), Method: method, Path: u.String(), Form: form}
	header, err := l.s.callback(l.c, u, &x)
	if l.s.cfg.OnCallback != nil {
		l.s.cfg.OnCallback(x)
	}
	if err != nil || x.Status < 200 || x.Status > 299 {
		return nil, errRetrieval
	}
	if len(x.Answer) > maxDocument {
		return nil, errTooLarge
	}
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || !slices.Contains([]string{"text/xml", "application/xml", "text/html"}, kind) {
		return nil, errContentType
	}
	doc, err := verbs(string(x.Answer))
	if err != nil {
		return nil, errNotXML
	}
	l.at = u
	return doc, 0
}

// callback makes one request, signed by the account's token.
func (s *Server) callback(c *call, u *url.URL, x *Exchange) (http.Header, error) {
	if s.cfg.Web == nil {
		return nil, errors.New("there is no way to it")
	}
	ctx, cancel := context.WithTimeout(context.Background(), answersWithin)
	var gone sync.WaitGroup
	defer gone.Wait()
	defer cancel()
	gone.Go(func() {
		select {
		case <-c.over:
		case <-s.done:
		case <-ctx.Done():
		}
		cancel()
	})
	address, body, signed := *u, "", x.Form
	if x.Method == http.MethodGet { // then all is in the address
		query := u.Query()
		maps.Copy(query, x.Form)
		address.RawQuery, signed = query.Encode(), nil
	} else {
		body = x.Form.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, x.Method, address.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if x.Method != http.MethodGet {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	r.Header.Set("User-Agent", "TwilioProxy/1.1")
	r.Header.Set("X-Twilio-Signature", sign(address.String(), s.cfg.AuthToken, signed))
	resp, err := s.cfg.Web.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if x.Answer, err = io.ReadAll(io.LimitReader(resp.Body, maxDocument+1)); err != nil {
		return nil, err
	}
	x.Status = resp.StatusCode
	return resp.Header, nil
}

// sign is Twilio's signature of a request to a callback: its address, then each key and its value.
func sign(address, token string, form url.Values) string {
	mac := hmac.New(sha1.New, []byte(token))
	_, _ = io.WriteString(mac, address) // a hash never fails
	for _, key := range slices.Sorted(maps.Keys(form)) {
		_, _ = io.WriteString(mac, key+form.Get(key))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
