package brain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/courier"
)

var (
	errNobody  = errors.New("say whom to call")
	errNoPhone = errors.New("nobody can be called without a twilio: section in cloud.yaml")
	errHeld    = errors.New("the call was not wished for, since another was")
)

// testRoutes are how somebody sees that calling works.
func (b *Brain) testRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/test/call", b.answers(b.testCall, "contact"))
}

// testAnswer says by which name the status tells what became of a test call.
type testAnswer struct {
	Call string `json:"call"`
}

// testCall calls a contact to see that it works. It answers once the wish is on disk.
func (b *Brain) testCall(ctx context.Context, r *http.Request) (any, error) {
	name := r.URL.Query().Get("contact")
	v := b.view.Load()
	if v == nil {
		return nil, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errNoView}
	}
	known := b.core().Contacts
	switch {
	case b.cfg().Twilio == nil:
		return nil, &courier.Fault{Status: http.StatusConflict, Reason: "no-phone", Err: errNoPhone}
	case name == "":
		return nil, &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: errNobody, Hint: "?contact=NAME; " + hint("", known)}
	case !slices.Contains(known, name):
		return nil, &courier.Fault{Status: http.StatusNotFound, Reason: "unknown", Err: fmt.Errorf("no contact %.80q can be called", name), Hint: hint(name, known)}
	}
	if why := v.testHeld[name]; why != "" {
		return nil, &courier.Fault{Status: http.StatusTooManyRequests, Reason: "limit", Err: errors.New(why)}
	}
	before := lastTest(v.page, name)
	if err := b.submit(ctx, sentinel.TestCall{Contact: name, By: operator}); err != nil {
		return nil, err
	}
	id := lastTest(b.page(), name)
	if id == before {
		return nil, &courier.Fault{Status: http.StatusTooManyRequests, Reason: "limit", Err: errHeld}
	}
	return testAnswer{id}, nil
}

func lastTest(v *web.View, contact string) (id string) {
	for _, t := range v.Tests {
		if t.Contact == contact {
			id = t.ID
		}
	}
	return id
}

// testsHeld is who would get no test call now, and why.
func (b *Brain) testsHeld(now time.Time) map[string]string {
	held := map[string]string{}
	for _, name := range b.core().Contacts {
		held[name] = b.state.TestHeld(now, name)
	}
	return held
}

func (b *Brain) testViews() (tests []web.Test) {
	for _, c := range b.state.Tests {
		w := web.Test{ID: c.ID, Contact: c.Contact, By: c.Test, At: b.clock.Shown(c.Requested).In(b.zone("")), Over: !c.Open(), Delivered: c.Delivered, Outcome: callView(c)}
		if r, is := b.state.Phone.Refused[c.Contact]; is && r.At.Equal(c.Ended) {
			w.Advice = r.Advice
		}
		tests = append(tests, w)
	}
	return tests
}

// testStory is what a test call says.
func testStory(contact string) notify.Story { return notify.Story{Kind: notify.Test, Contact: contact} }
