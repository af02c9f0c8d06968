//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/network"
)

// The phone company's account, and who is called.
const (
	account     = "AC0123456789abcdef0123456789abcdef"
	apiKey      = "SK0123456789abcdef0123456789abcdef"
	apiSecret   = "notasecretofanybody0"
	fromPhone   = "+15005550006"
	person      = "Alex"
	personPhone = "+15550100100"
)

// outside is the running internet as it tells of itself.
type outside struct {
	Control string   `json:"control"`
	Twilio  string   `json:"twilio"`
	Anchors []string `json:"anchors"`

	cmd  *exec.Cmd
	done chan struct{}

	mu    sync.Mutex
	calls []phoneCall // in the order in which they were placed
}

// phoneCall is a call as the phone company had it.
type phoneCall struct {
	SID    string    `json:"sid"`
	At     time.Time `json:"at"`
	Status string    `json:"status"`
	Text   string    `json:"text"`
}

func (h *house) startOutside() {
	h.t.Helper()
	secret := filepath.Join(h.ground.Dir, "secret")
	if err := os.WriteFile(secret, []byte(apiSecret+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	cmd := h.net.Command(context.Background(), filepath.Join(h.bin, "outside"), "-listen", network.Outside,
		"-account", account, "-key", apiKey, "-secret-file", secret, "-number", fromPhone)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = h.forge.Start(cmd)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	o := &outside{cmd: cmd, done: make(chan struct{})}
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), o) != nil {
		h.t.Fatalf("the internet did not start: %q", lines.Text())
	}
	h.out = o
	go func() { // close waits for it
		defer close(o.done)
		for lines.Scan() {
			var c phoneCall
			if json.Unmarshal(lines.Bytes(), &c) == nil && c.SID != "" {
				o.note(c)
			}
		}
		_ = cmd.Wait()
	}()
}

// note keeps one line for each call: when it was placed, and how it stands.
func (o *outside) note(c phoneCall) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.calls {
		if o.calls[i].SID == c.SID {
			o.calls[i].Status = c.Status
			return
		}
	}
	o.calls = append(o.calls, c)
}

// placed are the calls so far.
func (o *outside) placed() []phoneCall {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]phoneCall(nil), o.calls...)
}

func (o *outside) close() {
	_ = o.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-o.done:
	case <-time.After(5 * time.Second):
		_ = o.cmd.Process.Kill()
		<-o.done
	}
}
