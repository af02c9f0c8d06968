package smartups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// The bits of the answer to Q. They are the low byte of apcupsd's STATFLAG.
const (
	bitOnline     = 1 << 3
	bitOnBattery  = 1 << 4
	bitLowBattery = 1 << 6
)

// The alerts a unit sends by itself.
const (
	alertOnBattery  = '!'
	alertOnLine     = '$'
	alertBatteryLow = '%'
	alertBatteryOK  = '+'
)

// The answers to G: why the unit last went on battery.
const (
	whyNever    = "O"
	whyLowLine  = "L"
	whySelfTest = "S"
)

// UPS is a simulated unit. Its methods may be called from any goroutine; a change is
// announced to whoever listens on the terminal, as a real unit does.
type UPS struct {
	master, slave *os.File

	mu      sync.Mutex
	smart   bool // asked into smart mode; alerts are sent only then
	plugged bool
	testing bool
	low     bool
	mute    bool
	why     string
	result  string
	charge  float64
	runtime time.Duration
	cut     bool
	pace    time.Duration
}

// Open makes a unit on a new pseudo terminal: on mains, full, 42 minutes of runtime.
// It answers once Run is called.
func Open() (*UPS, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open a pseudo terminal: %w", err)
	}
	closed := func(err error) error { return errors.Join(err, master.Close(), slave.Close()) }
	// Raw before anyone opens it: an echo would be taken for answers.
	if _, err := term.MakeRaw(int(slave.Fd())); err != nil {
		return nil, closed(fmt.Errorf("set %s raw: %w", slave.Name(), err))
	}
	// Only a file made from a non-blocking descriptor ends its reads when it is closed.
	fd, err := syscall.Dup(int(master.Fd()))
	if err != nil {
		return nil, closed(fmt.Errorf("duplicate the terminal: %w", err))
	}
	if err := errors.Join(syscall.SetNonblock(fd, true), master.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("set the terminal up: %w", err), syscall.Close(fd), slave.Close())
	}
	return &UPS{
		master: os.NewFile(uintptr(fd), "pty"), slave: slave,
		plugged: true, why: whyNever, result: "OK",
		charge: 100, runtime: 42 * time.Minute,
	}, nil
}

// Device is the path of the terminal, for apcupsd's DEVICE.
func (u *UPS) Device() string { return u.slave.Name() }

// Run answers until ctx ends, then closes the terminal. It returns nil if ctx ended it.
func (u *UPS) Run(ctx context.Context) error {
	// The unit's own end of the slave stays open, so that the line does not hang up
	// while apcupsd restarts.
	defer u.slave.Close()
	stop := context.AfterFunc(ctx, func() { u.master.Close() })
	defer stop()
	buf := make([]byte, 64)
	for {
		n, err := u.master.Read(buf)
		for _, c := range buf[:n] {
			if werr := u.answer(ctx, c); werr != nil {
				err = werr
			}
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		default:
			return errors.Join(fmt.Errorf("read %s: %w", u.Device(), err), u.master.Close())
		}
	}
}

// Plug says whether the mains are there.
func (u *UPS) Plug(in bool) {
	u.change(func() {
		if u.plugged && !in && !u.testing {
			u.why = whyLowLine
		}
		u.plugged = in
	})
}

// SelfTest begins a test, for which the unit runs on its battery, or ends it.
func (u *UPS) SelfTest(on bool) {
	u.change(func() {
		if on && !u.testing && u.plugged {
			u.why = whySelfTest
		}
		u.testing = on
	})
}

// LowBattery says whether the unit calls its battery low.
func (u *UPS) LowBattery(low bool) { u.change(func() { u.low = low }) }

// Mute stops all answers and alerts, as a pulled cable does.
func (u *UPS) Mute(mute bool) { u.change(func() { u.mute = mute }) }

// SetCharge sets the charge in percent.
func (u *UPS) SetCharge(percent float64) { u.change(func() { u.charge = percent }) }

// SetRuntime sets how long the battery will last; the unit tells whole minutes.
func (u *UPS) SetRuntime(d time.Duration) { u.change(func() { u.runtime = d }) }

// Pace sets how long each character takes on the line: 4.2 ms at the 2400 baud of real
// units, with which apcupsd needs seconds for what it otherwise does at once. 0 is no
// time at all.
func (u *UPS) Pace(perCharacter time.Duration) { u.change(func() { u.pace = perCharacter }) }

// OutputCut reports whether the unit was told to cut its output (apcupsd's killpower).
func (u *UPS) OutputCut() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cut
}

// change applies a change and sends the alerts it causes.
func (u *UPS) change(apply func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, wasMute := u.bits(), u.mute
	apply()
	after := u.bits()
	if u.mute || wasMute || !u.smart {
		return
	}
	for _, a := range []struct {
		bit     int
		on, off byte
	}{
		{bitOnBattery, alertOnBattery, alertOnLine},
		{bitLowBattery, alertBatteryLow, alertBatteryOK},
	} {
		switch {
		case after&a.bit == before&a.bit:
		case after&a.bit != 0:
			u.send(string(a.on))
		default:
			u.send(string(a.off))
		}
	}
}

func (u *UPS) bits() int {
	b := bitOnline
	if !u.plugged || u.testing {
		b = bitOnBattery
	}
	if u.low {
		b |= bitLowBattery
	}
	return b
}

// send drops what cannot be sent: a serial line has nobody to tell, and Run's read
// reports a terminal that is gone.
func (u *UPS) send(s string) { _, _ = io.WriteString(u.master, s) }

func (u *UPS) answer(ctx context.Context, c byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mute {
		return nil
	}
	if c == 'Y' {
		u.smart = true
	}
	line := u.reply(c) + "\r\n"
	if u.pace > 0 {
		pace := time.Duration(1+len(line)) * u.pace
		u.mu.Unlock()
		wait(ctx, pace)
		u.mu.Lock()
	}
	if _, err := io.WriteString(u.master, line); err != nil {
		return fmt.Errorf("answer %q: %w", c, err)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (u *UPS) reply(c byte) string {
	switch c {
	case 'Y':
		return "SM"
	case 'Q':
		return fmt.Sprintf("%02X", u.bits())
	case 'G':
		return u.why
	case 'X':
		return u.result
	case 'j':
		return fmt.Sprintf("%04d:", int(u.runtime.Minutes()))
	case 'f':
		return fmt.Sprintf("%05.1f", u.charge)
	case 'L', 'M', 'N':
		if u.plugged {
			return "230.4"
		}
		return "000.0"
	case 'S', 'K', '@':
		u.cut = true
		return "OK"
	}
	if s, ok := fixed(c); ok {
		return s
	}
	return "NA"
}

// fixed are the answers that never change.
func fixed(c byte) (string, bool) {
	s, ok := map[byte]string{
		0x01: "FAKE Smart-UPS 1500",
		'a':  "3.!$%+?=#|.\x01789BCEFGKLMNOPQRSUVWXYZabcefgjklmnopqrsuxz~'",
		'V':  "FWD", 'b': "654.18.I", 'c': "SIMUPS", 'n': "AS0000000001", 'm': "01/02/24", 'x': "01/02/24",
		'7': "00", '8': "00", '9': "FF", '\'': "00", '~': "00",
		'B': "27.30", 'C': "029.0", 'F': "50.00", 'O': "230.4", 'P': "018.2",
		'E': "336", 'e': "00", 'g': "024", 'k': "0", 'l': "208", 'o': "230", 'p': "090", 'q': "02", 'r': "000",
		's': "H", 'u': "253",
	}[c]
	return s, ok
}
