package upssim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read reads records up to the one of length 0.
func read(r io.Reader) ([]string, error) {
	var lines []string
	for {
		var n uint16
		if err := binary.Read(r, binary.BigEndian, &n); err != nil {
			return lines, err
		}
		if n == 0 {
			return lines, nil
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return lines, err
		}
		lines = append(lines, string(b))
	}
}

func ask(t *testing.T, addr, command string) ([]string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "\x00%c%s", len(command), command)
	return read(c)
}

func keys(lines []string) []string {
	var k []string
	for _, l := range lines {
		key, _, _ := strings.Cut(l, ":")
		k = append(k, key)
	}
	return k
}

func value(lines []string, key string) string {
	for _, l := range lines {
		if k, v, _ := strings.Cut(l, ":"); strings.TrimSpace(k) == key {
			return v
		}
	}
	return "absent"
}

// serve runs a UPS on loopback until the test ends.
func serve(t *testing.T, cfg Config) (*UPS, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return u, ln.Addr().String()
}

func TestProtocol(t *testing.T) {
	_, addr := serve(t, Config{})
	if lines, err := ask(t, addr, "nonsense"); err != nil || !slices.Equal(lines, []string{"Invalid command\n"}) {
		t.Errorf("nonsense: %q, %v", lines, err)
	}
	lines, err := ask(t, addr, "events")
	if err != nil || len(lines) != 1 || !strings.HasSuffix(lines[0], "startup succeeded\n") {
		t.Errorf("events: %q, %v", lines, err)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for range 2 { // several on one connection
		fmt.Fprint(c, "\x00\x06status")
		if lines, err := read(c); err != nil || value(lines, "STATUS") != " ONLINE \n" {
			t.Fatalf("status: %q, %v", lines, err)
		}
	}
}

func TestFaults(t *testing.T) {
	u, addr := serve(t, Config{})
	u.SetFaults(Faults{CutAfter: 7})
	if lines, err := ask(t, addr, "status"); !errors.Is(err, io.EOF) || len(lines) != 7 {
		t.Errorf("cut: %d records, %v", len(lines), err)
	}
	u.SetFaults(Faults{Oversize: true})
	if lines, err := ask(t, addr, "status"); err != nil || len(lines[len(lines)-1]) != 300 {
		t.Errorf("oversize: %v, %v", lines, err)
	}
	u.SetFaults(Faults{BadHeader: true})
	if lines, err := ask(t, addr, "status"); err != nil || !strings.Contains(lines[0], "001,051,") {
		t.Errorf("header: %v, %v", lines, err)
	}
	u.SetFaults(Faults{Garbage: map[string]string{"LINEV": "N/A"}})
	if lines, err := ask(t, addr, "status"); err != nil || value(lines, "LINEV") != " N/A\n" {
		t.Errorf("garbage: %v, %v", lines, err)
	}

	u.SetFaults(Faults{Hang: true})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "\x00\x06status")
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
}

func TestDaemonDownRefuses(t *testing.T) {
	u, addr := serve(t, Config{})
	if _, err := ask(t, addr, "status"); err != nil {
		t.Fatal(err)
	}
	if err := u.Daemon(false); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("connected to an apcupsd that is down")
	}
	u.Plug(false)
	if err := u.Daemon(true); err != nil {
		t.Fatal(err)
	}
	lines, err := ask(t, addr, "status")
	if err != nil || value(lines, "STATFLAG") != " 0x05000000\n" || len(lines) != 19 {
		t.Errorf("after a start: %q, %v", lines, err)
	}
}

// TestEvents runs the life of a UPS in a bubble: the events and their times.
func TestEvents(t *testing.T) {
	cases := []struct {
		name  string
		drive func(u *UPS)
		want  []string
	}{
		{"blip", func(u *UPS) { u.Plug(false); time.Sleep(2 * time.Second); u.Plug(true) },
			[]string{"0s powerout", "2s mainsback"}},
		{"outage", func(u *UPS) { u.Plug(false); time.Sleep(20 * time.Second); u.Plug(true) },
			[]string{"0s powerout", "6s onbattery", "20s offbattery", "20s mainsback"}},
		{"self-test", func(u *UPS) { u.SelfTest(12 * time.Second); time.Sleep(20 * time.Second) },
			[]string{"0s startselftest", "12s endselftest"}},
		{"outage in a self-test", func(u *UPS) { u.SelfTest(9 * time.Second); u.Plug(false); time.Sleep(50 * time.Second) },
			[]string{"0s startselftest", "40s onbattery"}},
		{"low for 5 s", func(u *UPS) { u.Plug(false); time.Sleep(7 * time.Second); u.Low(true); time.Sleep(9 * time.Second) },
			[]string{"0s powerout", "6s onbattery", "12s failing", "12s doshutdown"}},
		{"low before it", func(u *UPS) { u.Low(true); time.Sleep(9 * time.Second); u.Plug(false); time.Sleep(9 * time.Second) },
			[]string{"9s powerout", "9s failing", "9s doshutdown"}},
		{"contact lost over the return of the mains", func(u *UPS) {
			u.Plug(false)
			time.Sleep(time.Second)
			u.CommLost(true)
			u.Plug(true)
			time.Sleep(time.Minute)
			u.CommLost(false)
		}, []string{"0s powerout", "1s commfailure", "1m1s commok", "1m1s mainsback"}},
		{"restart on battery", func(u *UPS) {
			u.Plug(false)
			time.Sleep(7 * time.Second)
			u.Daemon(false)
			time.Sleep(time.Second)
			u.Daemon(true)
			time.Sleep(9 * time.Second)
		}, []string{"0s powerout", "6s onbattery", "9.5s powerout", "15.5s onbattery"}},
		{"runtime limit", func(u *UPS) { u.SetRuntime(4 * time.Minute); u.Plug(false); time.Sleep(61 * time.Second) },
			[]string{"0s powerout", "6s onbattery", "1m0s runlimit", "1m0s doshutdown"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var got []string
				u := New(Config{
					OnEvent: func(e string) { got = append(got, fmt.Sprintf("%v %s", time.Since(start), e)) },
					Listen:  func() (net.Listener, error) { return newIdle(), nil },
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- u.Serve(ctx, newIdle()) }()
				synctest.Wait()
				c.drive(u)
				synctest.Wait()
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// idle is a listener that nobody calls.
type idle struct {
	once   sync.Once
	closed chan struct{}
}

func newIdle() *idle { return &idle{closed: make(chan struct{})} }

func (l *idle) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l *idle) Close() error              { l.once.Do(func() { close(l.closed) }); return nil }
func (l *idle) Addr() net.Addr            { return &net.UnixAddr{Name: "idle", Net: "idle"} }

func TestBatteryDrainsAndCharges(t *testing.T) {
	clk := &clock{now: time.Unix(0, 0)}
	u := New(Config{Now: clk.Now, Runtime: 40 * time.Minute, Recharge: 2 * time.Hour})
	u.Plug(false)
	clk.forward(10 * time.Minute)
	s := u.State()
	if s.Runtime != 30*time.Minute || s.Charge < 74.9 || s.Charge > 75.1 || !s.OnBattery {
		t.Errorf("after 10 of 40 min: %+v", s)
	}
	clk.forward(29 * time.Minute)
	if s := u.State(); s.Flags&flagLowBattery == 0 || s.Flags&flagShutdown == 0 || !s.Output {
		t.Errorf("a minute before the end: %+v", s)
	}
	clk.forward(2 * time.Minute)
	if s := u.State(); s.Runtime != 0 || s.Charge != 0 || s.Output {
		t.Errorf("after the end: %+v", s)
	}
	u.Plug(true)
	clk.forward(time.Hour)
	if s := u.State(); s.Charge < 49 || s.Charge > 51 || s.Runtime < 19*time.Minute || s.Runtime > 21*time.Minute || !s.Output {
		t.Errorf("half charged: %+v", s)
	}
	clk.forward(24 * time.Hour)
	if s := u.State(); s.Charge != 100 || s.Runtime != 40*time.Minute {
		t.Errorf("full: %+v", s)
	}
}

func TestEdgeSeesWhatWasAnswered(t *testing.T) {
	edge := make(chan Answered, 2)
	u, addr := serve(t, Config{Edge: func(a Answered) { edge <- a }})
	u.Plug(false)
	if _, err := ask(t, addr, "status"); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-edge:
		if a.Flags != 0x05040010 || a.Status != "ONBATT" || a.At.IsZero() {
			t.Errorf("edge: %+v", a)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the edge saw nothing")
	}
}
