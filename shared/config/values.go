package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a time written with its unit: 500ms, 20s, 1h30m, 14d. A day is 24 hours.
type Duration time.Duration

// Std returns the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String leaves out parts that are zero: 10m, not 10m0s.
func (d Duration) String() string {
	const day = 24 * time.Hour
	if std := time.Duration(d); std >= day && std%day == 0 {
		return fmt.Sprintf("%dd", std/day)
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText is the inverse of UnmarshalText.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText refuses numbers without a unit and negative durations.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return fmt.Errorf("%s has no unit; write %ss, %sm or %sh", s, s, s, s)
	}
	var days time.Duration
	rest := s
	if number, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 16) // at most 179 years: no overflow
		if err != nil {
			return fmt.Errorf("%q is no duration; write it such as 20s, 1h30m or 14d", s)
		}
		days, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			rest = "0s"
		}
	}
	parsed, err := time.ParseDuration(rest)
	switch {
	case err != nil || parsed+days < parsed:
		return fmt.Errorf("%q is no duration; write it such as 20s, 1h30m or 14d", s)
	case parsed < 0:
		return fmt.Errorf("%s is negative; write it without the minus", s)
	}
	*d = Duration(parsed + days)
	return nil
}

// Percent is a share written with its sign: 50%, from 0 to 100.
type Percent float64

// Ratio is the share of one: 50% is 0.5.
func (p Percent) Ratio() float64 { return float64(p) / 100 }

// String writes the sign.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// MarshalText is the inverse of UnmarshalText.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText refuses numbers without the sign, since 0.5 might mean either.
func (p *Percent) UnmarshalText(text []byte) error {
	s := string(text)
	number, ok := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no percentage; write it such as 50%%", s)
	case !ok:
		return fmt.Errorf("%s has no percent sign; write %s%%", s, s)
	case !(f >= 0 && f <= 100): // also NaN
		return fmt.Errorf("%s is out of range; 0%% to 100%%", s)
	}
	*p = Percent(f)
	return nil
}

// Bounded are the types that Bound compares.
type Bounded interface {
	~int | ~int64 | ~uint16 | ~uint32 | ~uint64 | ~float64
}

// Bound checks low <= v <= high for a value of the file; nil if it holds. Its messages are such as
// "2h is too long; at most 30m".
func Bound[T Bounded](f *File, path string, v, low, high T) error {
	small, large := "small", "large"
	if _, ok := any(v).(Duration); ok {
		small, large = "short", "long"
	}
	switch {
	case v < low:
		return f.Errorf(path, "%v is too %s; at least %v", v, small, low)
	case v > high:
		return f.Errorf(path, "%v is too %s; at most %v", v, large, high)
	case v != v:
		return f.Errorf(path, "is not a number")
	}
	return nil
}

// errNoCredentials tells a person what a relative name needs.
var errNoCredentials = errors.New("relative names are systemd credentials, but $CREDENTIALS_DIRECTORY is not set; add LoadCredential= to the unit, or write an absolute path")
