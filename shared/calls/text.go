package calls

import (
	"context"
	"errors"

	"sentinel.home.arpa/shared/twilio"
)

// Text is how an account sends text messages.
func Text(client *twilio.Client) func(ctx context.Context, to, body string) error {
	return func(ctx context.Context, to, body string) error {
		_, err := client.SendSMS(ctx, to, body)
		return err
	}
}

// TextFailure is what a text message that was not taken means; forGood, that no second try will be. Twilio's errors
// hold no secret.
func TextFailure(err error) (why string, forGood bool) {
	var no *twilio.Error
	if !errors.As(err, &no) {
		return "SMS: " + err.Error(), false
	}
	why = "SMS by Twilio: " + no.Message
	if no.Advice != "" {
		why += "; " + no.Advice
	}
	return why, no.Class == twilio.Configuration || no.Class == twilio.Target
}
