package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// asProgram makes the test binary run one of the programs below instead of the tests.
const asProgram = "SENTINEL_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if name := os.Getenv(asProgram); name != "" {
		os.Exit(Main("test", programs()[name], func() { Reread(nil, errors.New("x.yaml:1:2: a: b\nx.yaml:2:2: c: d")) }))
	}
	goleak.VerifyTestMain(m)
}

func programs() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"fine":  func(context.Context) error { return nil },
		"fails": func(context.Context) error { return errors.New("line one\nline two") },
		"panic": func(context.Context) error { panic("oops") },
		"waits": func(ctx context.Context) error {
			os.Stdout.WriteString("up\n")
			<-ctx.Done()
			return ctx.Err()
		},
	}
}

func TestRunFirstErrorEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		ended := false
		err := Run(t.Context(),
			Task{"done", func(context.Context) error { return nil }},
			Task{"fails", func(context.Context) error { time.Sleep(time.Second); return boom }},
			Task{"waits", func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Minute) // Run waits for slow ends
				ended = true
				return ctx.Err()
			}})
		if !errors.Is(err, boom) || err.Error() != "fails: boom" {
			t.Errorf("got %v", err)
		}
		if !ended {
			t.Error("did not wait for the last task")
		}
	})
}

func TestRunReportsErrorsDuringShutdown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Run(ctx,
		Task{"calm", func(ctx context.Context) error { return ctx.Err() }},
		Task{"journal", func(context.Context) error { return errors.New("disk full") }})
	if err == nil || err.Error() != "journal: disk full" {
		t.Errorf("got %v", err)
	}
}

func TestRunTurnsPanicIntoError(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(old)
	err := Run(t.Context(),
		Task{"loop", func(context.Context) error { panic("oops") }},
		Task{"other", func(ctx context.Context) error { <-ctx.Done(); return nil }})
	var p *PanicError
	if !errors.As(err, &p) || p.Value != "oops" || err.Error() != "loop: panic: oops" {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), "task=loop") || !strings.Contains(log.String(), "run_test.go") {
		t.Errorf("no stack in %s", log.String())
	}
}

func TestMainExitCodes(t *testing.T) {
	for name, want := range map[string]struct {
		code   int
		stderr []string
	}{
		"fine":  {0, nil},
		"fails": {1, []string{"line one", "line two"}},
		"panic": {1, []string{"panic: oops"}},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), asProgram+"="+name)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run() // the code below says it all
		if code := cmd.ProcessState.ExitCode(); code != want.code {
			t.Errorf("%s: exit code %d, want %d; %s", name, code, want.code, stderr.String())
		}
		for _, text := range want.stderr {
			if strings.Count(stderr.String(), text) != 1 {
				t.Errorf("%s: %q not once in %s", name, text, stderr.String())
			}
		}
	}
}

// TestR5_AHangupKillsNoWatchman: it goes on, reads the file, and still ends when told to.
func TestR5_AHangupKillsNoWatchman(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"=waits")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), `ERROR the configuration is wrong and was not taken err="x.yaml:1:2: a: b (and 1 more)"`) {
			t.Fatalf("it said %q", lines.Text())
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("it went on to say %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestR3_NobodyReadsTheLog: a watchman outlives journald.
func TestR3_NobodyReadsTheLog(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"=waits")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	reader, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = stderr
	if err := errors.Join(cmd.Start(), stderr.Close(), reader.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // each makes it log a line
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestMainEndsOnSignals(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), asProgram+"=waits")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
}
