package root

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// machine notes what it is told, and whether the output would be cut at that moment.
type machine struct {
	powerfail string
	told      []string
	fails     error
}

func (m *machine) note(what string) error {
	if _, err := os.Stat(m.powerfail); err == nil {
		what += " with powerfail"
	}
	m.told = append(m.told, what)
	return m.fails
}

func (m *machine) PowerOff(context.Context) error               { return m.note("power off") }
func (m *machine) Restart(_ context.Context, unit string) error { return m.note("restart " + unit) }

func server(t *testing.T) (*Server, *machine) {
	t.Helper()
	dir := t.TempDir()
	m := &machine{powerfail: filepath.Join(dir, "powerfail")}
	return &Server{Manager: m, Powerfail: Powerfail{Config: filepath.Join(dir, "apcupsd.conf"), Dir: dir}, Log: slog.New(slog.DiscardHandler)}, m
}

// exchange serves what talk does with the other end, and gives the answer.
func exchange(t *testing.T, s *Server, talk func(io.WriteCloser)) (string, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	served := make(chan error, 1)
	go func() {
		defer ours.Close()
		start := time.Now()
		err := s.Serve(t.Context(), ours)
		if took := time.Since(start); took > readWithin {
			t.Errorf("it took %v", took)
		}
		served <- err
	}()
	talked := make(chan struct{})
	go func() {
		defer close(talked)
		talk(theirs)
	}()
	answer, err := io.ReadAll(theirs)
	<-talked
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	return string(answer), <-served
}

func says(parts ...string) func(io.WriteCloser) {
	return func(w io.WriteCloser) {
		for _, p := range parts {
			io.WriteString(w, p)
		}
	}
}

// TestG4_EachVerbDoesItsThingsInOrder: the word to cut is on disk before the halt, and only
// for this verb.
func TestG4_EachVerbDoesItsThingsInOrder(t *testing.T) {
	refused := errors.New("not\ntoday")
	for _, tt := range []struct {
		name    string
		ask     []string
		tripped bool // apcupsd has left its own powerfail
		fails   error
		told    string
		left    bool // powerfail afterwards
		answer  string
	}{
		{"halt", []string{"halt\n"}, false, nil, "power off", false, "ok\n"},
		{"halt after apcupsd tripped keeps the output", []string{"halt\n"}, true, nil, "power off", false, "ok\n"},
		{"halt in pieces", []string{"h", "al", "t", "\n"}, false, nil, "power off", false, "ok\n"},
		{"halt and cut", []string{"halt-and-cut\n"}, false, nil, "power off with powerfail", true, "ok\n"},
		{"halt and cut after apcupsd tripped", []string{"halt-and-cut\n"}, true, nil, "power off with powerfail", true, "ok\n"},
		{"clear", []string{"clear\n"}, true, nil, "restart apcupsd.service", false, "ok\n"},
		{"clear what did not trip", []string{"clear\n"}, false, nil, "restart apcupsd.service", false, "ok\n"},
		{"no halt", []string{"halt\n"}, true, refused, "power off", false, "error: power off: not; today\n"},
		{"no halt, and so no cut at the next reboot", []string{"halt-and-cut\n"}, false, refused, "power off with powerfail", false, "error: power off: not; today\n"},
		{"no restart", []string{"clear\n"}, true, refused, "restart apcupsd.service", false, "error: restart apcupsd.service: not; today\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, m := server(t)
			m.fails = tt.fails
			if tt.tripped {
				if err := os.WriteFile(m.powerfail, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			answer, err := exchange(t, s, says(tt.ask...))
			if answer != tt.answer || !errors.Is(err, tt.fails) {
				t.Errorf("answered %q, %v; want %q", answer, err, tt.answer)
			}
			if !slices.Equal(m.told, []string{tt.told}) {
				t.Errorf("told %q, want %q", m.told, tt.told)
			}
			if _, err := os.Stat(m.powerfail); (err == nil) != tt.left {
				t.Errorf("powerfail afterwards: %v, want it there: %v", err, tt.left)
			}
		})
	}
}

// ending is a machine that ends this program before it answers.
type ending struct {
	*machine
	end context.CancelFunc
}

func (e ending) PowerOff(ctx context.Context) error {
	e.end()
	return errors.Join(ctx.Err(), e.machine.PowerOff(ctx))
}

// TestG4_TheHaltDoesNotTakeItselfBack: the shutdown that it begins sends SIGTERM here, too.
func TestG4_TheHaltDoesNotTakeItselfBack(t *testing.T) {
	s, m := server(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Manager = ending{m, cancel}
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go func() {
		io.WriteString(theirs, "halt-and-cut\n")
		io.Copy(io.Discard, theirs)
	}()
	if err := s.Serve(ctx, ours); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(m.powerfail); err != nil {
		t.Errorf("the output stays on: %v", err)
	}
}

// TestR2_WhatIsNoVerbChangesNothing: whatever comes, and however slowly.
func TestR2_WhatIsNoVerbChangesNothing(t *testing.T) {
	slowly := func(text string, each time.Duration) func(io.WriteCloser) {
		return func(w io.WriteCloser) {
			for _, b := range []byte(text) {
				time.Sleep(each) // in a bubble
				if _, err := w.Write([]byte{b}); err != nil {
					return
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		talk   func(io.WriteCloser)
		answer string
	}{
		"unknown":             {says("reboot\n"), `error: "reboot" is no verb`},
		"empty":               {says("\n"), `error: "" is no verb`},
		"another case":        {says("Halt\n"), "is no verb"},
		"spaces":              {says(" halt\n"), "is no verb"},
		"carriage return":     {says("halt\r\n"), "is no verb"},
		"an argument":         {says("halt now\n"), "is no verb"},
		"two lines":           {says("halt\nclear\n"), errNoLine.Error()},
		"zero bytes":          {says("halt\x00\n"), "is no verb"},
		"a newline in front":  {says("\nhalt\n"), errNoLine.Error()},
		"64 bytes":            {says(strings.Repeat("a", 63) + "\n"), "is no verb"},
		"65 bytes":            {says(strings.Repeat("a", 64) + "\n"), errNoLine.Error()},
		"a megabyte":          {says("halt" + strings.Repeat("\x00", 1<<20) + "\n"), errNoLine.Error()},
		"silence":             {func(io.WriteCloser) {}, "timeout"},
		"never to its end":    {says("halt"), "timeout"},
		"a byte in 2 s":       {slowly("halt\n", 2*time.Second), "timeout"},
		"gone without a word": {func(w io.WriteCloser) { w.Close() }, ""},
		"gone in the middle":  {func(w io.WriteCloser) { says("halt")(w); w.Close() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, m := server(t)
				answer, err := exchange(t, s, tt.talk)
				if err == nil || !strings.Contains(answer, tt.answer) || tt.answer != "" && !strings.HasPrefix(answer, "error: ") || strings.Count(answer, "\n") > 1 {
					t.Errorf("answered %q, %v; want %q", answer, err, tt.answer)
				}
				if len(m.told) > 0 {
					t.Errorf("told %q", m.told)
				}
				if entries, err := os.ReadDir(s.Powerfail.Dir); err != nil || len(entries) > 0 {
					t.Errorf("on disk: %v, %v", entries, err)
				}
			})
		})
	}
}

// TestR2_AnOddConfigurationOfApcupsdHaltsNothing: the cut would be lost, or come unasked.
func TestR2_AnOddConfigurationOfApcupsdHaltsNothing(t *testing.T) {
	for _, verb := range []Verb{Halt, HaltAndCut, Clear} {
		s, m := server(t)
		if err := os.WriteFile(s.Powerfail.Config, []byte("PWRFAILDIR\t/run\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if answer, err := exchange(t, s, says(string(verb)+"\n")); !errors.Is(err, errPowerfailDir) || !strings.Contains(answer, "PWRFAILDIR") {
			t.Errorf("%s: %q, %v", verb, answer, err)
		}
		if len(m.told) > 0 {
			t.Errorf("%s: told %q", verb, m.told)
		}
	}
	s, m := server(t)
	s.Powerfail.Dir = filepath.Join(s.Powerfail.Dir, "none") // no apcupsd here
	if answer, err := exchange(t, s, says("halt-and-cut\n")); err == nil || len(m.told) > 0 {
		t.Errorf("without apcupsd: %q, %v, told %q", answer, err, m.told)
	}
	if answer, err := exchange(t, s, says("halt\n")); err != nil || !slices.Equal(m.told, []string{"power off"}) {
		t.Errorf("without apcupsd: %q, %v, told %q", answer, err, m.told)
	}
}

func TestPowerfailDir(t *testing.T) {
	for config, want := range map[string]string{
		"":                                     "/otherwise",
		"# PWRFAILDIR <path>\nUPSNAME x\n":     "/otherwise",
		"UPSNAME x\nPWRFAILDIR /etc/apcupsd\n": "/etc/apcupsd",
		"PWRFAILDIR /run/x":                    "/run/x",
		"PWRFAILDIR /a\nPWRFAILDIR /b\n":       "",
		"PWRFAILDIR /a \n":                     "",
		"PWRFAILDIR /a\r\n":                    "",
		"PWRFAILDIR  /a\n":                     "",
		"PWRFAILDIR\n":                         "",
		"PWRFAILDIR \n":                        "",
		"PWRFAILDIR a\n":                       "",
		"PWRFAILDIR /a/../b\n":                 "",
		"PWRFAILDIRS /a\n":                     "", // the hook takes it for one, too
	} {
		got, err := powerfailDir(config, "/otherwise")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", config, got, err, want)
		}
	}
}

func TestPowerfailFollowsTheConfiguration(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	p := Powerfail{Config: filepath.Join(dir, "apcupsd.conf"), Dir: dir}
	if err := os.WriteFile(p.Config, []byte("PWRFAILDIR "+other+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(other, "powerfail")); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(other); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := os.MkdirAll(filepath.Join(other, "powerfail", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(); err == nil {
		t.Error("a directory is said to be removed")
	}
}

func TestAsk(t *testing.T) {
	s, m := server(t)
	socket := filepath.Join(t.TempDir(), "root.sock")
	if err := Ask(t.Context(), socket, Halt); err == nil || !strings.HasPrefix(err.Error(), "ask root to halt: ") {
		t.Errorf("nobody there: %v", err)
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	answered := func(serve func(net.Conn), verb Verb) error {
		t.Helper()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := ln.Accept(); err == nil {
				serve(conn)
				conn.Close()
			}
		}()
		defer func() { <-done }()
		return Ask(t.Context(), socket, verb)
	}
	serve := func(conn net.Conn) { _ = s.Serve(t.Context(), conn) }
	if err := answered(serve, HaltAndCut); err != nil || !slices.Equal(m.told, []string{"power off with powerfail"}) {
		t.Errorf("%v, told %q", err, m.told)
	}
	if err := answered(serve, "explode"); err == nil || err.Error() != `ask root to explode: "explode" is no verb` {
		t.Errorf("an unknown verb: %v", err)
	}
	// systemd closes at once when somebody else is being served.
	if err := answered(func(net.Conn) {}, Halt); err == nil {
		t.Error("no answer is taken for yes")
	}
	for _, text := range []string{"ok", "okay\n", "\n", "error: ", strings.Repeat("x", 1<<20)} {
		if err := answered(func(conn net.Conn) { bytes.NewBufferString(text).WriteTo(conn) }, Halt); err == nil {
			t.Errorf("%.20q is taken for yes", text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	conns := make(chan net.Conn, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			conns <- conn
		}
		cancel()
	}()
	if err := Ask(ctx, socket, Halt); !errors.Is(err, context.Canceled) {
		t.Errorf("a root that hangs: %v", err)
	}
	(<-conns).Close()
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"halt\n", "halt-and-cut\n", "clear\n", "halt", "halt\r\n", "\n", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parse(data)
		if (err == nil) != (string(data) == string(v)+"\n" && slices.Contains([]Verb{Halt, HaltAndCut, Clear}, v)) {
			t.Errorf("%q is %q, %v", data, v, err)
		}
	})
}

func FuzzPowerfailDir(f *testing.F) {
	f.Add("UPSNAME x\nPWRFAILDIR /etc/apcupsd\n")
	f.Add("PWRFAILDIR /a\nPWRFAILDIR /b\n")
	f.Fuzz(func(t *testing.T, config string) {
		dir, err := powerfailDir(config, "/otherwise")
		if (err == nil) != filepath.IsAbs(dir) {
			t.Errorf("%q: %q, %v", config, dir, err)
		}
	})
}
