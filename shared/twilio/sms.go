package twilio

import (
	"context"
	"fmt"
	"unicode/utf8"

	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const (
	maxSMS      = 1600 // characters, Twilio's limit for Body
	smsValidity = 300  // seconds: an alarm delivered later than that misleads
)

// SendSMS sends body, at most 1,600 characters, to an E.164 number and returns
// the message's SID. Sent is not delivered: carriers may still drop it. The
// message is given up if it is not on its way within 5 min.
func (c *Client) SendSMS(ctx context.Context, to, body string) (string, error) {
	sid, err := c.sendSMS(ctx, to, body)
	if err != nil {
		return "", fmt.Errorf("send SMS to %s: %w", to, err)
	}
	return sid, nil
}

func (c *Client) sendSMS(ctx context.Context, to, body string) (string, error) {
	if !e164Form.MatchString(to) {
		return "", refuse(Target, "the number to text is not in E.164 form", targetAdvice(21211))
	}
	if n := utf8.RuneCountInString(body); n == 0 || n > maxSMS {
		return "", refuse(Configuration, fmt.Sprintf("the message has %d characters, must have 1 to %d", n, maxSMS),
			"Check the message template")
	}
	params := new(api.CreateMessageParams).SetTo(to).SetFrom(c.from).SetBody(body).SetValidityPeriod(smsValidity)
	var sid string
	_, err := c.do(ctx, func(s *api.ApiService) error {
		m, err := s.CreateMessage(params)
		if err == nil {
			sid = text(m.Sid)
		}
		return err
	})
	if err == nil && sid == "" {
		err = unreadable("answer without a message SID")
	}
	return sid, err
}
