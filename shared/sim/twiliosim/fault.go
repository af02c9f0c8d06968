package twiliosim

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// FaultKind is a way for the API to misbehave.
type FaultKind string

// The kinds of faults.
const (
	Throttled   FaultKind = "throttled"   // 429, code 20429, Retry-After
	Unavailable FaultKind = "unavailable" // 503, JSON
	Internal    FaultKind = "internal"    // 500, JSON
	Portal      FaultKind = "portal"      // 200, HTML as from a portal in between
	BadGateway  FaultKind = "bad gateway" // 502, HTML as from a proxy
	Refused     FaultKind = "refused"     // Twilio's refusal with Code
	Hang        FaultKind = "hang"        // no answer until the client or server gives up
	Drop        FaultKind = "drop"        // the connection is closed instead of an answer
	HalfAnswer  FaultKind = "half answer" // the connection is closed in the middle of the true answer
)

// Fault is what happens to a request instead of its answer.
type Fault struct {
	Kind       FaultKind
	Done       bool          // the request is carried out all the same (always, for HalfAnswer)
	Method     string        // only requests of this method; any if empty
	Path       string        // only those whose path ends so, such as /Balance.json; any if empty
	Code       int           // for Refused
	RetryAfter time.Duration // for Throttled and Unavailable; 1 s for Throttled if zero
}

type armed struct {
	Fault
	left int // negative: until cleared
}

// Fault arms f for the next times requests that it matches, or until
// [Server.ClearFaults] if times is negative. Several faults are used up in the
// order they were armed. Requests with wrong credentials don't use them up.
func (s *Server) Fault(f Fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if times != 0 {
		s.faults = append(s.faults, &armed{f, times})
	}
}

// ClearFaults ends all faults, but not requests that hang already.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault uses up one fault for a request, if one is armed.
func (s *Server) takeFault(method, path string) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.Method != "" && f.Method != method || !strings.HasSuffix(path, f.Path) {
			continue
		}
		if f.left--; f.left == 0 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		return f.Fault, true
	}
	return Fault{}, false
}

// spoil returns the answer that the client gets instead of the true one, and
// whether it gets any.
func (f Fault) spoil(full answer) (answer, bool) {
	switch f.Kind {
	case Throttled:
		a := refusal(20429, "Too Many Requests")
		a.header.Set("Retry-After", seconds(max(f.RetryAfter, time.Second)))
		return a, true
	case Unavailable:
		a := refusal(20503, "Service is temporarily unavailable")
		if f.RetryAfter > 0 {
			a.header.Set("Retry-After", seconds(f.RetryAfter))
		}
		return a, true
	case Internal:
		return refusal(20500, "An internal server error has occurred"), true
	case BadGateway:
		return html(http.StatusBadGateway, "502 Bad Gateway"), true
	case Portal:
		return html(http.StatusOK, "Welcome"), true
	case Refused:
		return refusal(f.Code, "Refused by the simulation"), true
	case HalfAnswer:
		full.body = bytes.Clone(full.body[:len(full.body)/2])
		return full, true
	}
	return answer{}, false
}

func html(status int, title string) answer {
	return answer{status, http.Header{"Content-Type": {"text/html"}},
		[]byte("<html><head><title>" + title + "</title></head><body>" + title + "</body></html>\n")}
}

func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }
