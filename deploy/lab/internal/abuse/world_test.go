//go:build abuse

package abuse_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/freeport"
	"sentinel.home.arpa/shared/wire"
)

// bins is where the three programs lie, built once.
var bins string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bins, err = os.MkdirTemp("", "sentinel-abuse-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bins)
		if err := os.Chmod(bins, 0o755); err != nil { // for other users
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		build := exec.Command("go", "build", "-o", bins+"/", "sentinel.home.arpa/cloud", "sentinel.home.arpa/pi-proxy", "sentinel.home.arpa/node-hook")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		code := m.Run()
		report.print(os.Stdout)
		return code
	}())
}

// program is one of the three under way.
type program struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	log   *logs
	ended chan struct{}
}

// logs is what a program says, as it says it.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Len()
}

func (l *logs) since(mark int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text.Bytes()[mark:])
}

// start runs a program until the test ends.
func start(t *testing.T, name string, env []string, args ...string) *program {
	t.Helper()
	return startAs(t, nil, name, env, args...)
}

// startAs runs a program as another user, if one is named.
func startAs(t *testing.T, user *syscall.Credential, name string, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, cmd: exec.Command(filepath.Join(bins, name), args...), log: &logs{}, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: user} // should the tests be killed
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // stop waits for it
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.stop)
	return p
}

func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// alive reports whether the program goes on and nothing in it has crashed.
func (p *program) alive() string {
	select {
	case <-p.ended:
		return "it ended: " + tail(p.log.since(0), 300)
	default:
		return crash(p.log.since(0))
	}
}

// crash is the sign of a crash in a log, if there is one.
func crash(log string) string {
	for line := range strings.Lines(log) {
		for _, sign := range []string{"panic", "goroutine ", "fatal error", "runtime error", "SIGSEGV"} {
			if strings.Contains(line, sign) {
				return "it crashed: " + tail(line, 300)
			}
		}
	}
	return ""
}

func tail(s string, n int) string { return strings.TrimSpace(s[max(0, len(s)-n):]) }

// rss is the memory that a program holds, in MB.
func (p *program) rss() float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Errorf("%s: %v", p.name, err)
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest + " 0")[0])
	if err != nil {
		p.t.Error(err)
	}
	return float64(kb) / 1024
}

// await waits for a condition, without which the test is over.
func await(t *testing.T, what string, within time.Duration, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-tick.C
	}
}

// says waits until a program has said something since a mark.
func (p *program) says(mark int, what string, within time.Duration) {
	p.t.Helper()
	await(p.t, p.name+" says "+what, within, func() bool { return strings.Contains(p.log.since(mark), what) })
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.TCP()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// accept serves a listener on loopback until the test ends; each connection is closed
// once serve returns.
func accept(t *testing.T, network, addr string, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// newBoot writes a boot id into a directory and returns it.
func newBoot(t *testing.T, dir string) string {
	t.Helper()
	var b [16]byte
	rand.Read(b[:])
	id := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	write(t, filepath.Join(dir, "boot_id"), id+"\n")
	return id
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func loadKey(t *testing.T, dir string) wire.Key {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := wire.LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
