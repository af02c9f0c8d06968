package twiliosim

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

func (s *Server) getAccount(r request) answer {
	if r.PathValue("file") != s.cfg.AccountSID+".json" {
		return notFound(r)
	}
	uri := "/2010-04-01/Accounts/" + s.cfg.AccountSID
	opened := time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
	return jsonAnswer(http.StatusOK, map[string]any{
		"sid": s.cfg.AccountSID, "owner_account_sid": s.cfg.AccountSID, "friendly_name": "simulated",
		"status": "active", "type": "Full", "auth_token": nil,
		"date_created": rfc2822(&opened), "date_updated": rfc2822(&opened),
		"uri": uri + ".json", "subresource_uris": map[string]any{"calls": uri + "/Calls.json", "messages": uri + "/Messages.json"},
	})
}

func (s *Server) getBalance(request) answer {
	return jsonAnswer(http.StatusOK, map[string]any{
		"account_sid": s.cfg.AccountSID, "balance": s.cfg.Balance, "currency": "USD",
	})
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
