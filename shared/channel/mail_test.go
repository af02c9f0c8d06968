package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/smtpsim"
)

// mailServer runs one on loopback under the name that its certificate is for.
func mailServer(t *testing.T, cfg smtpsim.Config) (*smtpsim.Server, Post) {
	t.Helper()
	server, client, err := smtpsim.Certificate("mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.TLS != nil {
		cfg.TLS = server
	}
	sim := smtpsim.New(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sim.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, ln.Addr().String())
	}
	post := Post{Host: "mail.example.org", TLS: StartTLS, From: "sentinel@example.org", Roots: client, Dial: dial}
	if cfg.Implicit {
		post.TLS = Implicit
	}
	if cfg.User != "" {
		post.User, post.Password = cfg.User, cfg.Password
	}
	return sim, post
}

// TestC5_EMail arrives over TLS, signed in, with all that it says.
func TestC5_EMail(t *testing.T) {
	for name, cfg := range map[string]smtpsim.Config{
		"STARTTLS":     {TLS: &tls.Config{}, User: "alex", Password: someSecret},
		"implicit TLS": {TLS: &tls.Config{}, Implicit: true, User: "alex", Password: someSecret},
		"LOGIN alone":  {TLS: &tls.Config{}, User: "alex", Password: someSecret, Offers: "LOGIN"},
		"nobody":       {TLS: &tls.Config{}},
	} {
		t.Run(name, func(t *testing.T) {
			sim, post := mailServer(t, cfg)
			m := outage()
			m.Text += "\n.\nÄußerst: 96 %"
			for range 2 {
				if err := NewMail(post, "alex@example.org").Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			mails := sim.Mails()
			if len(mails) != 2 || !mails[0].Safe || mails[0].From != "sentinel@example.org" || strings.Join(mails[0].To, " ") != "alex@example.org" {
				t.Fatalf("%+v", mails)
			}
			for _, want := range []string{"Subject: Power outage at home", "power outage at home, because the UPS has been on battery for 5 s", "=C3=84u=C3=9Ferst: 96 %",
				"Message-ID: <n1@sentinel.invalid>", "References: <home-power-1@sentinel.invalid>", "Auto-Submitted: auto-generated", "Date: Sat, 21 Nov 2026 19:02:16 +0000", "Importance: high"} {
				if !strings.Contains(mails[0].Text, want) {
					t.Errorf("%q is not in it:\n%s", want, mails[0].Text)
				}
			}
			if said := strings.Join(sim.Said(), "\n"); strings.Contains(said, "MAIL") || strings.Contains(said, "AUTH") {
				t.Errorf("said in the open:\n%s", said)
			}
		})
	}
}

// TestC7_WhatAMailServerSays is temporary or permanent, in words without its secrets.
func TestC7_WhatAMailServerSays(t *testing.T) {
	safe := smtpsim.Config{TLS: &tls.Config{}, User: "alex", Password: someSecret}
	for _, tc := range []struct {
		name  string
		cfg   smtpsim.Config
		spoil func(s *smtpsim.Server, p *Post)
		again bool
		says  string
	}{
		{"busy", safe, func(s *smtpsim.Server, _ *Post) { s.Fail("CONNECT", "421 4.3.2 too busy") }, true, "mail.example.org answered 421 (4.3.2 too busy)"},
		{"greylisted", safe, func(s *smtpsim.Server, _ *Post) { s.Fail("RCPT", "451 4.7.1 greylisted, try again later") }, true, "mail.example.org answered 451"},
		{"no such mailbox", safe, func(s *smtpsim.Server, _ *Post) { s.Fail("RCPT", "550 5.1.1 no such user") }, false, "mail.example.org answered 550"},
		{"spam", safe, func(s *smtpsim.Server, _ *Post) { s.Fail("END", "554 5.7.1 spam") }, false, "mail.example.org answered 554"},
		{"full", safe, func(s *smtpsim.Server, _ *Post) { s.Fail("END", "452 4.2.2 mailbox full") }, true, "mail.example.org answered 452"},
		{"a wrong password", safe, func(_ *smtpsim.Server, p *Post) { p.Password = "Wr0ng" + someSecret }, false, "mail.example.org answered 535"},
		{"no TLS", smtpsim.Config{User: "alex", Password: someSecret}, func(*smtpsim.Server, *Post) {}, true, "mail.example.org was not reached: STARTTLS"},
		{"a stranger's certificate", safe, func(_ *smtpsim.Server, p *Post) { p.Roots = nil }, true, "mail.example.org was not reached: x509"},
		{"no way to sign in", smtpsim.Config{TLS: &tls.Config{}, User: "alex", Password: someSecret, Offers: "XOAUTH2"}, func(*smtpsim.Server, *Post) {}, true, "offers no way to sign in"},
		{"nobody there", safe, func(_ *smtpsim.Server, p *Post) {
			p.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		}, true, "mail.example.org was not reached: connection refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sim, post := mailServer(t, tc.cfg)
			tc.spoil(sim, &post)
			err := NewMail(post, "alex@example.org").Send(t.Context(), outage())
			if err == nil || errors.Is(err, ErrTemporary) != tc.again || errors.Is(err, ErrPermanent) == tc.again || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%v; temporary: %t", err, errors.Is(err, ErrTemporary))
			}
			if strings.Contains(err.Error(), someSecret) || len(sim.Mails()) != 0 {
				t.Errorf("%v; %d mails", err, len(sim.Mails()))
			}
			if said := strings.Join(sim.Said(), "\n"); strings.Contains(said, "AUTH") || strings.Contains(said, "MAIL") {
				t.Errorf("said in the open:\n%s", said)
			}
		})
	}
}

// TestC7_AGoodbyeThatFails takes nothing back: a second letter would be one too many.
func TestC7_AGoodbyeThatFails(t *testing.T) {
	sim, post := mailServer(t, smtpsim.Config{TLS: &tls.Config{}})
	sim.Fail("QUIT", "451 4.0.0 no")
	if err := NewMail(post, "alex@example.org").Send(t.Context(), outage()); err != nil || len(sim.Mails()) != 1 {
		t.Errorf("%v; %d mails", err, len(sim.Mails()))
	}
}

// TestC7_AMailServerThatHangs at any step holds nothing up for longer than a try may take.
func TestC7_AMailServerThatHangs(t *testing.T) {
	for _, step := range []string{"CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			sim, post := mailServer(t, smtpsim.Config{TLS: &tls.Config{}, User: "alex", Password: someSecret})
			sim.Hang(step)
			if step == "AUTH" {
				sim.Fail("AUTH", "")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			begin := time.Now()
			err := NewMail(post, "alex@example.org").Send(ctx, outage())
			if !errors.Is(err, ErrTemporary) || time.Since(begin) > 5*time.Second || !strings.Contains(err.Error(), "mail.example.org") {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	}
}

// TestC5_EMailByAddress as shoutrrr writes it goes the same way, and no error holds its secrets.
func TestC5_EMailByAddress(t *testing.T) {
	sim, post := mailServer(t, smtpsim.Config{TLS: &tls.Config{}, User: "alex", Password: someSecret})
	address := "smtp://alex:%s@mail.example.org:587/?from=sentinel@example.org&to=alex@example.org,sam@example.org"
	s, err := NewSMTP(fmt.Sprintf(address, someSecret), post)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), outage()); err != nil {
		t.Fatal(err)
	}
	if got := sim.Mails(); len(got) != 1 || len(got[0].To) != 2 || !got[0].Safe {
		t.Errorf("%+v", got)
	}
	if s, err = NewSMTP(fmt.Sprintf(address, "Wr0ng"+someSecret), post); err != nil {
		t.Fatal(err)
	}
	err = s.Send(t.Context(), outage())
	if !errors.Is(err, ErrPermanent) || strings.Contains(err.Error(), someSecret) || strings.Contains(err.Error(), "alex") || !strings.Contains(err.Error(), "535") {
		t.Error(err)
	}
	for _, wrong := range []string{"smtp://alex:" + someSecret + "@mail.example.org/", "smtp://alex:" + someSecret + "@mail.example.org/?from=a&to=b", "smtp://alex:" + someSecret + "%zz@mail",
		"smtp://alex:" + someSecret + "@mail.example.org/?encryption=None&from=a@example.org&to=b@example.org", "smtp://mail.example.org/?from=a@example.org&to=b@example.org&auth=" + someSecret} {
		if _, err := NewSMTP(wrong, post); err == nil || strings.Contains(err.Error(), someSecret) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// TestC5_EMailByThisMachine goes through a program as sendmail is.
func TestC5_EMailByThisMachine(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "sendmail")
	write := func(script string) {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mail := NewMail(Post{Sendmail: program, From: "sentinel@example.org"}, "alex@example.org")
	write(`echo "$@" > ` + dir + `/args; cat > ` + dir + `/mail; echo "a warning" >&2`)
	if err := mail.Send(t.Context(), outage()); err != nil {
		t.Fatal(err)
	}
	args, _ := os.ReadFile(dir + "/args")
	text, _ := os.ReadFile(dir + "/mail")
	if strings.TrimSpace(string(args)) != "-oi -t" || !strings.Contains(string(text), "To: <alex@example.org>") || !strings.Contains(string(text), "Subject: Power outage at home") {
		t.Errorf("%s: %s", args, text)
	}
	for code, again := range map[int]bool{75: true, 67: false, 1: true, 71: true} {
		write(fmt.Sprintf("cat > /dev/null; echo 'no such user' >&2; exit %d", code))
		if err := mail.Send(t.Context(), outage()); err == nil || errors.Is(err, ErrTemporary) != again || !strings.Contains(err.Error(), "no such user") {
			t.Errorf("exit %d: %v", code, err)
		}
	}
	write("sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := mail.Send(ctx, outage()); !errors.Is(err, ErrTemporary) || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if err := NewMail(Post{Sendmail: dir + "/none", From: "sentinel@example.org"}, "alex@example.org").Send(t.Context(), outage()); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
}
