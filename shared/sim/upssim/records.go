package upssim

import (
	"fmt"
	"time"
)

const (
	version = "3.14.14 (31 May 2016) debian"
	// reg2Detached is the bit of REG2 that says that the battery is disconnected.
	reg2Detached = 0x20
)

// logText is what apcupsd writes into its log for an event.
func logText(event string) string {
	return map[string]string{
		"powerout":      "Power failure.",
		"onbattery":     "Running on UPS batteries.",
		"offbattery":    "Mains returned. No longer on UPS batteries.",
		"mainsback":     "Power is back. UPS running on mains.",
		"failing":       "Battery power exhausted.",
		"loadlimit":     "Battery charge below low limit.",
		"runlimit":      "Reached remaining time percentage limit on batteries.",
		"timeout":       "Reached run time limit on batteries.",
		"doshutdown":    "Initiating system shutdown!",
		"commfailure":   "Communications with UPS lost.",
		"commok":        "Communications with UPS restored.",
		"changeme":      "UPS battery must be replaced.",
		"battdetach":    "Battery disconnected.",
		"battattach":    "Battery reattached.",
		"startselftest": "UPS Self Test switch to battery.",
		"endselftest":   "UPS Self Test completed: Battery OK",
	}[event]
}

// stamp is a moment as apcupsd writes it, two blanks included.
func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05 -0700") + "  " }

func seconds(d time.Duration) string { return fmt.Sprintf("%d Seconds", int(d.Seconds())) }

// sheet collects the records of an answer.
type sheet struct {
	garbage map[string]string // values that replace the right ones, by key
	lines   []string
	size    int
}

func (s *sheet) add(key, format string, args ...any) {
	value := fmt.Sprintf(format, args...)
	if v, ok := s.garbage[key]; ok {
		value = v
	}
	line := fmt.Sprintf("%-9s: %s\n", key, value)
	s.lines = append(s.lines, line)
	s.size += len(line)
}

// records are the answer to "status", header first.
func (d *daemon) records(now time.Time, garbage map[string]string) []string {
	s := &sheet{garbage: garbage}
	if d.knows == knowsAlerts {
		s.garbage = unreadValues()
		for k, v := range garbage {
			s.garbage[k] = v
		}
	}
	d.addHead(s, now)
	d.addNow(s)
	d.addTransfers(s, now)
	d.addFixed(s)
	s.add("END APC", "%s", stamp(now))
	header := fmt.Sprintf("%-9s: 001,%03d,%04d\n", "APC", len(s.lines), s.size)
	return append([]string{header}, s.lines...)
}

func (d *daemon) addHead(s *sheet, now time.Time) {
	cable, driver, date := "Custom Cable Smart", "APC Smart UPS (any)", d.date
	if d.cfg.Slave {
		cable, driver = "Ethernet Link", "NETWORK UPS Driver"
	}
	if d.knows == knowsNothing {
		date = now
	}
	s.add("DATE", "%s", stamp(date))
	s.add("HOSTNAME", "sim")
	s.add("VERSION", version)
	s.add("UPSNAME", "%s", d.cfg.Name)
	s.add("CABLE", "%s", cable)
	s.add("DRIVER", "%s", driver)
	s.add("UPSMODE", "Stand Alone")
	s.add("STARTTIME", "%s", stamp(d.started))
	if d.cfg.Slave {
		s.add("MASTERUPD", "%s", stamp(date))
		s.add("MASTER", "127.0.0.1:3551")
	}
	if d.knows > knowsNothing {
		s.add("MODEL", "FAKE Smart-UPS 1500")
	}
	s.add("STATUS", "%s", d.status())
}

// addNow adds what the unit said when it was last read, and the limits among it.
func (d *daemon) addNow(s *sheet) {
	known, own := d.knows > knowsNothing, d.knows > knowsNothing && !d.cfg.Slave
	if known {
		s.add("LINEV", "%.1f Volts", d.read.volts())
		s.add("LOADPCT", "18.2 Percent")
		s.add("BCHARGE", "%.1f Percent", d.read.charge)
		s.add("TIMELEFT", "%.1f Minutes", d.read.runtime.Minutes())
	}
	s.add("MBATTCHG", "%.0f Percent", d.cfg.Limits.Charge)
	s.add("MINTIMEL", "%.0f Minutes", d.cfg.Limits.Runtime.Minutes())
	s.add("MAXTIME", "%s", seconds(d.cfg.Limits.OnBattery))
	if known {
		s.add("MAXLINEV", "%.1f Volts", d.read.volts())
		s.add("MINLINEV", "%.1f Volts", d.read.volts())
		s.add("OUTPUTV", "230.4 Volts")
		s.add("SENSE", "High")
	}
	if own {
		s.add("DWAKE", "0 Seconds")
		s.add("DSHUTD", "90 Seconds")
	}
	if known {
		s.add("DLOWBATT", "%.0f Minutes", lowRuntime.Minutes())
		s.add("LOTRANS", "208.0 Volts")
		s.add("HITRANS", "253.0 Volts")
		s.add("RETPCT", "0.0 Percent")
		s.add("ITEMP", "29.0 C")
	}
	if own {
		s.add("ALARMDEL", "5 Seconds")
	}
	if known {
		s.add("BATTV", "27.3 Volts")
		s.add("LINEFREQ", "50.0 Hz")
	}
}

func (d *daemon) addTransfers(s *sheet, now time.Time) {
	if d.knows == knowsAll {
		s.add("LASTXFER", "%s", d.lastXfer)
	}
	s.add("NUMXFERS", "%d", d.transfers)
	var running time.Duration
	if d.phase != onMains {
		running = now.Sub(d.on)
	}
	if !d.on.IsZero() {
		s.add("XONBATT", "%s", stamp(d.on))
	}
	s.add("TONBATT", "%s", seconds(running))
	s.add("CUMONBATT", "%s", seconds(d.total+running))
	if d.off.IsZero() {
		s.add("XOFFBATT", "N/A")
	} else {
		s.add("XOFFBATT", "%s", stamp(d.off))
	}
	if !d.tested.IsZero() && !d.cfg.Slave {
		s.add("LASTSTEST", "%s", stamp(d.tested))
	}
	if d.knows == knowsAll {
		s.add("SELFTEST", "%s", d.read.result)
	}
}

func (d *daemon) addFixed(s *sheet) {
	known, own := d.knows > knowsNothing, d.knows > knowsNothing && !d.cfg.Slave
	if own {
		s.add("STESTI", "336")
	}
	s.add("STATFLAG", "0x%08X", d.flags())
	if own {
		reg2 := 0
		if d.knows == knowsAll && !d.read.attached {
			reg2 |= reg2Detached
		}
		s.add("DIPSW", "0x00")
		s.add("REG1", "0x00")
		s.add("REG2", "0x%02X", reg2)
		s.add("REG3", "0x00")
		s.add("MANDATE", "01/02/24")
	}
	if known {
		s.add("SERIALNO", "AS0000000001")
		s.add("BATTDATE", "01/02/24")
		s.add("NOMOUTV", "230 Volts")
		s.add("NOMBATTV", "24.0 Volts")
		s.add("FIRMWARE", "654.18.I")
	}
}

// unreadValues are what apcupsd answers while it has read nothing but the list of
// commands that the unit knows.
func unreadValues() map[string]string {
	return map[string]string{
		"MODEL": "", "SERIALNO": "", "MANDATE": "", "BATTDATE": "", "FIRMWARE": "",
		"LINEV": "0.0 Volts", "MAXLINEV": "0.0 Volts", "MINLINEV": "0.0 Volts", "OUTPUTV": "0.0 Volts",
		"LOADPCT": "0.0 Percent", "BCHARGE": "0.0 Percent", "TIMELEFT": "0.0 Minutes",
		"SENSE": "Unknown", "DWAKE": "-1 Seconds", "DSHUTD": "-1 Seconds", "DLOWBATT": "-1 Minutes",
		"LOTRANS": "-1.0 Volts", "HITRANS": "-1.0 Volts", "RETPCT": "-1.0 Percent", "ITEMP": "0.0 C",
		"ALARMDEL": "Always", "BATTV": "0.0 Volts", "LINEFREQ": "0.0 Hz", "STESTI": "-1",
		"NOMOUTV": "-1 Volts", "NOMBATTV": "0.0 Volts",
	}
}
