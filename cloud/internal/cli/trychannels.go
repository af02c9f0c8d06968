package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// triedWithin is longer than the brain waits for all channels.
const triedWithin = 30 * time.Second

// TestNotice sends somebody a notice by all channels, or with sms by text message alone, and says what became of it;
// ErrBadNews if a channel did not take it.
func (o Operator) TestNotice(w io.Writer, contact string, sms bool) error {
	path := "/api/v1/test/notice"
	if sms {
		path = "/api/v1/test/sms"
	}
	resp, err := o.askWithin(triedWithin, http.MethodPost, path+"?contact="+url.QueryEscape(contact))
	if err != nil {
		return err
	}
	var answer struct {
		Channels []struct {
			Channel, By, Outcome string
			Delivered            bool
		}
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer)
	_ = resp.Body.Close()
	if err != nil {
		return fmt.Errorf("read the brain's answer: %w", err)
	}
	failed := false
	for _, c := range answer.Channels {
		text := "delivered by " + c.By
		if !c.Delivered {
			failed, text = true, "NOT delivered: "+c.Outcome
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", c.Channel, text); err != nil {
			return err
		}
	}
	if failed {
		return ErrBadNews
	}
	return nil
}
