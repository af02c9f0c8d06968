package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// testWithin is longer than any call waits, rings and lasts.
const testWithin = 7 * time.Minute

// testCall is what the brain's status says of a call to see that calling works.
type testCall struct {
	ID, Contact, Outcome, Advice string
	Over, Delivered              bool
}

// TestCall has somebody called, waits, and says what became of it; ErrBadNews if nobody took it.
func (o Operator) TestCall(w io.Writer, contact string) error {
	resp, err := o.ask(http.MethodPost, "/api/v1/test/call?contact="+url.QueryEscape(contact))
	if err != nil {
		return err
	}
	var answer struct{ Call string }
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer)
	_ = resp.Body.Close()
	if err != nil {
		return fmt.Errorf("read the brain's answer: %w", err)
	}
	if _, err := fmt.Fprintf(w, "calling %s; pick up and listen\n", contact); err != nil {
		return err
	}
	said := ""
	for deadline := time.Now().Add(testWithin); time.Now().Before(deadline); time.Sleep(confirmEach) {
		var s struct{ Tests []testCall }
		if _, err := o.read("/api/v1/status", &s); err != nil {
			return err
		}
		for _, t := range s.Tests {
			if t.ID != answer.Call {
				continue
			}
			if t.Over {
				return t.ended(w)
			}
			if t.Outcome != said {
				said = t.Outcome
				if _, err := fmt.Fprintln(w, said); err != nil {
					return err
				}
			}
		}
	}
	return fmt.Errorf("nothing was heard of the end of %s; `sentinel-cloud journal` may tell", answer.Call)
}

func (t testCall) ended(w io.Writer) error {
	if t.Delivered {
		_, err := fmt.Fprintf(w, "%s took the call: calling works\n", t.Contact)
		return err
	}
	text := fmt.Sprintf("%s was not reached: %s", t.Contact, t.Outcome)
	if t.Advice != "" {
		text += "\n" + t.Advice
	}
	if _, err := fmt.Fprintln(w, text); err != nil {
		return err
	}
	return ErrBadNews
}
