package home

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/internal/forge"
	"sentinel.home.arpa/deploy/lab/internal/edge"
	"sentinel.home.arpa/deploy/lab/internal/link"
)

// shell is a home whose brain is a shell script that may write to its journal, W.
func shell(t *testing.T, script string) *Home {
	t.Helper()
	h := &Home{dir: t.TempDir(), rec: edge.NewRecorder(nil), say: func(who, what string) { t.Log(who, what) }, forge: forge.New(), nodes: map[string]*process{}}
	h.ctx, h.cancel = context.WithCancel(t.Context())
	if err := os.MkdirAll(h.dirOf("brain"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.brain = &process{name: "brain", path: "/bin/sh", args: []string{"-c", script}, env: append(os.Environ(), "W="+wal(h)), log: func(logLine) {}, raw: io.Discard, forge: h.forge}
	t.Cleanup(func() {
		h.cancel()
		h.brain.end(syscall.SIGKILL)
		h.wg.Wait()
		h.forge.Close()
	})
	h.Keep()
	if err := h.brain.start(); err != nil {
		t.Fatal(err)
	}
	return h
}

func wal(h *Home) string { return filepath.Join(h.dirOf("brain"), "journal.db-wal") }

// recorded waits for what the record says of the brain, in order.
func recorded(t *testing.T, h *Home, want ...string) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		es, changed := h.rec.Since(0)
		var got []string
		for _, e := range es {
			if e.Node == "brain" {
				got = append(got, e.What)
			}
		}
		if len(got) >= len(want) && slices.Equal(got[:len(want)], want) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the record says %q, want %q", got, want)
		}
	}
}

func kill(t *testing.T, h *Home, k Kill) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	hit, err := h.Kill(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	return hit
}

func TestAKilledProgramIsStartedAgain(t *testing.T) {
	h := shell(t, "exec sleep 60")
	begin := time.Now()
	if !kill(t, h, Kill{Phase: Random, Victim: "brain", Away: 2 * time.Second}) {
		t.Fatal("nobody was killed")
	}
	recorded(t, h, Killed, Started)
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("it was back after %s", took)
	}
	h.brain.end(syscall.SIGKILL) // on purpose
	if kill(t, h, Kill{Phase: Random, Victim: "brain"}) {
		t.Error("the dead were killed")
	}
}

func TestAProgramThatEndsByItselfIsToldFromOneThatWasKilled(t *testing.T) {
	h := shell(t, "exit 3")
	recorded(t, h, Died+": exit status 3", Started, Died+": exit status 3")
}

func TestWhoEndsOnPurposeStaysDead(t *testing.T) {
	h := shell(t, "exec sleep 60")
	if !kill(t, h, Kill{Phase: Random, Victim: "brain"}) {
		t.Fatal("nobody was killed")
	}
	h.brain.end(syscall.SIGKILL) // its machine goes off before it would be started again
	h.wg.Wait()
	if _, _, alive := h.brain.life(); alive {
		t.Error("it was started again")
	}
}

func TestTheJournalIsKilledBeforeItsWrite(t *testing.T) {
	if err := Traceable(t.Context()); err != nil {
		t.Skip("the kill at a system call is NOT TESTED: ", err)
	}
	h := shell(t, `exec >>"$W"; sleep 1; while echo fact; do sleep 0.1; done`)
	// Whatever the shell has opened by now, nothing is written yet.
	if !kill(t, h, Kill{Phase: JournalBefore, Victim: "brain", Away: time.Minute}) {
		t.Fatal("nobody was killed")
	}
	recorded(t, h, Killed)
	if data, err := os.ReadFile(wal(h)); err != nil || len(data) > 0 {
		t.Errorf("the journal holds %q, %v", data, err)
	}
}

func TestItIsSaidThatNothingCanBeTraced(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	if err := Traceable(t.Context()); err == nil {
		t.Error("no error")
	}
	path := filepath.Join(t.TempDir(), "strace")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho Operation not permitted >&2; exit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(path)+":/bin:/usr/bin")
	if err := Traceable(t.Context()); err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Error(err)
	}
}

func TestWithoutPtraceTheKillComesAMomentLate(t *testing.T) {
	h := shell(t, `sleep 1; while echo fact >>"$W"; do sleep 0.1; done`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	k := Kill{Phase: JournalBefore, Victim: "brain"}
	hit, err := h.inotify(ctx, k, h.onDisk(k.Phase))
	if !hit || err != nil {
		t.Fatal(hit, err)
	}
	if data, err := os.ReadFile(wal(h)); err != nil || len(data) == 0 {
		t.Errorf("the journal holds %q, %v", data, err)
	}
}

func TestAGateKillsAtItsMomentOnce(t *testing.T) {
	m := moments{CallBefore, CallDone, CallAfter}
	for _, phase := range []Phase{CallBefore, CallDone, CallAfter} {
		t.Run(string(phase), func(t *testing.T) {
			var g gates
			var seen []string
			armed := make(chan struct{})
			var wg sync.WaitGroup
			var hit bool
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				hit = g.wait(ctx, phase, func(string) bool { seen = append(seen, "killed"); return true })
			})
			go func() { // ends with the gate armed
				for g.armedFor(phase) == nil {
					select {
					case <-t.Context().Done():
						return
					default:
					}
				}
				close(armed)
			}()
			<-armed
			tap := g.tap(m, func(r string) bool { return strings.Contains(r, "Calls") })
			request(tap, &seen, "GET /Calls")
			request(tap, &seen, "POST /Other")
			request(tap, &seen, "POST /Calls")
			wg.Wait()
			request(tap, &seen, "POST /Calls")
			plain := []string{"arrived", "answered", "arrived", "answered"}
			want := map[Phase][]string{
				CallBefore: {"killed"},
				CallDone:   {"arrived", "killed"},
				CallAfter:  {"arrived", "answered", "killed"},
			}[phase]
			if want = slices.Concat(plain, want, plain[:2]); !hit || !slices.Equal(seen, want) {
				t.Errorf("seen %q, want %q", seen, want)
			}
		})
	}
}

func TestACallsGateKillsAtEachStateOnce(t *testing.T) {
	const rings, talks, taken = `{"status":"ringing","answered_by":null}`, `{"status":"in-progress","answered_by":null}`, `{"status":"completed","answered_by":"human"}`
	for phase, want := range map[Phase]string{CallAsking: "", CallRings: rings, CallTalks: talks, CallTaken: taken} {
		t.Run(string(phase), func(t *testing.T) {
			var g gates
			killed := 0
			g.armed = map[Phase]*trap{phase: {shoot: func(string) bool { killed++; return true }, sprung: make(chan bool, 1)}}
			list := g.call()
			if arrived := list.Up([]byte("GET /Calls.json?From=1 HTTP/1.1\r\n")); !arrived || killed > 0 {
				t.Error("who asks for all calls is no caller that asks for its own")
			}
			if arrived := list.Up([]byte("GET /Calls.json?From=1&To=2 HTTP/1.1\r\n")); arrived != (phase != CallAsking) {
				t.Errorf("the list is asked: %v", arrived)
			}
			list.Down([]byte(`{"calls":[` + rings + taken + `]}`)) // is not how its call stands
			list.Passed()
			last := ""
			for _, answer := range []string{rings, talks, taken} {
				tap := g.call()
				if !tap.Up([]byte("GET /Calls/CA1.json HTTP/1.1\r\n")) || !tap.Down([]byte("HTTP/1.1 200 OK\r\n\r\n"+answer)) {
					t.Fatal("hung up")
				}
				before := killed
				tap.Passed()
				if killed > before {
					last = answer
				}
			}
			if last != want || killed != 1 {
				t.Errorf("killed %d times, after %q", killed, last)
			}
		})
	}
}

func (g *gates) armedFor(p Phase) *trap {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.armed[p]
}

// request passes one request and its answer, as a link would.
func request(tap link.Tap, seen *[]string, line string) {
	if !tap.Up([]byte(line + " HTTP/1.1\r\n\r\n")) {
		return
	}
	*seen = append(*seen, "arrived")
	if !tap.Down([]byte("HTTP/1.1 200 OK\r\n\r\n")) {
		return
	}
	*seen = append(*seen, "answered")
	tap.Passed()
}

func TestATrapThatIsGivenUpKillsNobody(t *testing.T) {
	var g gates
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if g.wait(ctx, CallBefore, func(string) bool { t.Error("killed"); return true }) {
		t.Error("hit")
	}
	if !g.pass(CallBefore) {
		t.Error("the gate is shut")
	}
}
