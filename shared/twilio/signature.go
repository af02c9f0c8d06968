package twilio

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Signed reports whether Twilio has signed a request to a callback: address is that which was
// given to it, and any of the account's tokens counts, since there are two while one is replaced.
// Of a key that is there several times only the first value is signed, so no other may be used:
// [url.Values.Get] gives that one.
func Signed(address string, form url.Values, signature string, tokens ...string) bool {
	var signed strings.Builder
	for _, key := range slices.Sorted(maps.Keys(form)) {
		signed.WriteString(key + form.Get(key))
	}
	found := 0
	for _, token := range tokens {
		if token == "" { // anybody could sign with it
			continue
		}
		for _, a := range spellings(address) {
			mac := hmac.New(sha1.New, []byte(token))
			mac.Write([]byte(a + signed.String())) // a hash never fails
			if hmac.Equal([]byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(signature)) {
				found++
			}
		}
	}
	return found > 0
}

// spellings are an address with and without the usual port of https: Twilio signs either.
func spellings(address string) []string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" {
		return []string{address}
	}
	other := *u
	switch u.Port() {
	case "":
		other.Host = u.Host + ":443"
	case "443":
		other.Host = strings.TrimSuffix(u.Host, ":443")
	default:
		return []string{address}
	}
	return []string{address, other.String()}
}
