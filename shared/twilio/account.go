package twilio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	api "github.com/twilio/twilio-go/rest/api/v2010"
)

// codeNoAccess is Twilio's answer to wrong credentials, and to right ones of a key that may
// not ask for this.
const codeNoAccess = 20003

// active is an account that does what it is asked for.
const active = "active"

// Account is what the account says of itself. What the API key may not ask for is not known.
type Account struct {
	Status   string   // "active", "suspended" or "closed"; empty: not known
	Trial    bool     // it reaches verified numbers only
	Foreign  bool     // the number to call from is neither the account's nor verified by it
	Balance  *float64 // what it can still spend; nil: not known
	Currency string   // of the balance, such as USD
}

// Account asks for what must be right before a call can be placed. Its error means that
// nothing was found out, or that no request is taken at all.
//
// A standard key, which is the one to use, is refused the account itself, and a restricted one
// more, with the very answer that wrong credentials get. So the list of calls is asked for
// first, which the brain needs anyway: it tells whether the credentials are right.
func (c *Client) Account(ctx context.Context) (Account, error) {
	var a Account
	_, refused := c.do(ctx, func(s *api.ApiService) error {
		_, err := s.PageCall(new(api.ListCallParams).SetFrom(c.from).SetPageSize(1), "", "")
		return err
	})
	if e := (*Error)(nil); errors.As(refused, &e) && e.Class != Configuration {
		return Account{}, fmt.Errorf("ask for the last call: %w", refused)
	}
	var of *api.ApiV2010Account // a suspended account refuses all but this
	err := c.mayAsk(ctx, func(s *api.ApiService) (err error) { of, err = s.FetchAccount(c.account); return err })
	if err == nil && of != nil {
		a.Status, a.Trial = text(of.Status), text(of.Type) == "Trial"
	}
	switch {
	case refused != nil && (a.Status == "" || a.Status == active):
		return Account{}, fmt.Errorf("ask for the last call: %w", refused)
	case refused != nil:
		return a, nil
	case err != nil:
		return Account{}, fmt.Errorf("ask for the account: %w", err)
	}
	if a.Foreign, err = c.foreign(ctx); err != nil {
		return Account{}, fmt.Errorf("ask for the number that calls: %w", err)
	}
	var has *api.ApiV2010Balance
	if err := c.mayAsk(ctx, func(s *api.ApiService) (err error) { has, err = s.FetchBalance(nil); return err }); err != nil {
		return Account{}, fmt.Errorf("ask for the balance: %w", err)
	}
	if has != nil {
		if left, err := strconv.ParseFloat(text(has.Balance), 64); err == nil {
			a.Balance, a.Currency = &left, cmp.Or(text(has.Currency), "USD")
		}
	}
	return a, nil
}

// Trouble is why the account places no call, and what to do; empty: it does.
func (a Account) Trouble() (why, advice string) {
	switch {
	case a.Status != "" && a.Status != active:
		return "the Twilio account is " + a.Status, configurationAdvice(20005)
	case a.Foreign:
		return "the number to call from does not belong to the Twilio account", configurationAdvice(21210)
	case a.Balance != nil && *a.Balance <= 0:
		return fmt.Sprintf("the Twilio account has no credit left: %.2f %s", *a.Balance, a.Currency), configurationAdvice(10001)
	}
	return "", ""
}

// mayAsk runs a request that this key may be refused, which is no error.
func (c *Client) mayAsk(ctx context.Context, request func(*api.ApiService) error) error {
	_, err := c.do(ctx, request)
	var e *Error
	if errors.As(err, &e) && e.Code == codeNoAccess {
		return nil
	}
	return err
}

// foreign reports whether it is known that the account may not call from the number.
func (c *Client) foreign(ctx context.Context) (bool, error) {
	var mine *api.ListIncomingPhoneNumberResponse
	err := c.mayAsk(ctx, func(s *api.ApiService) (err error) {
		mine, err = s.PageIncomingPhoneNumber(new(api.ListIncomingPhoneNumberParams).SetPhoneNumber(c.from).SetPageSize(recentPage), "", "")
		return err
	})
	if err != nil || mine == nil {
		return false, err
	}
	for _, n := range mine.IncomingPhoneNumbers { // Twilio looks for a part of the number
		if text(n.PhoneNumber) == c.from {
			return n.Capabilities != nil && !n.Capabilities.Voice, nil
		}
	}
	var verified *api.ListOutgoingCallerIdResponse
	err = c.mayAsk(ctx, func(s *api.ApiService) (err error) {
		verified, err = s.PageOutgoingCallerId(new(api.ListOutgoingCallerIdParams).SetPhoneNumber(c.from).SetPageSize(recentPage), "", "")
		return err
	})
	if err != nil || verified == nil {
		return false, err
	}
	if mine.IncomingPhoneNumbers == nil || verified.OutgoingCallerIds == nil {
		return false, unreadable("answer without a list of numbers")
	}
	for _, n := range verified.OutgoingCallerIds {
		if text(n.PhoneNumber) == c.from {
			return false, nil
		}
	}
	return true, nil
}
