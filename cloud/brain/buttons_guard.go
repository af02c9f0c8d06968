package brain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/shared/courier"
)

// errOtherPage is for buttons that another site's page tried to press.
var errOtherPage = errors.New("this button may only be pressed on the sentinel's own page")

// errNotAdmin keeps buttons to the machine itself until roles come with the tailnet's grants.
var errNotAdmin = errors.New("only the machine that the brain runs on may press this")

var errBody = errors.New("this takes no body")

// adminKey marks requests that came by the control socket, which is root's.
type adminKey struct{}

func asAdmin(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), adminKey{}, true)))
	})
}

// button is a change that a person makes: by the control socket, or from loopback and by
// a name that means it, never from another site's page, answered once it is on disk. It
// takes no parameters but those named, and no body.
func (b *Brain) button(do func(ctx context.Context, r *http.Request) error, takes ...string) http.HandlerFunc {
	return b.answers(func(ctx context.Context, r *http.Request) (any, error) { return nil, do(ctx, r) }, takes...)
}

// answers is a button that has something to say, or a question that only an admin may ask.
func (b *Brain) answers(do func(ctx context.Context, r *http.Request) (any, error), takes ...string) http.HandlerFunc {
	return b.answersWithin(2*appendWithin, do, takes...)
}

// answersWithin is answers for what takes longer than a write to the disk.
func (b *Brain) answersWithin(d time.Duration, do func(ctx context.Context, r *http.Request) (any, error), takes ...string) http.HandlerFunc {
	press := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		var answer any
		_, err := parameters(r, takes...)
		if err == nil {
			err = bodiless(r)
		}
		if err == nil {
			answer, err = do(ctx, r)
		}
		switch {
		case err == nil && answer == nil:
			w.WriteHeader(http.StatusNoContent)
			return
		case err == nil:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(answer) // the reader may be gone
			return
		}
		var no *courier.Fault
		if !errors.As(err, &no) {
			no = &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: err}
		}
		b.metrics.refused.WithLabelValues(courier.Fail(w, no)).Inc()
	})
	return b.admin(press)
}

// bodiless refuses what says something in its body: it would not be heeded.
func bodiless(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	if n, err := io.ReadFull(r.Body, make([]byte, 1)); n == 0 && err == io.EOF { // of a length that was not said
		return nil
	}
	return &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: errBody, Hint: "say it in the address, such as ?for=2h"}
}

// admin keeps what only an admin may ask for to the control socket, and to loopback by a
// name that means it, never from another site's page.
func (b *Brain) admin(h http.Handler) http.HandlerFunc {
	guard := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		no := &courier.Fault{Status: http.StatusForbidden, Reason: "forbidden"}
		switch {
		case r.Context().Value(adminKey{}) != nil: // root's socket has no name
		case !loopback(r.RemoteAddr):
			no.Err = errNotAdmin
		case !loopbackName(r.Host): // another site's name, made to point here
			no.Err, no.Hint = errOtherPage, "open the page by the address 127.0.0.1, or as localhost"
		default:
			pressed := *r
			pressed.Method = http.MethodPost // what is only read is no less another page's wish
			if guard.Check(&pressed) != nil {
				no.Err = errOtherPage
			}
		}
		if no.Err != nil {
			b.metrics.refused.WithLabelValues("forbidden").Inc()
			courier.Fail(w, no)
			return
		}
		h.ServeHTTP(w, r)
	}
}

// loopbackName reports whether a request's Host, with or without a port, can mean nothing
// but this machine.
func loopbackName(name string) bool {
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}

// parameters reads what a request's query says. What is not known, cannot be read or is said
// twice is an error: without it something else would be done than was meant (rule R2).
func parameters(r *http.Request, known ...string) (url.Values, error) {
	no := &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Hint: "this takes no parameters"}
	if len(known) > 0 {
		no.Hint = "use " + strings.Join(known, ", ")
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		no.Err = fmt.Errorf("the parameters cannot be read: %w", err)
		return nil, no
	}
	for name, said := range q {
		switch {
		case !slices.Contains(known, name):
			no.Err = fmt.Errorf("the parameter %.40q is not known here", name)
		case len(said) > 1:
			no.Err = fmt.Errorf("the parameter %s is given %d times", name, len(said))
		}
	}
	if no.Err != nil {
		return nil, no
	}
	return q, nil
}
