package ups

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mdlayher/apcupsd"

	"sentinel.home.arpa/shared/power"
)

var errNoFlags = errors.New("the answer has no STATFLAG")

const (
	// unitBits are the bits of STATFLAG that come from the unit itself.
	unitBits = power.Flags(0xff)
	// longestText is what is kept of a text, in runes.
	longestText = 100
	stampLayout = "2006-01-02 15:04:05 -0700"
)

// status makes a status of a complete answer. The library reads it; when one bad
// field makes the library give up, the fields are read one by one.
func (a answer) status() (power.Status, error) {
	f := a.fields()
	flags, err := parseFlags(f)
	if err != nil {
		return power.Status{}, err
	}
	var s power.Status
	if lib, err := viaLibrary(a.raw); err == nil {
		s = fromLibrary(lib, f)
	} else {
		s = fromFields(f)
	}
	s.Flags = flags
	if unread(f, s) {
		return power.Status{Flags: flags &^ unitBits, LimitCharge: s.LimitCharge,
			LimitRuntime: s.LimitRuntime, LimitBattery: s.LimitBattery}, nil
	}
	s.LastTransfer = text(f["LASTXFER"])
	s.OnBatteryAt = text(f["XONBATT"])
	s.SelfTest = text(f["SELFTEST"])
	s.Model = text(f["MODEL"])
	return s.Possible(), nil
}

// unread recognises the answers of an apcupsd that has just started: for up to two
// seconds on a serial unit it says ONLINE REPLACEBATT, charge 0, runtime 0, also on
// battery, since it takes the unit's list of alerts for alerts. They say nothing, and
// must neither end an outage nor ask for a new battery.
func unread(f map[string]string, s power.Status) bool {
	model, hasModel := f["MODEL"]
	_, hasTransfer := f["LASTXFER"]
	return hasModel && model == "" && !hasTransfer &&
		s.Charge != nil && *s.Charge == 0 && s.Runtime != nil && *s.Runtime == 0
}

// viaLibrary lets the library parse an answer from memory. It panics on a record of
// over 256 bytes; none is let through, but a parser of outside bytes may not end us.
func viaLibrary(raw []byte) (s *apcupsd.Status, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("parse the answer: %v", r)
		}
	}()
	return apcupsd.New(fromMemory{bytes.NewReader(raw)}).Status()
}

// fromMemory takes the library's request and gives it what was already read.
type fromMemory struct{ io.Reader }

func (fromMemory) Write(b []byte) (int, error) { return len(b), nil }
func (fromMemory) Close() error                { return nil }

func fromLibrary(lib *apcupsd.Status, f map[string]string) power.Status {
	ratio := func(key string, percent float64) *float64 { return present(f, key, percent/100) }
	span := func(key string, d time.Duration) *power.Seconds { return present(f, key, power.InSeconds(d)) }
	s := power.Status{
		Charge:       ratio("BCHARGE", lib.BatteryChargePercent),
		Runtime:      span("TIMELEFT", lib.TimeLeft),
		Load:         ratio("LOADPCT", lib.LoadPercent),
		LineVolts:    present(f, "LINEV", lib.LineVoltage),
		Transfers:    present(f, "NUMXFERS", lib.NumberTransfers),
		LimitCharge:  ratio("MBATTCHG", lib.MinimumBatteryChargePercent),
		LimitRuntime: span("MINTIMEL", lib.MinimumTimeLeft),
		LimitBattery: span("MAXTIME", lib.MaximumTime),
	}
	if !lib.Date.IsZero() && !lib.EndAPC.IsZero() {
		s.Stale = new(power.InSeconds(lib.EndAPC.Sub(lib.Date)))
	}
	return s
}

func present[T any](f map[string]string, key string, v T) *T {
	if _, ok := f[key]; !ok {
		return nil
	}
	return &v
}

func fromFields(f map[string]string) power.Status {
	s := power.Status{
		Charge:       percent(f["BCHARGE"]),
		Runtime:      span(f["TIMELEFT"]),
		Load:         percent(f["LOADPCT"]),
		LineVolts:    number(f["LINEV"]),
		LimitCharge:  percent(f["MBATTCHG"]),
		LimitRuntime: span(f["MINTIMEL"]),
		LimitBattery: span(f["MAXTIME"]),
	}
	if n, err := strconv.Atoi(f["NUMXFERS"]); err == nil {
		s.Transfers = &n
	}
	date, err1 := time.Parse(stampLayout, f["DATE"])
	end, err2 := time.Parse(stampLayout, f["END APC"])
	if err1 == nil && err2 == nil {
		s.Stale = new(power.InSeconds(end.Sub(date)))
	}
	return s
}

func parseFlags(f map[string]string) (power.Flags, error) {
	v, ok := f["STATFLAG"]
	if !ok {
		return 0, errNoFlags
	}
	// Older versions add words to the number.
	word, _, _ := strings.Cut(v, " ")
	n, err := strconv.ParseUint(word, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("parse STATFLAG: %w", err)
	}
	return power.Flags(n), nil
}

// number reads "230.4 Volts". What is no number is nil.
func number(v string) *float64 {
	word, _, _ := strings.Cut(v, " ")
	n, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return nil
	}
	return &n
}

func percent(v string) *float64 {
	n := number(v)
	if n != nil {
		*n /= 100
	}
	return n
}

// span reads "19.0 Minutes", "1 Minute", "6 Seconds".
func span(v string) *power.Seconds {
	n := number(v)
	if n == nil {
		return nil
	}
	_, unit, _ := strings.Cut(v, " ")
	switch strings.TrimSuffix(strings.ToLower(unit), "s") {
	case "second":
	case "minute":
		*n *= 60
	case "hour":
		*n *= 3600
	default:
		return nil
	}
	return new(power.Seconds(*n))
}

// text keeps what can be shown. apcupsd writes N/A for what it does not know.
func text(v string) string {
	if v == "N/A" {
		return ""
	}
	v = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, v)
	if r := []rune(v); len(r) > longestText {
		v = string(r[:longestText])
	}
	return v
}
