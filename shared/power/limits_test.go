package power

import (
	"testing"
	"time"
)

// TestG7_LimitsOfApcupsdThatAreTooEarly names each limit that ends before the plan does.
func TestG7_LimitsOfApcupsdThatAreTooEarly(t *testing.T) {
	ratio := func(v float64) *float64 { return &v }
	span := func(v Seconds) *Seconds { return &v }
	for _, c := range []struct {
		s            Status
		why, instead string
	}{
		{Status{}, "", ""},
		{Status{LimitCharge: ratio(0.03), LimitRuntime: span(60), LimitBattery: span(0)}, "", ""},
		{Status{LimitCharge: ratio(0.05), LimitRuntime: span(180), LimitBattery: span(0)}, "with 3 min left, and the plan ends with 2 min", "MINUTES 1"},
		{Status{LimitCharge: ratio(0.2)}, "at 20 % charge, and the plan may begin only at 20 %", "BATTERYLEVEL 3"},
		{Status{LimitBattery: span(130)}, "after 2 min on battery, and the plan ends after 2 min", "TIMEOUT 0"},
		{Status{LimitBattery: span(131)}, "", ""},
		{Status{LimitCharge: ratio(0.5), LimitRuntime: span(600)}, "at 50 % charge, and the plan may begin only at 20 %; with 10 min left, and the plan ends with 2 min", "BATTERYLEVEL 3, MINUTES 1"},
	} {
		if why, instead := DefaultPolicy().Early(c.s, 2*time.Minute); why != c.why || instead != c.instead {
			t.Errorf("%+v: %q, %q", c.s, why, instead)
		}
	}
}
