package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFeedIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []time.Duration
		start := time.Now()
		n := &Notifier{log: slog.New(slog.DiscardHandler), interval: 9 * time.Second, send: func(state string) error {
			if state != "WATCHDOG=1" {
				t.Errorf("sent %q", state)
			}
			sent = append(sent, time.Since(start))
			return nil
		}}
		for range 100 {
			n.Feed()
			time.Sleep(100 * time.Millisecond)
		}
		want := []time.Duration{0, 3 * time.Second, 6 * time.Second, 9 * time.Second}
		if len(sent) != len(want) {
			t.Fatalf("fed at %v, want %v", sent, want)
		}
		for i := range want {
			if sent[i] != want[i] {
				t.Errorf("fed at %v, want %v", sent, want)
			}
		}
	})
}

func TestNotifierSpeaksToSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "10000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	n := NewNotifier(slog.New(slog.DiscardHandler))
	if n.Interval() != 10*time.Second {
		t.Errorf("interval %v", n.Interval())
	}
	n.Ready()
	n.Ready()
	n.Status("two\nlines")
	n.Feed()
	n.Reloading()
	n.Reloaded()
	n.Stopping()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1024)
	for _, want := range []string{"READY=1", "STATUS=two lines", "WATCHDOG=1", "RELOADING=1\nMONOTONIC_USEC=", "READY=1", "STOPPING=1"} {
		got, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(buffer[:got]); !strings.HasPrefix(text, want) {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

func TestNotifierOutsideSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	var log bytes.Buffer
	n := NewNotifier(slog.New(slog.NewTextHandler(&log, nil)))
	n.Ready()
	n.Feed()
	n.Stopping()
	if n.Interval() != 0 || log.Len() > 0 {
		t.Errorf("interval %v, log %s", n.Interval(), log.String())
	}
}

func TestNotifierLogsAFailureOnce(t *testing.T) {
	var log bytes.Buffer
	fail := errors.New("no such socket")
	n := &Notifier{log: slog.New(slog.NewTextHandler(&log, nil)), send: func(string) error { return fail }}
	n.Status("a")
	n.Status("b")
	if got := strings.Count(log.String(), "no such socket"); got != 1 {
		t.Errorf("logged %d times: %s", got, log.String())
	}
}
