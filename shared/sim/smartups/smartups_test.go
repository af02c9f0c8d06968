package smartups

import (
	"bufio"
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is apcupsd's end of the terminal.
type line struct {
	t *testing.T
	f *os.File
	r *bufio.Reader
}

func connect(t *testing.T) (*UPS, line) {
	t.Helper()
	u, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	fd, err := syscall.Open(u.Device(), syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), u.Device())
	t.Cleanup(func() {
		f.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return u, line{t, f, bufio.NewReader(f)}
}

func (l line) ask(c byte, want string) {
	l.t.Helper()
	l.f.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := l.f.Write([]byte{c}); err != nil {
		l.t.Fatal(err)
	}
	if got, err := l.r.ReadString('\n'); err != nil || got != want+"\r\n" {
		l.t.Errorf("%q: answered %q, %v; want %q", c, got, err, want)
	}
}

func (l line) hear(want byte) {
	l.t.Helper()
	l.f.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := l.r.ReadByte(); err != nil || got != want {
		l.t.Errorf("heard %q, %v; want %q", got, err, want)
	}
}

func TestAnswers(t *testing.T) {
	u, l := connect(t)
	u.Plug(false) // nobody is told before smart mode
	u.Plug(true)
	l.ask('Y', "SM")
	l.ask('Q', "08")
	l.ask('G', "L")
	l.ask(0x01, "FAKE Smart-UPS 1500")
	l.ask('?', "NA")
	u.SetCharge(71)
	u.SetRuntime(19 * time.Minute)
	l.ask('f', "071.0")
	l.ask('j', "0019:")
	if u.OutputCut() {
		t.Error("the output is cut")
	}
	l.ask('S', "OK")
	if !u.OutputCut() {
		t.Error("the output is not cut")
	}
}

func TestAlerts(t *testing.T) {
	u, l := connect(t)
	l.ask('Y', "SM")
	u.Plug(false)
	l.hear('!')
	l.ask('Q', "10")
	l.ask('L', "000.0")
	u.LowBattery(true)
	l.hear('%')
	l.ask('Q', "50")
	u.LowBattery(false)
	l.hear('+')
	u.Plug(true)
	l.hear('$')
	u.SelfTest(true)
	l.hear('!')
	l.ask('G', "S")
	l.ask('L', "230.4")
	u.Plug(false) // no transfer: the reason stays
	l.ask('G', "S")
	u.SelfTest(false)
	u.Plug(true)
	l.hear('$')
}

func TestMuteSaysNothing(t *testing.T) {
	u, l := connect(t)
	l.ask('Y', "SM")
	u.Mute(true)
	u.Plug(false)
	if _, err := l.f.Write([]byte("Q")); err != nil {
		t.Fatal(err)
	}
	l.f.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if c, err := l.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a mute unit said %q, %v", c, err)
	}
	u.Mute(false)
	l.ask('Q', "10")
}
