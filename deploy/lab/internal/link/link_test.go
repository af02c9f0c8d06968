package link

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func TestACutLinkPassesNothingAndRefusesNothing(t *testing.T) {
	l, err := Open(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	say := func(text string, within time.Duration) (string, error) {
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		return r.ReadString('\n')
	}
	if got, err := say("whole\n", 5*time.Second); got != "whole\n" {
		t.Fatalf("%q, %v", got, err)
	}
	passed := l.Last()
	if passed.IsZero() {
		t.Error("nothing is known to have passed")
	}
	l.Cut(true)
	if got, err := say("cut\n", 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("over a cut link came %q, %v", got, err)
	}
	if !l.Last().Equal(passed) {
		t.Error("something passed a cut link")
	}
	l.Cut(false)
	if got, err := say("", 5*time.Second); got != "cut\n" {
		t.Fatalf("after the mending: %q, %v", got, err)
	}
}

func TestAConnectionOverACutLinkWaits(t *testing.T) {
	l, err := Open(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Cut(true)
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		t.Fatal(err)
	}
	l.Cut(false)
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(c).ReadString('\n'); got != "hello\n" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestCloseEndsACutLink(t *testing.T) {
	l, err := Open(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l.Cut(true)
	l.Close() // hangs if a forwarder does; goleak sees one that stays
}
