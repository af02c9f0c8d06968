package twilio

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/url"
	"sort"
	"strings"
	"testing"

	official "github.com/twilio/twilio-go/client"
	"pgregory.net/rapid"
)

// sign signs as Twilio's guide describes it: the address, then each key and its value, by key.
func sign(address, token string, form url.Values) string {
	keys := make([]string, 0, len(form))
	for k := range form {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		address += k + form[k][0]
	}
	mac := hmac.New(sha1.New, []byte(token))
	_, _ = io.WriteString(mac, address) // a hash never fails
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// TestC3_DocumentedSignature is the example of Twilio's security guide.
func TestC3_DocumentedSignature(t *testing.T) {
	const address, token, signed = "https://mycompany.com/myapp.php?foo=1&bar=2", "12345", "RSOYDt4T1cUTdK1PDd93/VVr8B8="
	form := url.Values{"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"}}
	if !Signed(address, form, signed, token) {
		t.Error("the documented signature is refused")
	}
	for name, wrong := range map[string]bool{
		"another token":     Signed(address, form, signed, "54321"),
		"no token":          Signed(address, form, signed),
		"an empty token":    Signed(address, form, sign(address, "", form), ""),
		"another address":   Signed(strings.Replace(address, "foo=1", "foo=2", 1), form, signed, token),
		"no signature":      Signed(address, form, "", token),
		"half a signature":  Signed(address, form, signed[:20], token),
		"another key":       Signed(address, url.Values{"CallSid": form["CallSid"], "Caller": form["Caller"], "Digits": {"2"}, "From": form["From"], "To": form["To"]}, signed, token),
		"one more key":      Signed(address, url.Values{"CallSid": form["CallSid"], "Caller": form["Caller"], "Digits": form["Digits"], "From": form["From"], "To": form["To"], "X": {"1"}}, signed, token),
		"plain http for it": Signed(strings.Replace(address, "https", "http", 1), form, signed, token),
	} {
		if wrong {
			t.Errorf("%s: it is taken for signed", name)
		}
	}
	if !Signed(address, form, signed, "new", token) {
		t.Error("the older of two tokens is refused")
	}
	twice := url.Values{}
	for k, v := range form {
		twice[k] = append([]string{v[0]}, "9")
	}
	if !Signed(address, twice, signed, token) || twice.Get("Digits") != "1234" {
		t.Error("a repeated key counts by another value than its first")
	}
}

// TestC3_SignedAsTheOfficialLibrarySays, whatever the form, the port and the token.
func TestC3_SignedAsTheOfficialLibrarySays(t *testing.T) {
	word := rapid.StringMatching(`[A-Za-z0-9 +é&=%/_.-]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		address := "https://brain.example.ts.net" + rapid.SampledFrom([]string{"", ":443", ":8443", ":10000"}).Draw(t, "port") + "/calls/" +
			rapid.StringMatching(`[a-z0-9]{8}`).Draw(t, "path") + rapid.SampledFrom([]string{"", "?step=1"}).Draw(t, "query")
		form := url.Values(rapid.MapOf(rapid.StringMatching(`[A-Za-z]{1,8}`), rapid.SliceOfN(word, 1, 2)).Draw(t, "form"))
		token := rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "token")
		by := rapid.SampledFrom([]string{token, "another"}).Draw(t, "signed by")
		to := rapid.SampledFrom(append(spellings(address), "https://other.example/")).Draw(t, "signed for")
		got := sign(to, by, form)
		validator := official.NewRequestValidator(token)
		if want := validator.ValidateBody(address, []byte(form.Encode()), got); Signed(address, form, got, token) != want {
			t.Fatalf("%q with %v signed %q: the library says %v", address, form, got, want)
		}
	})
}
