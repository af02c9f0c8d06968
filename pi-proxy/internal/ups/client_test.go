package ups

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/sim/upssim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served answers every request with the same bytes, and then closes.
func served(raw []byte) *Client {
	return &Client{Addr: "ups", Timeout: 5 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if _, err := io.ReadFull(far, make([]byte, len(frame("status")))); err == nil {
				_, _ = far.Write(raw)
			}
		}()
		return near, nil
	}}
}

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".status.raw"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// want is what matters of a recorded situation.
type want struct {
	flags           power.Flags
	charge, runtime float64 // ratio and minutes; negative is unknown
	xfer            string
	transfers       int
	supply          power.Supply // to a tracker that knew nothing before
	lost            bool
}

func TestU1_RecordedSituations(t *testing.T) {
	const low, never, test = "Low line voltage", "No transfers since turnon", "Automatic or explicit self test"
	cases := map[string]want{
		"all_low_bits":             {0x0500007F, 0.71, 19, low, 0, power.Calibrates, false},
		"boost_online":             {0x0500000C, 1, 42, never, 0, power.Mains, false},
		"cal_onbatt":               {0x05040011, 1, 42, low, 1, power.Calibrates, false},
		"commlost_onbatt":          {0x05060110, 0.71, 19, low, 3, power.Unknown, true},
		"commlost_online":          {0x05000108, 0.71, 19, low, 3, power.Unknown, true},
		"commlost_since_start":     {0x05000100, -1, -1, "", 0, power.Unknown, true},
		"garbage_values":           {0x05000008, -1, -1, low, 0, power.Mains, false},
		"no_bits":                  {0x05000000, 0.71, 19, low, 0, power.Unknown, true},
		"onbatt":                   {0x05060010, 0.71, 19, low, 3, power.Battery, false},
		"onbatt_after_commlost":    {0x05060010, 0.71, 19, low, 3, power.Battery, false},
		"onbatt_lowbatt":           {0x05060050, 0.71, 19, low, 4, power.Battery, false},
		"onbatt_overload":          {0x05060030, 1, 42, low, 1, power.Battery, false},
		"online":                   {0x05000008, 1, 42, never, 0, power.Mains, false},
		"online_after_late_plug":   {0x05000008, 0.71, 19, low, 0, power.Mains, false},
		"online_after_outage":      {0x05000008, 0.71, 19, low, 3, power.Mains, false},
		"online_nobatt":            {0x01000008, 1, 42, never, 0, power.Mains, false},
		"online_overload":          {0x05000028, 1, 42, never, 0, power.Mains, false},
		"online_replacebatt":       {0x05000088, 1, 42, never, 0, power.Mains, false},
		"selftest_after":           {0x05000008, 1, 42, test, 2, power.Mains, false},
		"selftest_onbatt":          {0x05040010, 1, 42, test, 2, power.Battery, false},
		"shutting_down":            {0x05060250, 0.71, 19, low, 4, power.Battery, false},
		"shutting_down_commlost":   {0x05060350, 1, 42, low, 1, power.Unknown, true},
		"shutting_down_mains_back": {0x05000208, 0.71, 19, low, 4, power.Mains, false},
		"slave_online":             {0x05000408, 1, 42, low, 5, power.Mains, false},
		"trim_online":              {0x0500000A, 1, 42, never, 0, power.Mains, false},
		"starting_blank":           {0x05000000, -1, -1, "", 0, power.Unknown, true},
		"starting_unread_onbatt":   {0x05000000, -1, -1, "", -1, power.Unknown, true},
	}
	files, err := filepath.Glob("testdata/*.status.raw")
	if err != nil || len(files) != len(cases) {
		t.Fatalf("%d recordings (%v) and %d expectations", len(files), err, len(cases))
	}
	for name, w := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := served(recorded(t, name)).Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := want{flags: s.Flags, charge: -1, runtime: -1, transfers: -1, xfer: s.LastTransfer}
			if s.Charge != nil {
				got.charge = *s.Charge
			}
			if s.Runtime != nil {
				got.runtime = s.Runtime.Duration().Minutes()
			}
			if s.Transfers != nil {
				got.transfers = *s.Transfers
			}
			r := new(power.Tracker).Observe(time.Unix(0, 0), s)
			got.supply, got.lost = r.Supply, r.LostFor != nil
			if got != w {
				t.Errorf("got  %+v\nwant %+v", got, w)
			}
			if err := r.Validate(); err != nil {
				t.Errorf("an invalid reading: %v", err)
			}
		})
	}
}

func TestU1_AllFields(t *testing.T) {
	got, err := served(recorded(t, "onbatt")).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := power.Status{
		Flags: 0x05060010, Charge: new(0.71), Runtime: new(power.Seconds(19 * 60)), Load: new(0.182), LineVolts: new(0.0),
		LastTransfer: "Low line voltage", Transfers: new(3), OnBatteryAt: "2026-11-21 03:18:25 +0000",
		SelfTest: "OK", Model: "FAKE Smart-UPS 1500", Stale: new(power.Seconds(0)),
		LimitCharge: new(0.05), LimitRuntime: new(power.Seconds(180)), LimitBattery: new(power.Seconds(0)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s, err := served(recorded(t, "commlost_onbatt")).Status(t.Context()); err != nil || s.Stale == nil || *s.Stale != 23 {
		t.Errorf("frozen since 23 s: %+v, %v", s.Stale, err)
	}
}

// The library and the fields one by one must say the same, where both can.
func TestFieldsAgreeWithLibrary(t *testing.T) {
	files, err := filepath.Glob("testdata/*.status.raw")
	if err != nil {
		t.Fatal(err)
	}
	both := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a, err := readAnswer(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		lib, err := viaLibrary(a.raw)
		if err != nil {
			continue
		}
		both++
		f := a.fields()
		if diff := cmp.Diff(fromLibrary(lib, f).Possible(), fromFields(f).Possible()); diff != "" {
			t.Errorf("%s (-library +fields):\n%s", file, diff)
		}
	}
	if both < 20 {
		t.Errorf("the library read only %d recordings", both)
	}
}

// encode is an answer on the wire, with a right header unless lines bring their own.
func encode(lines ...string) []byte {
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "APC ") {
		lines = append([]string{fmt.Sprintf("APC      : 001,%03d,%04d\n", len(lines), size)}, lines...)
	}
	var b []byte
	for _, l := range lines {
		b = append(b, frame(l)...)
	}
	return append(b, 0, 0)
}

func TestU6_OneBadFieldCostsOnlyItself(t *testing.T) {
	const end = "END APC  : 2026-11-21 03:18:31 +0000  \n"
	cases := []struct {
		name  string
		lines []string
		want  power.Status
	}{
		{"no voltage", []string{"STATFLAG : 0x05060010\n", "LINEV    : N/A\n", "BCHARGE  : 71.0 Percent\n", end},
			power.Status{Charge: new(0.71)}},
		{"one minute", []string{"STATFLAG : 0x05060010\n", "TIMELEFT : 1 Minute\n", end},
			power.Status{Runtime: new(power.Seconds(60))}},
		{"an hour", []string{"STATFLAG : 0x05060010\n", "LINEV    : ?\n", "TIMELEFT : 1.5 Hours\n", end},
			power.Status{Runtime: new(power.Seconds(5400))}},
		{"no number at all", []string{"STATFLAG : 0x05060010\n", "BCHARGE  : \n", "TIMELEFT : soon\n", "NUMXFERS : many\n", end}, power.Status{}},
		{"infinite", []string{"STATFLAG : 0x05060010\n", "BCHARGE  : inf Percent\n", "TIMELEFT : inf Minutes\n", end}, power.Status{}},
		{"not a number", []string{"STATFLAG : 0x05060010\n", "BCHARGE  : nan Percent\n", "LOADPCT  : NaN Percent\n", "LINEV    : 230.0 Volts\n", end},
			power.Status{LineVolts: new(230.0)}},
		{"impossible", []string{"STATFLAG : 0x05060010\n", "BCHARGE  : 250.0 Percent\n", "TIMELEFT : -3.0 Minutes\n", "NUMXFERS : -1\n", end}, power.Status{}},
		{"old dates", []string{"DATE     : Sat Nov 21 03:18:31 UTC 2026\n", "BCHARGE  : 50.0 Percent\n", "STATFLAG : 0x05060010 Status Flag\n",
			"END APC  : Sat Nov 21 03:18:31 UTC 2026\n"}, power.Status{Charge: new(0.5)}},
		{"the clock was set back", []string{"DATE     : 2026-11-21 03:18:31 +0000  \n", "STATFLAG : 0x05060010\n", "END APC  : 2026-11-21 02:00:00 +0000  \n"}, power.Status{}},
		{"no colon", []string{"STATFLAG : 0x05060010\n", "rubbish\n", "BCHARGE  : 71.0 Percent\n", end}, power.Status{Charge: new(0.71)}},
		{"a text of its own", []string{"STATFLAG : 0x05060010\n", "MODEL    : Back\x1b[31mUPS\n", end}, power.Status{Model: "Back[31mUPS"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := served(encode(c.lines...)).Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.want.Flags = 0x05060010
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestR2_BadAnswersAreErrors(t *testing.T) {
	whole := recorded(t, "onbatt")
	long := make([]string, mostRecords+1)
	for i := range long {
		long[i] = "STATFLAG : 0x05060010\n"
	}
	cases := map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":             {nil, "unexpected EOF"},
		"no records":          {[]byte{0, 0}, "does not begin with APC"},
		"an invalid command":  {append(frame("Invalid command\n"), 0, 0), "does not begin with APC"},
		"cut in a record":     {whole[:300], "unexpected EOF"},
		"cut between records": {whole[:len(whole)-2], "unexpected EOF"},
		"half, well ended":    {append(bytes.Clone(whole[:26]), 0, 0), "header says"},
		"a byte too many": {bytes.Replace(whole, frame("STATUS   : ONBATT \n"), frame("STATUS   : ONBATT  \n"), 1),
			"header says"},
		"a record of 300 bytes": {append(binary.BigEndian.AppendUint16(nil, 300), make([]byte, 300)...), "300 bytes"},
		"too many records":      {encode(long...), "more than 512 records"},
		"no end":                {encode("STATFLAG : 0x05060010\n"), "END APC"},
		"no flags":              {encode("STATUS   : ONLINE \n", "END APC  : N/A\n"), "STATFLAG"},
		"bad flags":             {encode("STATFLAG : 0x05060010FF\n", "END APC  : N/A\n"), "STATFLAG"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := served(c.raw).Status(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if diff := cmp.Diff(power.Status{}, s); diff != "" {
				t.Errorf("a status with an error: %s", diff)
			}
		})
	}
}

// simulated serves a UPS on loopback until the test ends.
func simulated(t *testing.T, cfg upssim.Config) (*upssim.UPS, *Client) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := upssim.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return u, &Client{Addr: ln.Addr().String(), Timeout: 5 * time.Second}
}

func TestSimulatorAndItsFaults(t *testing.T) {
	u, c := simulated(t, upssim.Config{})
	status := func() power.Status {
		t.Helper()
		s, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	fails := func(f upssim.Faults, want string) {
		t.Helper()
		u.SetFaults(f)
		defer u.SetFaults(upssim.Faults{})
		if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", f, err, want)
		}
	}
	if s := status(); !s.Flags.Has(power.Online) || *s.Charge != 1 {
		t.Errorf("on mains: %+v", s)
	}
	u.Plug(false)
	u.SetCharge(42)
	if s := status(); !s.Flags.Has(power.OnBattery) || *s.Charge != 0.42 {
		t.Errorf("on battery: %+v", s)
	}
	fails(upssim.Faults{CutAfter: 20}, "unexpected EOF")
	fails(upssim.Faults{Oversize: true}, "300 bytes")
	fails(upssim.Faults{BadHeader: true}, "header says")
	u.SetFaults(upssim.Faults{Garbage: map[string]string{"LINEV": "N/A", "TIMELEFT": "inf Minutes"}})
	if s := status(); s.LineVolts != nil || s.Runtime != nil || *s.Charge != 0.42 || !s.Flags.Has(power.OnBattery) {
		t.Errorf("garbage: %+v", s)
	}
	u.SetFaults(upssim.Faults{})
	if err := u.Daemon(false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("down: %v", err)
	}
	if err := u.Daemon(true); err != nil {
		t.Fatal(err)
	}
	if s := status(); s.Flags&(power.Online|power.OnBattery) != 0 {
		t.Errorf("just started: %+v", s)
	}
}

func TestHangEndsWithTheDeadline(t *testing.T) {
	u, c := simulated(t, upssim.Config{})
	u.SetFaults(upssim.Faults{Hang: true})
	c.Timeout = 30 * time.Millisecond
	if _, err := c.Status(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzStatus(f *testing.F) {
	files, err := filepath.Glob("testdata/*.status.raw")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(encode("STATFLAG : 0x05060010\n", "TIMELEFT : inf Minutes\n", "END APC  : N/A\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := readAnswer(bytes.NewReader(raw))
		if err != nil {
			return
		}
		// Without regard to the header, or the fuzzer never gets past it.
		s, err := a.status()
		if err != nil {
			return
		}
		if err := s.Validate(); err != nil {
			t.Errorf("impossible status: %v", err)
		}
		_ = a.complete()
	})
}
