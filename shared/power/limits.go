package power

import (
	"fmt"
	"strings"
	"time"
)

// Early says which of apcupsd's own limits shut the machine that it runs on down before a plan
// that needs so long is through, and what its configuration should say instead. Empty: none, as
// far as apcupsd tells them.
func (p Policy) Early(s Status, need time.Duration) (why, instead string) {
	var whys, lines []string
	add := func(line, format string, args ...any) {
		whys, lines = append(whys, fmt.Sprintf(format, args...)), append(lines, line)
	}
	if c := s.LimitCharge; c != nil && *c >= p.ChargeFloor {
		add("BATTERYLEVEL 3", "at %.0f %% charge, and the plan may begin only at %.0f %%", *c*100, p.ChargeFloor*100)
	}
	if r := s.LimitRuntime; r != nil && r.Duration() >= p.RuntimeMargin {
		add("MINUTES 1", "with %s left, and the plan ends with %s", Spell(r.Duration()), Spell(p.RuntimeMargin))
	}
	if b := s.LimitBattery; b != nil && *b > 0 && b.Duration() <= p.RideThrough+need {
		add("TIMEOUT 0", "after %s on battery, and the plan ends after %s", Spell(b.Duration()), Spell(p.RideThrough+need))
	}
	return strings.Join(whys, "; "), strings.Join(lines, ", ")
}
