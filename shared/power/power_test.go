package power

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// recorded are the statuses of testdata/recorded.csv by situation.
func recorded(t testing.TB) map[string]Status {
	t.Helper()
	f, err := os.Open("testdata/recorded.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Status{}
	for _, row := range rows {
		flags, err := strconv.ParseUint(row[1], 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		s := Status{Flags: Flags(flags), OnBatteryAt: row[5], LastTransfer: row[6]}
		if n, err := strconv.Atoi(row[2]); err == nil {
			s.Transfers = &n
		}
		if v, err := strconv.ParseFloat(row[3], 64); err == nil {
			s.Charge = new(v / 100)
		}
		if v, err := strconv.ParseFloat(row[4], 64); err == nil {
			s.Runtime = new(Seconds(v * 60))
		}
		all[row[0]] = s
	}
	return all
}

func TestU6_ImpossibleValuesAreRefused(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	bad := map[string]Status{
		"charge 250 %":       {Charge: new(2.5)},
		"charge below 0":     {Charge: new(-0.01)},
		"charge NaN":         {Charge: &nan},
		"charge infinite":    {Charge: &inf},
		"negative runtime":   {Runtime: new(Seconds(-1))},
		"runtime NaN":        {Runtime: new(Seconds(nan))},
		"runtime of a month": {Runtime: new(Seconds(30 * 24 * 3600))},
		"load 400 %":         {Load: new(4.0)},
		"negative volts":     {LineVolts: new(-1.0)},
		"negative transfers": {Transfers: new(-1)},
		"negative staleness": {Stale: new(Seconds(-1))},
		"limits":             {LimitCharge: new(1.5)},
		"limit of runtime":   {LimitRuntime: new(Seconds(inf))},
		"limit on battery":   {LimitBattery: new(Seconds(-5))},
	}
	for name, s := range bad {
		t.Run(name, func(t *testing.T) {
			if s.Validate() == nil {
				t.Error("accepted")
			}
			if (Reading{Status: s, Supply: Mains}).Validate() == nil {
				t.Error("accepted within a reading")
			}
		})
	}
	for name, s := range recorded(t) {
		if err := s.Validate(); err != nil {
			t.Errorf("recorded %s: %v", name, err)
		}
	}
	ok := Status{Charge: new(1.0), Runtime: new(Seconds(0)), Load: new(0.0), LineVolts: new(0.0), Transfers: new(0)}
	if err := ok.Validate(); err != nil {
		t.Errorf("a dead battery refused: %v", err)
	}
	most := Status{Charge: new(1.05), Runtime: new(Seconds(7 * 24 * 3600)), Load: new(3.0), LineVolts: new(1000.0)}
	if err := most.Validate(); err != nil {
		t.Errorf("the most that can be refused: %v", err)
	}
}

func TestU6_ImpossibleReadingsAreRefused(t *testing.T) {
	nan := Seconds(math.NaN())
	bad := map[string]Reading{
		"no supply":         {},
		"another supply":    {Supply: "steam"},
		"negative for":      {Supply: Battery, For: -1},
		"for is NaN":        {Supply: Battery, For: nan},
		"for of two years":  {Supply: Battery, For: 2 * maxFor},
		"negative low":      {Supply: Battery, LowFor: new(Seconds(-1))},
		"lost is NaN":       {Supply: Battery, LostFor: &nan},
		"lost is infinite":  {Supply: Battery, LostFor: new(Seconds(math.Inf(1)))},
		"impossible status": {Supply: Battery, Status: Status{Charge: new(2.5)}},
		"held charge 250 %": {Supply: Battery, Course: &Course{Charge: new(2.5)}},
		"held runtime NaN":  {Supply: Battery, Course: &Course{Runtime: &nan}},
		"negative estimate": {Supply: Battery, Course: &Course{Seen: new(Seconds(-1))}},
		"endless estimate":  {Supply: Battery, Course: &Course{Seen: new(Seconds(math.Inf(1)))}},
	}
	for name, r := range bad {
		if r.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, s := range []Supply{Unknown, Mains, Battery, SelfTest, Calibrates} {
		if err := (Reading{Supply: s, For: maxFor, LowFor: new(Seconds(0))}).Validate(); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// Unknown must stay unknown on its way through another machine.
func TestU6_AbsentIsNotZeroOnTheWire(t *testing.T) {
	b, err := json.Marshal(Reading{Supply: Battery, For: 1.5})
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"charge", "runtime", "lost", "low", "transfers", "stale", "limit", "course"} {
		if strings.Contains(string(b), absent) {
			t.Errorf("%s in %s", absent, b)
		}
	}
	var r Reading
	if err := json.Unmarshal([]byte(`{"supply":"battery","for_s":1.5,"runtime_s":0,"flags":16}`), &r); err != nil {
		t.Fatal(err)
	}
	if r.Runtime == nil || *r.Runtime != 0 || r.Charge != nil || r.For.Duration() != 1500*time.Millisecond || !r.Flags.Has(OnBattery) {
		t.Errorf("read back: %+v", r)
	}
}

func TestSpell(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                        "0 s",
		10 * time.Second:         "10 s",
		10400 * time.Millisecond: "10 s",
		119 * time.Second:        "119 s",
		2 * time.Minute:          "2 min",
		59 * time.Minute:         "59 min",
		time.Hour:                "1 h",
		61 * time.Minute:         "1 h 1 min",
		80 * time.Minute:         "1 h 20 min",
		25 * time.Hour:           "25 h",
	} {
		if got := Spell(d); got != want {
			t.Errorf("Spell(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestU6_ImpossibleNumbersAreLeftOut(t *testing.T) {
	nan := math.NaN()
	s := Status{Flags: OnBattery, Charge: &nan, Runtime: new(Seconds(math.Inf(1))), Load: new(9.0), LineVolts: new(-1.0), Transfers: new(-1),
		Stale: new(Seconds(-2)), LimitCharge: new(2.0), LimitRuntime: new(Seconds(-1)), LimitBattery: new(Seconds(nan)), LastTransfer: "x"}
	if got := s.Possible(); got != (Status{Flags: OnBattery, LastTransfer: "x"}) {
		t.Errorf("left: %+v", got)
	}
	for name, s := range recorded(t) {
		if s.Possible() != s {
			t.Errorf("recorded %s lost something", name)
		}
	}
	good := Status{Charge: new(0.5), Runtime: new(Seconds(-1))}
	if got := new(Tracker).Observe(time.Unix(0, 0), Status{Flags: OnBattery, Charge: good.Charge, Runtime: good.Runtime}); got.Charge == nil || got.Runtime != nil {
		t.Errorf("one bad number cost the others, or stayed: %+v", got)
	}
}
