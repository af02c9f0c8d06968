package config

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

// TestFormsAreThoseOfTheirExpressions compares what is matched by hand, for the agent's size,
// with the regular expressions that say the same.
func TestFormsAreThoseOfTheirExpressions(t *testing.T) {
	secret := regexp.MustCompile(`(?s)^(tskey-.*|[A-Z]{2}[0-9a-fA-F]{32}|[0-9a-fA-F]{32,}|(.*=)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)
	twilio := regexp.MustCompile(`^[0-9A-Za-z]{32}$`)
	digit := regexp.MustCompile(`[0-9]`)
	variable := regexp.MustCompile(`\$\{[^}]*\}?`)
	variableName := regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`)
	tab := regexp.MustCompile(`^ *\t`)
	parts := rapid.OneOf(
		rapid.StringMatching(`(tskey-|x=|[A-Z]{2})?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{11,13}`),
		rapid.StringMatching(`[A-Z]{1,3}[0-9a-fA-F]{31,33}`), rapid.StringMatching(`[0-9a-fA-Fg]{31,33}`), rapid.StringMatching(`[0-9A-Za-z-]{31,33}`),
		rapid.StringMatching(`tskey.?.*`), rapid.StringMatching(`( |a)*\t?.*`), rapid.StringMatching(`(\$|\$\{|\}|[A-Z_]{1,3}|[0-9 -]){0,9}`), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		s := parts.Draw(t, "text")
		if got, want := secretForm(s), secret.MatchString(s); got != want {
			t.Errorf("a secret's form: %t of %q", got, s)
		}
		if got, want := twilioSecret(s), twilio.MatchString(s) && digit.MatchString(s); got != want {
			t.Errorf("Twilio's form: %t of %q", got, s)
		}
		mark := func(ref string) string {
			if isVariable(ref) != variableName.MatchString(ref) {
				t.Errorf("a variable: %t of %q", isVariable(ref), ref)
			}
			return "<" + ref + ">"
		}
		if got, want := replaceVariables(s, mark), variable.ReplaceAllStringFunc(s, mark); got != want {
			t.Errorf("replaced to %q instead of %q", got, want)
		}
		if got, want := tabIndent([]byte(s)), tab.MatchString(s); got != want {
			t.Errorf("indented by a tab: %t of %q", got, s)
		}
	})
}
