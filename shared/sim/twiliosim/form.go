package twiliosim

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxTwiML       = 4000 // characters
	defaultTimeout = 60   // seconds that a call rings if not told
	maxTimeout     = 600
)

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// parseCall checks the form of a new call; unknown parameters are ignored, as by
// Twilio.
func (s *Server) parseCall(r request) (*call, *answer) {
	refuse := func(code int, message string) (*call, *answer) {
		a := refusal(code, message)
		return nil, &a
	}
	to, from, twiml := r.form.Get("To"), r.form.Get("From"), r.form.Get("Twiml")
	url := r.form.Get("Url")
	switch {
	case to == "":
		return refuse(21201, "No 'To' number is specified")
	case from == "":
		return refuse(21213, "No 'From' number is specified")
	case !e164.MatchString(to):
		return refuse(21211, "The phone number you are attempting to call, "+to+", is not valid.")
	case !e164.MatchString(from):
		return refuse(21212, "Invalid From Number (caller ID): "+from)
	case !slices.Contains(s.cfg.Numbers, from) && !slices.Contains(s.cfg.Verified, from):
		return refuse(21210, "The source phone number provided, "+from+", is not yet verified for your account.")
	case url == "" && twiml == "" && r.form.Get("ApplicationSid") == "":
		return refuse(21205, "Url parameter is required.")
	case utf8.RuneCountInString(twiml) > maxTwiML:
		return refuse(20001, "Twiml must be at most 4000 characters")
	}
	c := &call{Call: Call{To: to, From: from}, over: make(chan struct{})}
	if url == "" && twiml != "" { // Url wins; the simulation does not fetch it
		text, err := spoken(twiml)
		if err != nil {
			return refuse(12100, "Document parse failure: "+err.Error())
		}
		c.TwiML, c.Text = twiml, text
	}
	timeout, ok := integer(r, "Timeout", defaultTimeout)
	if !ok || timeout < 1 || timeout > maxTimeout {
		return refuse(20001, "Invalid Timeout")
	}
	limit, ok := integer(r, "TimeLimit", 0)
	if !ok || limit < 0 {
		return refuse(20001, "Invalid TimeLimit")
	}
	switch r.form.Get("MachineDetection") {
	case "":
	case "Enable", "DetectMessageEnd":
		c.detect = true
	default:
		return refuse(20001, "Invalid MachineDetection")
	}
	c.ring, c.limit = time.Duration(timeout)*time.Second, time.Duration(limit)*time.Second
	return c, nil
}

func integer(r request, key string, def int) (int, bool) {
	v := r.form.Get(key)
	if v == "" {
		return def, true
	}
	n, err := strconv.Atoi(v)
	return n, err == nil
}

// spoken returns the texts of all Say verbs, one a line.
func spoken(twiml string) (string, error) {
	var texts []string
	var path []string
	dec := xml.NewDecoder(strings.NewReader(twiml))
	closed := false
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) && closed {
			return strings.Join(texts, "\n"), nil
		}
		if err != nil {
			return "", err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if len(path) == 0 && (closed || t.Name.Local != "Response") {
				return "", errors.New("the document must be one Response")
			}
			path = append(path, t.Name.Local)
			if t.Name.Local == "Say" {
				texts = append(texts, "")
			}
		case xml.EndElement:
			path = path[:len(path)-1]
			closed = len(path) == 0
		case xml.CharData:
			if slices.Contains(path, "Say") {
				texts[len(texts)-1] += string(t)
			} else if len(path) == 0 && strings.TrimSpace(string(t)) != "" {
				return "", errors.New("text outside of the document")
			}
		}
	}
}
