package twilio

const adviceThrottled = "Twilio limits the pace of this account; it is tried again more slowly"

// Codes with a meaning of their own here, from https://www.twilio.com/docs/api/errors.
const (
	codeNotInProgress = 21220 // the call is over
)

// meaning translates a code of Twilio's refusals. An unknown one counts as
// configuration: Twilio understood the request, did nothing, and a repetition
// would be refused as well.
func meaning(code int) (Class, string) {
	if advice := targetAdvice(code); advice != "" {
		return Target, advice
	}
	switch code {
	case 20429, 10004:
		return Throttled, adviceThrottled
	}
	return Configuration, configurationAdvice(code)
}

// OfNumber reports whether a call to another number may be placed all the same.
func (e *Error) OfNumber() bool {
	switch e.Code {
	case 21215, 32205, 13227, 21219, 21608: // this country, or this number
		return true
	}
	return e.Class == Target
}

// targetAdvice is empty for a code that is not about the number called.
func targetAdvice(code int) string {
	switch code {
	case 21211:
		return "Correct this contact's phone number: Twilio calls it invalid"
	case 21214, 21217:
		return "Check this contact's phone number: Twilio cannot reach it"
	case 21216:
		return "Twilio blocks calls to this number; ask Twilio's support or use another number for this contact"
	case 21610:
		return "This contact has unsubscribed: let them text START to the sender's number"
	case 21612:
		return "Twilio cannot send messages from your number to this one; use a call or another sender's number"
	case 21614:
		return "This number cannot receive text messages; give a mobile number for this contact"
	}
	return ""
}

func configurationAdvice(code int) string {
	switch code {
	case 20003:
		return "Check the account SID, API key and secret in the configuration, and that the Twilio account is not suspended"
	case 20005, 10001:
		return "The Twilio account is not active: add funds or reactivate it in Twilio's console"
	case 20404:
		return "Check the account SID: Twilio knows no such account, call or message"
	case 21205:
		return "The text of the call was missing or its address was invalid: check the call templates"
	case 21201, 21604:
		return "Give this contact a phone number"
	case 21210, 21212, 21213, 21606:
		return "Check the number to call from: it must belong to this Twilio account and be able to do this"
	case 21215, 32205, 13227:
		return "Allow calls to this country in Twilio's console under Voice, Settings, Geo permissions"
	case 21408:
		return "Allow messages to this country in Twilio's console under Messaging, Settings, Geo permissions"
	case 21219, 21608:
		return "A trial account reaches verified numbers only: verify this number in Twilio's console or upgrade the account"
	case 21617:
		return "The message is too long: shorten the template"
	case 12100:
		return "The text of the call is not valid TwiML: check the call templates"
	}
	return "Look the code up at https://www.twilio.com/docs/api/errors"
}
