package ledger_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

var (
	at      = time.Date(2031, 5, 6, 7, 8, 9, 123456789, time.UTC)
	errTest = errors.New("not now")
)

func open(t testing.TB, dir string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// steps are those of a real run, with all kinds of answers.
func steps(t testing.TB) []guardian.Event {
	t.Helper()
	g := guardian.New("pi")
	g.Order(at, guardian.Orders{Armed: true, Plan: shutdown.Plan{Site: "home",
		Nodes:  []shutdown.Node{{Name: "pve1", API: "https://192.168.1.11:8006"}},
		Stages: []shutdown.Stage{{AllGuests: true, Deadline: time.Minute}, {Nodes: []string{"pve1"}, Deadline: time.Minute}}}})
	g.Reported(at, "ups", power.Reading{Supply: power.Battery})
	now := at.Add(10 * time.Second)
	es := g.Tick(now)
	es = append(es, g.Answered(now, "listing/pve1", []shutdown.Target{{Kind: shutdown.Guest, Node: "pve1", VMID: 100, Type: "qemu", Name: "wéb\n"}}, nil)...)
	es = append(es, g.Answered(now, "guest/100", nil, errTest)...)
	es = append(es, g.Reported(now.Add(5*time.Second), "ups", power.Reading{Supply: power.Mains})...)
	if len(es) < 7 {
		t.Fatalf("only %d steps", len(es))
	}
	return es
}

func read(t testing.TB, l *ledger.Ledger) (es []guardian.Event, log string) {
	t.Helper()
	var b bytes.Buffer
	if err := l.Run(slog.New(slog.NewTextHandler(&b, nil)), func(e guardian.Event) { es = append(es, e) }); err != nil {
		t.Fatal(err)
	}
	return es, b.String()
}

func appended(t testing.TB, l *ledger.Ledger, es ...guardian.Event) {
	t.Helper()
	if err := l.Append(es); err != nil {
		t.Fatal(err)
	}
}

func same(t testing.TB, got, want []guardian.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestBundleRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	l := open(t, dir)
	if s, err := l.Bundle(); s != nil || err != nil {
		t.Errorf("without a bundle got %v, %v; want neither", s, err)
	}
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	want := ledger.Stored{Hash: "abc", BrainKey: key.PublicKey(), Bundle: wire.Bundle{Site: "home", Armed: true,
		Policy: power.DefaultPolicy(), TokenID: "a@pve!b", TokenSecret: "proxmox-secret",
		Plan: shutdown.Plan{Site: "home", Stages: []shutdown.Stage{{AllGuests: true, Deadline: 90 * time.Second}}},
		Keys: map[string]wire.PublicKey{"pve1": key.PublicKey()},
		Pis:  []wire.Peer{{Name: "pi", Address: "192.168.1.2:7777", Key: key.PublicKey()}}}}
	for _, armed := range []bool{true, false} { // the second replaces the first
		want.Bundle.Armed = armed
		if err := l.SetBundle(want); err != nil {
			t.Fatal(err)
		}
		got, err := open(t, dir).Bundle()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Error(diff)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "bundle.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want 0600", info.Mode(), err)
	}
}

func TestBundleBroken(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "torn": `{"hash":"abc","bundle":{"site":`, "zeros": "\x00\x00\x00\x00", "of another type": `{"hash":7}`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "bundle.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l := open(t, dir)
			if s, err := l.Bundle(); err == nil || s != nil {
				t.Errorf("got %v, %v; want an error alone", s, err)
			}
			if err := l.SetBundle(ledger.Stored{Hash: "new"}); err != nil {
				t.Fatal(err)
			}
			if s, err := l.Bundle(); err != nil || s.Hash != "new" {
				t.Errorf("after a new one got %v, %v", s, err)
			}
		})
	}
}

func TestS9_StepsAreReadAgain(t *testing.T) {
	dir, es := t.TempDir(), steps(t)
	l := open(t, dir)
	if got, _ := read(t, l); got != nil {
		t.Errorf("before any run got %v", got)
	}
	for i, e := range es { // each is there once Append returns, without Close
		appended(t, l, e)
		got, log := read(t, open(t, dir))
		same(t, got, es[:i+1])
		if log != "" {
			t.Errorf("after %d steps: %s", i+1, log)
		}
	}
}

func TestS9_WhenTheLastStepWasWrittenIsKnown(t *testing.T) {
	dir, es := t.TempDir(), steps(t)
	l := open(t, dir)
	boot := time.Hour
	l.Clock = daemon.NewClock("a boot", func() time.Duration { return boot }, func() time.Time { return at }, nil)
	appended(t, l, es[:2]...)
	boot += time.Minute
	appended(t, l, es[2])
	want := l.Clock.Moment()
	again := open(t, dir)
	if again.Last() != nil {
		t.Error("known before the run was read")
	}
	got, _ := read(t, again)
	same(t, got, es[:3])
	if diff := cmp.Diff(&want, again.Last()); diff != "" {
		t.Error(diff)
	}
}

// TestS9_TornLine cuts the file at every byte: what was whole is kept, the rest is cut
// off, and the run goes on behind it.
func TestS9_TornLine(t *testing.T) {
	dir, es := t.TempDir(), steps(t)
	l := open(t, dir)
	appended(t, l, es...)
	path := filepath.Join(dir, "run.jsonl")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	more := guardian.Event{Event: shutdown.Event{Type: shutdown.Ended, At: at}}
	for n := range len(data) + 1 {
		if err := errors.Join(os.Remove(path), os.WriteFile(path, data[:n], 0o600)); err != nil {
			t.Fatal(err)
		}
		whole := bytes.Count(data[:n], []byte("\n"))
		torn := n > 0 && data[n-1] != '\n'
		l := open(t, dir)
		got, log := read(t, l)
		same(t, got, es[:whole:whole])
		if torn != strings.Contains(log, "cut off") {
			t.Errorf("cut at %d: logged %q", n, log)
		}
		if n%20 == 0 || !torn {
			appended(t, l, more)
			got, log = read(t, open(t, dir))
			same(t, got, append(es[:whole:whole], more))
			if log != "" {
				t.Errorf("cut at %d, and one more step: %s", n, log)
			}
		}
		if t.Failed() {
			t.Fatalf("cut at byte %d of %d", n, len(data))
		}
	}
}

func TestS9_BrokenLineEndsTheRun(t *testing.T) {
	es := steps(t)
	for name, bad := range map[string]string{
		"zeros":              strings.Repeat("\x00", 512),
		"text":               "what is this\n",
		"a run without plan": `{"epoch":{"counter":1,"holder":"pi"},"event":{"type":"began","at":"2031-05-06T07:08:09Z"}}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			appended(t, l, es[:3]...)
			f, err := os.OpenFile(filepath.Join(dir, "run.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteString(bad)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			got, log := read(t, open(t, dir))
			same(t, got, es[:3])
			if !strings.Contains(log, "cut off") && !strings.Contains(log, "set aside") {
				t.Errorf("logged %q", log)
			}
		})
	}
}

// TestS9_StepsAfterABrokenOneAreNotLost: the broken file is kept for a person, and what
// could be read of it is the beginning of what follows.
func TestS9_StepsAfterABrokenOneAreNotLost(t *testing.T) {
	es := steps(t)
	more := guardian.Event{Event: shutdown.Event{Type: shutdown.Ended, At: at}}
	for name, bad := range map[string]string{
		"text":                   "what is this\n",
		"a line of 10 MB":        strings.Repeat("x", 10<<20) + "\n",
		"10 MB and no end of it": strings.Repeat("x", 10<<20),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "run.jsonl")
			appended(t, open(t, dir), es[:3]...)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			whole := string(good) + bad
			if err := errors.Join(os.WriteFile(path+".broken", []byte("of last time"), 0o600), os.WriteFile(path, []byte(whole), 0o600)); err != nil {
				t.Fatal(err)
			}
			l := open(t, dir)
			got, log := read(t, l)
			same(t, got, es[:3])
			if strings.Count(log, "\n") != 1 || !strings.Contains(log, path+".broken") {
				t.Errorf("logged %q", log)
			}
			if aside, err := os.ReadFile(path + ".broken"); err != nil || string(aside) != whole {
				t.Errorf("aside are %d bytes of %d, %v", len(aside), len(whole), err)
			}
			appended(t, l, more)
			got, log = read(t, open(t, dir))
			same(t, got, append(es[:3:3], more))
			if log != "" {
				t.Errorf("at the next start: %s", log)
			}
		})
	}
}

func TestANewRunBeginsANewFile(t *testing.T) {
	dir, es := t.TempDir(), steps(t)
	l := open(t, dir)
	over := guardian.Event{Event: shutdown.Event{Type: guardian.BrainDone, At: at}}
	appended(t, l, over) // before any run
	got, _ := read(t, open(t, dir))
	same(t, got, []guardian.Event{over})
	for range 3 {
		appended(t, l, es...)
		got, _ := read(t, open(t, dir))
		same(t, got, es)
	}
	again := open(t, dir) // the same by another process
	appended(t, again, es[:2]...)
	appended(t, again, es[2])
	got, _ = read(t, open(t, dir))
	same(t, got, es[:3])
}

// TestR3_AppendSyncs: /dev/null takes every write and refuses to be synced.
func TestR3_AppendSyncs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/null", filepath.Join(dir, "run.jsonl")); err != nil {
		t.Fatal(err)
	}
	err := open(t, dir).Append([]guardian.Event{{Event: shutdown.Event{Type: shutdown.Sent, At: at}}})
	if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "write the run") {
		t.Errorf("got %v, want that it could not be synced", err)
	}
}

func TestR3_WhatAFullDiskRefusedIsWrittenLater(t *testing.T) {
	es := steps(t)
	t.Run("in the middle of a step", func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, dir)
		appended(t, l, es[:2]...)
		appended(t, l, es[2])
		info, err := os.Stat(filepath.Join(dir, "run.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		limitFiles(t, uint64(info.Size())+20, func() {
			for _, e := range es[3:5] {
				if err := l.Append([]guardian.Event{e}); !errors.Is(err, syscall.EFBIG) {
					t.Errorf("got %v, want %v", err, syscall.EFBIG)
				}
			}
		})
		got, _ := read(t, open(t, copied(t, dir))) // a start now finds what was whole
		same(t, got, es[:3])
		appended(t, l, es[5])
		got, log := read(t, open(t, dir))
		same(t, got, es[:6])
		if log != "" {
			t.Errorf("logged %s", log)
		}
	})
	t.Run("from the run's first", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		l := open(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		for _, e := range es[:2] {
			if err := l.Append([]guardian.Event{e}); err == nil {
				t.Error("it was written to nowhere")
			}
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		appended(t, l, es[2])
		got, _ := read(t, open(t, dir))
		same(t, got, es[:3])
	})
	t.Run("but not into the next run's file", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		l := open(t, dir)
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(es); err == nil {
			t.Error("it was written to nowhere")
		}
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		appended(t, l, es[:2]...)
		got, _ := read(t, open(t, dir))
		same(t, got, es[:2])
	})
}

// copied is the disk as a start would find it now; the reader cuts off what is torn.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// limitFiles lets no file of this process grow over a size: as on a full disk, a write
// is done in part and then fails.
func limitFiles(t *testing.T, size uint64, during func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}()
	during()
}

func FuzzRun(f *testing.F) {
	dir := f.TempDir()
	l := open(f, dir)
	appended(f, l, steps(f)...)
	data, err := os.ReadFile(filepath.Join(dir, "run.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte("{}\n{}\r\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "run.jsonl"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		g := guardian.New("pi")
		var first []guardian.Event
		if l.Run(slog.New(slog.DiscardHandler), func(e guardian.Event) { g.Restore(e); first = append(first, e) }) != nil {
			return
		}
		again, log := read(t, l)
		same(t, again, first)
		if log != "" {
			t.Errorf("the second reading found %s", log)
		}
	})
}
