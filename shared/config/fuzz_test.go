package config

import (
	"path/filepath"
	"strings"
	"testing"
)

// FuzzDuration: what is read is not negative, and is read the same when it is written.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"20s", "1h30m", "14d", "1d12h", "-5s", "-0s", "5", "1e3s", "9223372036854775807ns", "65535d", "106751d23h", "0.1ns", "d", "1d1d", "1d-1h", "+5s", "1d+0s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d, again Duration
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		out, err := d.MarshalText()
		if err != nil || d < 0 {
			t.Fatalf("%q is %v, %v", text, d, err)
		}
		if err := again.UnmarshalText(out); err != nil || again != d {
			t.Errorf("%q is written as %q, which is %v: %v", text, out, again, err)
		}
	})
}

// FuzzPercent: what is read lies between 0 and 100, and is read the same when it is written.
func FuzzPercent(f *testing.F) {
	for _, s := range []string{"50%", "0.1%", "1e2%", "0x1p3%", "NaN%", "inf%", "-0%", "100.0000001%", "50", "%", "1_0%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p, again Percent
		if p.UnmarshalText([]byte(text)) != nil {
			return
		}
		out, err := p.MarshalText()
		if err != nil || !(p.Ratio() >= 0 && p.Ratio() <= 1) {
			t.Fatalf("%q is %v, %v", text, p, err)
		}
		if err := again.UnmarshalText(out); err != nil || again != p {
			t.Errorf("%q is written as %q, which is %v: %v", text, out, again, err)
		}
	})
}

// FuzzSecretName: a secret is a credential's bare name or an absolute path, so that no
// name leads out of the credentials.
func FuzzSecretName(f *testing.F) {
	for _, s := range []string{"twilio-secret", "/etc/x", "../x", "a/b", ".", "..", "", "a\x00b", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, err := NewSecret(name)
		if err != nil {
			return
		}
		inside := filepath.Dir(filepath.Join("/run/credentials/x", s.Name())) == "/run/credentials/x"
		if !filepath.IsAbs(s.Name()) && !inside || s.IsZero() || !strings.Contains(s.String(), s.Name()) {
			t.Errorf("%q is %v", name, s)
		}
	})
}
