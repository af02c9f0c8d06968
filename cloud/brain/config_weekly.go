package brain

import (
	"fmt"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// Weekly is a moment of each week by the first site's clock, such as Mon 18:00; empty: never.
type Weekly string

// core is the moment as the core knows it; nil: never.
func (w Weekly) core() *sentinel.Weekly {
	day, clock, _ := strings.Cut(string(w), " ")
	t, err := time.Parse("15:04", clock)
	for d := time.Sunday; d <= time.Saturday && err == nil; d++ {
		if strings.EqualFold(day, d.String()[:3]) || strings.EqualFold(day, d.String()) {
			return &sentinel.Weekly{Day: d, At: time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute}
		}
	}
	return nil
}

// UnmarshalText refuses what is no day and time.
func (w *Weekly) UnmarshalText(text []byte) error {
	if *w = Weekly(text); *w != "" && w.core() == nil {
		return fmt.Errorf("%.40q is no moment of a week; write it such as Mon 18:00", text)
	}
	return nil
}

// Regular is a moment of each day or week by the first site's clock, such as daily 08:00 or Mon 08:00;
// empty: never.
type Regular string

// core is the moment as the core knows it; nil: never.
func (r Regular) core() *sentinel.Digest {
	clock, daily := strings.CutPrefix(string(r), "daily ")
	if daily {
		clock = "Mon " + clock
	}
	if w := Weekly(clock).core(); w != nil {
		return &sentinel.Digest{Daily: daily, Weekly: *w}
	}
	return nil
}

// UnmarshalText refuses what is no such moment.
func (r *Regular) UnmarshalText(text []byte) error {
	if *r = Regular(text); *r != "" && r.core() == nil {
		return fmt.Errorf("%.40q is no moment of a day or week; write it such as daily 08:00 or Mon 08:00", text)
	}
	return nil
}
