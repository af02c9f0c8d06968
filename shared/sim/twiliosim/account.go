package twiliosim

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// Account is how the account stands.
type Account struct {
	Status  string // active, suspended or closed: then it refuses all but itself
	Type    string // Full or Trial
	Balance string
}

// SetAccount changes how the account stands from now on.
func (s *Server) SetAccount(a Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = a
}

func (s *Server) accountNow() Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account
}

// allowed reports whether the key may ask for this, and whether the account answers it.
func (s *Server) allowed(path string) *answer {
	itself := path == "/2010-04-01/Accounts/"+s.cfg.AccountSID+".json"
	refuse := func(code int, message string) *answer { a := refusal(code, message); return &a }
	switch {
	case itself && s.cfg.Key != Main:
		return refuse(20003, "Authentication Error - invalid username")
	case s.cfg.Key == Restricted && !strings.Contains(path, "/Calls"):
		return refuse(20003, "Permission Denied")
	case !itself && s.accountNow().Status != "active":
		return refuse(20005, "Account not active")
	}
	return nil
}

func (s *Server) getAccount(r request) answer {
	if r.PathValue("file") != s.cfg.AccountSID+".json" {
		return notFound(r)
	}
	a := s.accountNow()
	uri := "/2010-04-01/Accounts/" + s.cfg.AccountSID
	opened := time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
	return jsonAnswer(http.StatusOK, map[string]any{
		"sid": s.cfg.AccountSID, "owner_account_sid": s.cfg.AccountSID, "friendly_name": "simulated",
		"status": a.Status, "type": a.Type, "auth_token": nil,
		"date_created": rfc2822(&opened), "date_updated": rfc2822(&opened),
		"uri": uri + ".json", "subresource_uris": map[string]any{"calls": uri + "/Calls.json", "messages": uri + "/Messages.json"},
	})
}

func (s *Server) getBalance(request) answer {
	return jsonAnswer(http.StatusOK, map[string]any{
		"account_sid": s.cfg.AccountSID, "balance": s.accountNow().Balance, "currency": "USD",
	})
}

// listCallers answers with numbers of others that the account has verified.
func (s *Server) listCallers(r request) answer {
	items := []any{}
	opened := time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
	for _, number := range s.cfg.Verified {
		if !strings.Contains(number, r.query.Get("PhoneNumber")) {
			continue
		}
		items = append(items, map[string]any{
			"sid": numberSID(number), "account_sid": s.cfg.AccountSID, "phone_number": number, "friendly_name": number,
			"date_created": rfc2822(&opened), "date_updated": rfc2822(&opened),
			"uri": "/2010-04-01/Accounts/" + s.cfg.AccountSID + "/OutgoingCallerIds/" + numberSID(number) + ".json",
		})
	}
	return list(r, "outgoing_caller_ids", items)
}

// listNumbers answers with the account's numbers; the properties that matter
// for who may call, the rest of the resource is left out.
func (s *Server) listNumbers(r request) answer {
	items := []any{}
	for _, number := range s.cfg.Numbers {
		if !strings.Contains(number, r.query.Get("PhoneNumber")) {
			continue
		}
		items = append(items, map[string]any{
			"sid": numberSID(number), "account_sid": s.cfg.AccountSID, "phone_number": number,
			"friendly_name": number, "api_version": "2010-04-01", "status": "in-use", "beta": false,
			"capabilities": map[string]any{"voice": true, "sms": true, "mms": false, "fax": false},
			"uri":          "/2010-04-01/Accounts/" + s.cfg.AccountSID + "/IncomingPhoneNumbers/" + numberSID(number) + ".json",
		})
	}
	return list(r, "incoming_phone_numbers", items)
}

func numberSID(number string) string {
	sum := sha256.Sum256([]byte(number))
	return "PN" + hex.EncodeToString(sum[:16])
}
